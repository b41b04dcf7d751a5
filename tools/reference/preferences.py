"""Writes tests/fixtures/preferences: DPO and its kin, on the models of the other fixtures.

    python preferences.py            # all
    python preferences.py CASE...    # these alone

A case is laid out as those of tests/fixtures/ways, with rows of its own.
"""

import contextlib
import json
import shutil
import sys
from collections import defaultdict

import torch
from safetensors.torch import load_file
from trl.trainer.utils import disable_dropout_in_model

from objectives import OF_PAIRS, WITH_REFERENCE, Scores, kto
from pairs import prepare_pairs, prepare_rated
from preference_cases import CASES
from rows import load_tokenizer, read_jsonl
from train import load_model, optimise, read_config, save_gradients, trainable, write_adapter
from ways import FIXTURES, change, length, off

OUT = FIXTURES / "preferences"
# What a rounding error in each weight may change: a tenth of what the engine may differ from the reference.
LIMITS = {"loss": 1e-5, "grad_norm": 1e-4, "metrics": 1e-5, "gradients": 5e-5, "changes": 1e-4}
# Of a step, beside the metrics.
OF_STEPS = ("step", "loss", "grad_norm", "learning_rate", "num_tokens")


def load(directory, nudge=0.0):
    """The model of a case, the parameters that it trains, and the entries of its rows. No dropout is ever active.

    Each weight is off by a share of `nudge` at the most.
    """
    config = read_config(directory / "config.json")
    model_dir = FIXTURES / json.loads((directory / "config.json").read_text())["model"] / "model"
    model = load_model(model_dir, directory / "adapter" if config["lora"] else None, config["quantization"])
    disable_dropout_in_model(model)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1 + nudge * (2 * torch.rand(parameter.shape, generator=generator) - 1))
    tokenizer = load_tokenizer(model_dir)
    prepare = prepare_rated if config["train"]["method"] == "kto" else prepare_pairs
    entries = prepare(tokenizer, read_jsonl(directory / "data.jsonl"), config["train"])
    return model, entries, config["train"], tokenizer.pad_token_id


def sequences_of(entries):
    """The sequences of a micro-batch: all chosen ones before all rejected ones; rated answers as they are."""
    if "label" in entries[0]:
        return entries
    return [entry[answer] for answer in ("chosen", "rejected") for entry in entries]


def add_logps(name, model, entries, train, padding):
    """Adds to each entry the log-probabilities of its answers, or of its answer and of the one that is not its own.

    They come from the micro-batches of training, so that a model is to the last bit as likely as it is there.
    """
    size = train["per_device_train_batch_size"]
    for start in range(0, len(entries), size):
        batch = entries[start : start + size]
        with torch.no_grad():
            sums = Scores(model, sequences_of(batch), padding).sums.tolist()
            if train["method"] == "kto":
                sums += kl_logps(model, batch, padding).tolist()
        for index, entry in enumerate(batch):
            entry[name] = [sums[index], sums[len(batch) + index]]


def add_reference(model, entries, train, padding):
    """Adds `ref_logps`: by the model without its adapter, or as it is before the first step."""
    is_base = train.get("finetuning_type", "lora") == "lora" and train.get("reference", "base") == "base"
    with model.disable_adapter() if is_base else contextlib.nullcontext():
        add_logps("ref_logps", model, entries, train, padding)


def kl_logps(model, entries, padding):
    with torch.no_grad():
        return Scores(model, [entry["kl"] for entry in entries], padding).sums


def loss_of(model, entries, train, padding):
    """The loss of a micro-batch, its metrics, and how many tokens it has."""
    scores = Scores(model, sequences_of(entries), padding)
    if train["method"] == "kto":
        return *kto(scores, entries, train, kl_logps(model, entries, padding)), scores.tokens
    return *OF_PAIRS[train["method"]](scores, entries, train), scores.tokens


def train_preferences(model, entries, train, padding):
    """The loss and the metrics of a step are means over its micro-batches, a short one weighing as much as a full one."""

    def take(batches):
        total, tokens, metrics = 0.0, 0, defaultdict(list)
        for batch in batches:
            loss, of_batch, tokens_of_batch = loss_of(model, batch, train, padding)
            (loss / len(batches)).backward()
            total += loss.item() / len(batches)
            tokens += tokens_of_batch
            for name, value in of_batch.items():
                metrics[name].append(value.item())
        return total, tokens, {name: sum(values) / len(values) for name, values in metrics.items()}

    return optimise(model, entries, train, take)


def trained(directory, nudge=0.0):
    """A whole run: its entries, its steps, the gradients of its first step, and what it has made of the parameters."""
    model, entries, train, padding = load(directory, nudge)
    parameters = trainable(model)
    before = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    model.eval()
    if train["method"] in WITH_REFERENCE:
        add_reference(model, entries, train, padding)
    steps, gradients = train_preferences(model, entries, train, padding)
    model.eval()
    add_logps("logps_after", model, entries, train, padding)
    after = {name: parameter.detach() for name, parameter in parameters.items()}
    return entries, steps, gradients, change(before, after)


def metrics_of(step):
    return {name: value for name, value in step.items() if name not in OF_STEPS}


def apart(got, want):
    """How far apart two metrics are: as a share, or as it is where they are small."""
    return abs(got - want) / max(abs(want), 1.0)


def sensitivity(first, second):
    """The largest difference of two runs in losses, gradient norms, metrics, gradients and changes."""
    steps = list(zip(first[1], second[1], strict=True))
    return {
        "loss": max(off(b["loss"], a["loss"]) for a, b in steps),
        "grad_norm": max(off(b["grad_norm"], a["grad_norm"]) for a, b in steps),
        "metrics": max(apart(b[name], value) for a, b in steps for name, value in metrics_of(a).items()),
        "gradients": max(length(second[2][name] - values) / length(values) for name, values in first[2].items()),
        "changes": max(off(second[3][name]["change"], values["change"]) for name, values in first[3].items()),
    }


def lines_of(values):
    return ",\n  ".join(json.dumps(value, separators=(",", ":")) for value in values)


def write_expected(directory, rows, entries, steps):
    kept = {entry["row"] for entry in entries}
    head = {
        "rows": len(rows),
        "kept": len(entries),
        "dropped": [index for index in range(len(rows)) if index not in kept],
        "truncated": sum(entry["truncated"] for entry in entries),
    }
    (directory / "expected.json").write_text(
        f'{json.dumps(head)[:-1]},\n "entries": [\n  {lines_of(entries)}],\n "steps": [\n  {lines_of(steps)}]}}\n'
    )


def write(name, case, directory):
    torch.set_num_threads(1)
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    config = {part: value for part, value in case.items() if part != "rows"}
    (directory / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in case["rows"])
    (directory / "data.jsonl").write_text(lines, encoding="utf-8")
    if "lora" in case:
        write_adapter(directory, FIXTURES / case["model"] / "model", case["lora"], b_std=0.05)
    result = trained(directory)
    entries, steps, gradients, final = result
    if "lora" in case:
        names = set(load_file(directory / "adapter" / "adapter_model.safetensors"))
        assert names == set(gradients), names ^ set(gradients)
    shares = sensitivity(result, trained(directory, nudge=2.0**-23))
    assert all(shares[key] <= LIMITS[key] for key in LIMITS), f"{name} is not well conditioned: {shares}"
    save_gradients(directory, gradients)
    write_expected(directory, case["rows"], entries, steps)
    lines = ",\n".join(f" {json.dumps(name)}: {json.dumps(values)}" for name, values in final.items())
    (directory / "final.json").write_text(f"{{\n{lines}\n}}\n")
    told = {key: " ".join(f"{step.get(key, float('nan')):.4f}" for step in steps) for key in ("loss", "rewards/margins")}
    print(f"{name}: loss {told['loss']}; margins {told['rewards/margins']}")
    told = ", ".join(f"{key} {value:.0e}" for key, value in shares.items())
    print(f"    a rounding error in each weight makes {told}", flush=True)


def main(names):
    for name, case in CASES.items():
        if not names or name in names:
            write(name, case, OUT / name)


if __name__ == "__main__":
    main(sys.argv[1:])
