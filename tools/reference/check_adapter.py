"""Loads an exported adapter with PEFT on the quantised base and prints its loss on a data file as JSON.

    python check_adapter.py MODEL_DIR ADAPTER_DIR DATA.jsonl CONFIG.json

PEFT says nothing of tensors that it does not know, nor of most that are missing; here they are an error.
"""

import json
import sys
from pathlib import Path

from peft import get_peft_model_state_dict
from safetensors.torch import load_file

from rows import load_tokenizer, prepare, read_jsonl
from train import evaluate, labelled_tokens, load_model, read_config


def main(model_dir, adapter_dir, data, config_file):
    config = read_config(config_file)
    tokenizer = load_tokenizer(model_dir)
    entries = prepare(tokenizer, read_jsonl(data), config["train"])
    model = load_model(model_dir, adapter_dir, config["quantization"])
    difference = set(get_peft_model_state_dict(model)) ^ set(load_file(Path(adapter_dir) / "adapter_model.safetensors"))
    if difference:
        sys.exit(f"PEFT saves this adapter without these tensors, or with them: {sorted(difference)}")
    loss = evaluate(model, entries, tokenizer.pad_token_id)
    print(json.dumps({"eval_loss": loss, "tokens": labelled_tokens(entries), "rows": len(entries)}))


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    main(*sys.argv[1:])
