"""Holds expected.json and final.json of every case of tests/fixtures/preferences against TRL's own trainers, step by step.

    python check_preferences.py [CASE_DIR...]     (default: all of tests/fixtures/preferences)

TRL is given the same base model, quantised beforehand, its sampler is set to file order and its precision to f32. The base
model is also its reference, where it would take a copy of the adapter that the run begins from. SimPO is TRL's CPO without
the likelihood of the chosen answers.
"""

import json
import sys
import tempfile
from pathlib import Path

import torch
from datasets import Dataset
from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer
from trl.experimental.cpo import CPOConfig, CPOTrainer
from trl.experimental.orpo import ORPOConfig, ORPOTrainer

from preferences import OUT, WITH_REFERENCE, apart, metrics_of
from rows import load_tokenizer, read_jsonl
from train import load_base, load_model, read_config, trainable
from ways import FIXTURES, change, off

TRAINERS = {
    "dpo": (DPOTrainer, DPOConfig, {}),
    "kto": (KTOTrainer, KTOConfig, {}),
    "orpo": (ORPOTrainer, ORPOConfig, {}),
    "cpo": (CPOTrainer, CPOConfig, {}),
    "simpo": (CPOTrainer, CPOConfig, {"loss_type": "simpo", "cpo_alpha": 0.0}),
}
# A tenth of what the engine may differ from the reference; the rest of f32 is the order of its sums.
LIMITS = {"loss": 1e-5, "grad_norm": 1e-4, "learning_rate": 1e-9, "num_tokens": 0.0, "metrics": 1e-5, "final": 1e-4}


def train(case_dir):
    """What TRL logs of every step, what it makes of the parameters, and the rows as it has encoded them."""
    config = read_config(case_dir / "config.json")
    options = dict(config["train"])
    trainer_class, config_class, more = TRAINERS[options.pop("method")]
    is_full = options.pop("finetuning_type", "lora") == "full"
    from_start = options.pop("reference", "base") == "start"
    options.pop("shuffle_dataset")
    model_dir = FIXTURES / json.loads((case_dir / "config.json").read_text())["model"] / "model"
    tokenizer = load_tokenizer(model_dir)
    model = load_model(model_dir, None if is_full else case_dir / "adapter", config["quantization"])
    parameters = trainable(model)
    before = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    reference = {}
    if config["train"]["method"] in WITH_REFERENCE and not from_start:
        reference["ref_model"] = load_base(model_dir, config["quantization"])
    with tempfile.TemporaryDirectory() as scratch:
        arguments = config_class(
            output_dir=scratch,
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            train_sampling_strategy="sequential",
            logging_steps=1,
            logging_nan_inf_filter=False,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            **options,
            **more,
        )
        trainer = trainer_class(
            model=model,
            args=arguments,
            train_dataset=Dataset.from_list(read_jsonl(case_dir / "data.jsonl")),
            processing_class=tokenizer,
            **reference,
        )
        trainer.train()
    after = {name: parameter.detach() for name, parameter in parameters.items()}
    return [entry for entry in trainer.state.log_history if "loss" in entry], change(before, after), trainer.train_dataset


def encoded(row, answer):
    """The ids and the mask of a sequence in a row of one of TRL's trainers, before its collator cuts them."""
    if f"{answer}_labels" in row:
        return row[f"{answer}_input_ids"], [int(label != -100) for label in row[f"{answer}_labels"]]
    prompt, own = row["prompt_ids"], row[f"{answer}_ids"]
    return prompt + own, [0] * len(prompt) + [1] * len(own)


def check_entries(name, entries, rows):
    assert len(entries) == len(rows), f"{name}: TRL keeps {len(rows)} rows, not {len(entries)}"
    for entry, row in zip(entries, rows, strict=True):
        answers = {"completion": entry, "KL_completion": entry["kl"]} if "label" in entry else entry
        for answer in ("completion", "KL_completion") if "label" in entry else ("chosen", "rejected"):
            ids, mask = encoded(row, answer)
            length = len(answers[answer]["input_ids"])
            assert answers[answer]["input_ids"] == ids[:length], f"{name}: ids of row {entry['row']}"
            assert answers[answer]["labelled"] == mask[:length], f"{name}: mask of row {entry['row']}"


def check(case_dir):
    steps, final, rows = train(case_dir)
    expected = json.loads((case_dir / "expected.json").read_text())
    check_entries(case_dir.name, expected["entries"], rows)
    worst = dict.fromkeys(LIMITS, 0.0)
    assert len(steps) == len(expected["steps"]), f"{case_dir.name}: TRL takes {len(steps)} steps"
    for ours, theirs in zip(expected["steps"], steps, strict=True):
        for key in ("loss", "grad_norm", "learning_rate", "num_tokens"):
            # TRL's experimental trainers do not count tokens.
            worst[key] = max(worst[key], off(ours[key], theirs.get(key, ours[key])))
        for key, value in metrics_of(ours).items():
            worst["metrics"] = max(worst["metrics"], apart(value, theirs[key]))
        unknown = {key for key in theirs if key.startswith(("rewards/", "logps/"))} - ours.keys()
        assert not unknown, f"{case_dir.name}: TRL logs {sorted(unknown)} in step {ours['step']}"
    known = json.loads((case_dir / "final.json").read_text())
    assert final.keys() == known.keys(), f"{case_dir.name}: TRL trains {sorted(final.keys() ^ known.keys())}"
    worst["final"] = max(off(known[name][key], final[name][key]) for name in final for key in ("norm", "change"))
    print(f"{case_dir.name}: " + ", ".join(f"{key} {value:.1e}" for key, value in worst.items()), flush=True)
    return [f"{case_dir.name}: {key}" for key, value in worst.items() if value > LIMITS[key]]


def main(directories):
    torch.set_num_threads(1)
    failures = [failure for directory in directories for failure in check(directory)]
    if failures:
        sys.exit("TRL differs in " + ", ".join(failures))


if __name__ == "__main__":
    everything = sorted(path for path in OUT.iterdir() if path.is_dir())
    main([Path(argument) for argument in sys.argv[1:]] or everything)
