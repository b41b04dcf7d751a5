"""Writes tests/fixtures/blend: three adapters of one model, and what PEFT makes of them by `add_weighted_adapter`.

    python blend.py

`expected.json` has the `weights` of the blend and, of each row of the model's data.jsonl, the log-probability of its labelled
tokens: `base` without an adapter, `sum` with the three at once, each scaled by its weight. The blend is held to `sum` here.
"""

import json
import shutil
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.lora import LoraLayer

from rows import load_tokenizer, prepare, read_jsonl
from train import load_base, loss_sum

FIXTURES = Path(__file__).resolve().parents[2] / "tests/fixtures"
CASE = FIXTURES / "models/smollm2_f16_tied"
OUT = FIXTURES / "blend"
B_STD = 0.05

# Other modules, ranks and scales each, so that every module has a blend of its own.
ADAPTERS = {
    "first": {"r": 4, "lora_alpha": 16, "target_modules": ["q_proj", "v_proj"]},
    "second": {
        "r": 3,
        "lora_alpha": 6,
        "use_rslora": True,
        "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
        "rank_pattern": {"o_proj": 5},
        "alpha_pattern": {"down_proj": 9},
    },
    "third": {"r": 2, "lora_alpha": 2, "target_modules": ["q_proj", "up_proj"], "layers_to_transform": [1]},
}
WEIGHTS = {"first": 0.75, "second": -1.25, "third": 0.3}


def adapters_on(base):
    """PEFT's model with all of them, each with a normal B that is large enough to matter."""
    names = list(ADAPTERS)
    model = get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", **ADAPTERS[names[0]]), adapter_name=names[0])
    for name in names[1:]:
        model.add_adapter(name, LoraConfig(task_type="CAUSAL_LM", **ADAPTERS[name]))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=B_STD)
    return model


def save(model):
    """One folder for each adapter, with settings that are the same in every process: PEFT keeps names as sets."""
    for settings in model.peft_config.values():
        settings.base_model_name_or_path = "model"
        settings.target_modules = sorted(settings.target_modules)
    model.save_pretrained(OUT)
    (OUT / "README.md").unlink()


def log_probabilities(model, entries, padding):
    """Of each row, in nats."""
    with torch.no_grad():
        return [-loss_sum(model, [entry], padding).item() for entry in entries]


def main():
    torch.set_num_threads(1)
    torch.manual_seed(11)
    shutil.rmtree(OUT, ignore_errors=True)
    tokenizer = load_tokenizer(CASE / "model")
    train = json.loads((CASE / "config.json").read_text())["train"]
    entries = prepare(tokenizer, read_jsonl(CASE / "data.jsonl"), train)
    padding = tokenizer.pad_token_id
    base = load_base(CASE / "model", {}).eval()
    expected = {"weights": WEIGHTS, "base": log_probabilities(base, entries, padding)}

    model = adapters_on(base).eval()
    model.add_weighted_adapter(list(WEIGHTS), list(WEIGHTS.values()), "blend", combination_type="cat")
    save(model)
    model.set_adapter("blend")
    blended = log_probabilities(model, entries, padding)
    model.base_model.set_adapter(list(WEIGHTS))
    for module in model.modules():
        if isinstance(module, LoraLayer):
            for name in set(module.scaling) & set(WEIGHTS):
                module.scaling[name] *= WEIGHTS[name]
    expected["sum"] = log_probabilities(model, entries, padding)
    torch.testing.assert_close(torch.tensor(blended), torch.tensor(expected["sum"]), rtol=1e-6, atol=0)
    (OUT / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    main()
