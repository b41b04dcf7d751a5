"""Loads a saved model with transformers in f32 and prints its loss on a data file as JSON.

    python check_model.py MODEL_DIR DATA.jsonl CONFIG.json

Of the config only `train` counts. `dtypes` are those of the file; `missing` and `unexpected` are the weights that the file
lacks and those that the model does not know, which is none of either where the folder is whole.
"""

import json
import sys
from pathlib import Path

import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM

from rows import load_tokenizer, prepare, read_jsonl
from train import evaluate, labelled_tokens, read_config


def dtypes_of(model_dir):
    found = set()
    for path in Path(model_dir).glob("*.safetensors"):
        with safe_open(path, "pt") as file:
            found |= {file.get_slice(name).get_dtype() for name in file.keys()}
    return sorted(found)


def main(model_dir, data, config_file):
    train = read_config(config_file)["train"]
    tokenizer = load_tokenizer(model_dir)
    entries = prepare(tokenizer, read_jsonl(data), train)
    model, info = AutoModelForCausalLM.from_pretrained(
        model_dir, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
    )
    report = {
        "eval_loss": evaluate(model, entries, tokenizer.pad_token_id),
        "tokens": labelled_tokens(entries),
        "rows": len(entries),
        "dtypes": dtypes_of(model_dir),
        "missing": sorted(info["missing_keys"]),
        "unexpected": sorted(info["unexpected_keys"]),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
