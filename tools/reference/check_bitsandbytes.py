"""Holds the 4-bit cases against bitsandbytes' own linear layers: the loss before training, on its CPU path.

    python check_bitsandbytes.py
"""

import json
import sys
from pathlib import Path

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from rows import load_tokenizer, prepare, read_jsonl
from train import labelled_tokens, loss_sum, read_config

# Nested scales are coded otherwise on the CPU path now and then; see nf4.py.
LIMITS = {False: 1e-6, True: 2e-4}


def check(case_dir):
    config = read_config(case_dir / "config.json")
    quantization = BitsAndBytesConfig(**config["quantization"], bnb_4bit_compute_dtype=torch.float32)
    model = AutoModelForCausalLM.from_pretrained(
        case_dir / "model",
        dtype=torch.float32,
        attn_implementation="eager",
        quantization_config=quantization,
        device_map="cpu",
    )
    model = PeftModel.from_pretrained(model, case_dir / "adapter", is_trainable=True)
    tokenizer = load_tokenizer(case_dir / "model")
    entries = prepare(tokenizer, read_jsonl(case_dir / "data.jsonl"), config["train"])
    # Out of training mode bitsandbytes repacks the weights for a bf16 product, which is not what is checked here.
    model.train()
    total = sum(loss_sum(model, [entry], tokenizer.pad_token_id).item() for entry in entries)
    loss = total / labelled_tokens(entries)
    expected = json.loads((case_dir / "expected.json").read_text())["eval_loss_before"]
    difference = abs(loss - expected) / expected
    print(f"{case_dir.name}: {loss:.7f}, expected {expected:.7f}, relative {difference:.1e}", flush=True)
    return difference <= LIMITS[config["quantization"]["bnb_4bit_use_double_quant"]]


def main(directories):
    torch.set_num_threads(1)
    quantized = [path for path in directories if read_config(path / "config.json")["quantization"].get("load_in_4bit")]
    if not all([check(path) for path in quantized]):
        sys.exit("bitsandbytes differs")


if __name__ == "__main__":
    main(sorted((Path(__file__).resolve().parents[2] / "tests/fixtures/models").iterdir()))
