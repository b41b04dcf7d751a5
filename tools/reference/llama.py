"""Writes tests/fixtures/llama.json: what llama.cpp must make of the exports of the small models.

    python llama.py

For each case `config` (what its test changes in config.json, since llama.cpp has no such model else), the `ids` of a
prompt, the `logits` after it by the base with its adapter merged in f32, texts with their ids, and `chats`: messages
and the text that the chat template makes of them with a generation prompt. Where all rows are blocks of 8 bits in Q8_0,
`logits_q8_0` are those that llama.cpp must have of that export, with its own rounding of activations (ggml.py).

`q8_0` has, by case, XXH3 sums (128 bits, hex) of what gguf-py makes of merged weights in f32.
"""

import json
import shutil
import tempfile
from pathlib import Path

import gguf
import torch
import xxhash
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from ggml import in_q8_0

FIXTURES = Path(__file__).resolve().parents[2] / "tests" / "fixtures"
CASES = {
    "models/llama2_bf16_dense": {},
    "models/llama3_bf16_untied": {},
    "models/smollm2_f16_tied": {},
    "models/mistral_f16_window": {},
    "models/sharded_f16_dense": {},
    "families/llama_f16_biases": {},
    "families/qwen2_bf16_tied": {},
    "families/qwen2_f32_yarn": {},
    "families/qwen3_bf16_tied": {},
    "families/gemma3_bf16_vision": {},
    "families/gemma3_f16_language_model": {},
    # Its prompt is longer than its original context.
    "families/phi3_bf16_longrope": {},
    "families/phi3_f32_plain": {},
    "families/granite_f16_biases": {},
    # llama.cpp knows an interval alone.
    "families/smollm3_bf16_tied": {"no_rope_layers": None},
}
TEXTS = [
    "The quick brown fox, 12345 apples!",
    "  two  blanks\n\nand\tlines 's it's",
    "<|im_start|>user\nhi<|im_end|>\n",
    "é😀 naïve 日本",
]
CHATS = [
    [{"role": "user", "content": "Hi."}],
    [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi."}],
    [
        {"role": "user", "content": "Hi."},
        {"role": "assistant", "content": "Hello!"},
        {"role": "user", "content": "What is 2 + 2?"},
    ],
]
# Of the first one some rows are in F16, of the second none.
CASES_Q8_0 = ["models/mistral_f16_window", "models/sharded_f16_dense"]
WHOLLY_Q8_0 = CASES_Q8_0[1]
Q8_0 = ["model.layers.0.mlp.gate_proj.weight", "model.layers.1.self_attn.v_proj.weight", "model.embed_tokens.weight"]


def merged(folder, case):
    base = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return PeftModel.from_pretrained(base, case / "adapter").merge_and_unload().eval()


def chat_text(tokenizer, chat):
    try:
        return tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    except Exception:
        return None


def expected(name, changes):
    case = FIXTURES / name
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work) / "model"
        shutil.copytree(case / "model", folder)
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, **changes}))
        model = merged(folder, case)
        tokenizer = AutoTokenizer.from_pretrained(folder)
    # llama.cpp has no sliding window but for Gemma, so most prompts are shorter than it.
    length = 24 if "longrope" in name else 12
    ids = tokenizer("The river bank was quiet, and the old boat lay still.").input_ids[:length]
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0, -1]
        rounded = in_q8_0(model)(torch.tensor([ids])).logits[0, -1] if name == WHOLLY_Q8_0 else None
    chats = []
    if tokenizer.chat_template:
        chats = [[chat, text] for chat in CHATS if (text := chat_text(tokenizer, chat)) is not None]
    return {
        "config": changes,
        "ids": ids,
        "logits": short(logits),
        **({} if rounded is None else {"logits_q8_0": short(rounded)}),
        "texts": [[text, tokenizer(text, add_special_tokens=False).input_ids] for text in TEXTS],
        "chats": chats,
    }


def short(logits):
    return [float(f"{value:.8g}") for value in logits.tolist()]


def q8_0(name):
    weights = merged(FIXTURES / name / "model", FIXTURES / name).state_dict()
    sums = {}
    for weight in Q8_0:
        blocks = gguf.quants.quantize(weights[weight].numpy(), gguf.GGMLQuantizationType.Q8_0)
        sums[weight] = xxhash.xxh3_128(blocks.tobytes()).hexdigest()
    return sums


def main():
    cases = {name: expected(name, changes) for name, changes in CASES.items()}
    result = {"q8_0": {name: q8_0(name) for name in CASES_Q8_0}, "cases": cases}
    (FIXTURES / "llama.json").write_text(json.dumps(result, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
