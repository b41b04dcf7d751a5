"""Writes tests/fixtures/merged.json: what PEFT's merge_and_unload makes of the small models and their adapters.

    python merged.py

For each case and dtype the XXH3 sum (128 bits, hex) over the merged weights of the adapted layers in the order of their
names: the bytes of each name and those of its values, little-endian.
"""

import json
from pathlib import Path

import torch
import xxhash
from peft import PeftModel
from transformers import AutoModelForCausalLM

FIXTURES = Path(__file__).resolve().parents[2] / "tests" / "fixtures"
DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}


def merged_sum(case, dtype):
    base = AutoModelForCausalLM.from_pretrained(case / "model", dtype=dtype)
    model = PeftModel.from_pretrained(base, case / "adapter")
    adapted = {name for name, module in base.named_modules() if hasattr(module, "lora_A")}
    weights = model.merge_and_unload().state_dict()
    total = xxhash.xxh3_128()
    for name in sorted(adapted):
        if "vision_tower" in name:
            continue
        values = weights[f"{name}.weight"].contiguous()
        total.update(name.encode())
        total.update(values.view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def main():
    cases = sorted([*(FIXTURES / "models").iterdir(), *(FIXTURES / "families").iterdir()])
    sums = {
        f"{case.parent.name}/{case.name}": {name: merged_sum(case, dtype) for name, dtype in DTYPES.items()}
        for case in cases
    }
    (FIXTURES / "merged.json").write_text(json.dumps(sums, indent=1) + "\n")


if __name__ == "__main__":
    main()
