"""Writes tests/fixtures/bases: small models whose weights are quantised in their files, with the reference on what the
codes stand for.

    python bases.py            # all
    python bases.py CASE...    # these alone

A case is laid out as those of tests/fixtures/models; its model is `model.gguf`, or a folder `model/` that transformers and
bitsandbytes wrote, or one that is quantised while it is loaded. `blocks.safetensors` holds blocks of every encoding of GGUF
and rows of bitsandbytes' formats with the values that the packages `gguf` and `bitsandbytes` give them.
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path

import bitsandbytes.functional as bnb
import gguf
import numpy as np
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from cases import CASES, CHATS, PAIRS, TEXTS
from families import ALL_LINEAR, FAMILIES, sizes, train
from gguf_headers import ARCHITECTURES, add_config, add_tokenizer, text_config
from models import random_weights, write_model
from tokenizers_small import write_tokenizer
from train import write_case

FIXTURES = Path(__file__).resolve().parents[2] / "tests/fixtures"
Q = gguf.GGMLQuantizationType
# What the package cannot quantise to gets random blocks, whose f16 scales are so large that weights are about as usual.
RANDOM = {Q.Q4_K: ((0, 2), 0.0009), Q.Q5_K: ((0, 2), 0.00045), Q.Q6_K: ((208,), 0.00006)}
PERMUTED = ("llama", "granite", "smollm3")


def random_blocks(kind, rows, depth, generator):
    """Rows of any bits, but for the scales, which are positive and small."""
    values, size = gguf.GGML_QUANT_SIZES[kind]
    places, scale = RANDOM[kind]
    blocks = generator.integers(0, 256, (rows * depth // values, size), dtype=np.uint8)
    for place in places:
        # A minimum takes the mean of the codes away again.
        halves = (scale * generator.uniform(0.5, 1.5, (len(blocks), 1))).astype(np.float16)
        if place == 2:
            halves = (halves * (7.5 if kind == Q.Q4_K else 15.5)).astype(np.float16)
        blocks[:, place : place + 2] = halves.view(np.uint8)
    return blocks.reshape(rows, -1)


def quantized(values, kind, generator):
    """The bytes of a matrix, and the values that they stand for."""
    if kind in RANDOM:
        data = random_blocks(kind, *values.shape, generator)
    else:
        data = gguf.quants.quantize(values, kind)
    return data, gguf.quants.dequantize(data, kind)


def permuted(values, heads, inverse=False):
    """Rows as llama.cpp's converter lays them, the halves of a head interleaved, or back."""
    split = (len(values) // heads // 2, 2) if inverse else (2, len(values) // heads // 2)
    return values.reshape(heads, *split, *values.shape[1:]).swapaxes(1, 2).reshape(values.shape)


def write_gguf(case, folder, out):
    """Writes the GGUF, and the folder with the values that it stands for."""
    config = dict(case["model"], vocab_size=write_tokenizer(case["tokenizer"], folder))
    (folder / "config.json").write_text(json.dumps(config))
    weights = random_weights(config, torch.Generator().manual_seed(case["seed"]))
    generator = np.random.default_rng(case["seed"])
    plain = text_config(config)
    architecture = ARCHITECTURES.get(plain["model_type"], plain["model_type"])
    writer = gguf.GGUFWriter(out, architecture)
    add_config(writer, plain)
    add_tokenizer(writer, folder, "gpt-2")
    number = {name: key for key, name in gguf.MODEL_ARCH_NAMES.items()}[architecture]
    names = gguf.get_tensor_name_map(number, config["num_hidden_layers"])
    heads = {"q_proj": config["num_attention_heads"], "k_proj": config["num_key_value_heads"]}
    for name, values in weights.items():
        values, new = values.numpy(), names.get_name(name, try_suffixes=(".weight", ".bias"))
        if values.ndim == 1:
            is_more_by_one = architecture == "gemma3" and name.endswith("norm.weight")
            data, values, kind = values + 1 if is_more_by_one else values, values, None
            values = data - np.float32(1) if is_more_by_one else values
        else:
            kind = next(kind for part, kind in case["kinds"].items() if part in name)
        turns = next((count for part, count in heads.items() if part in name and architecture in PERMUTED), None)
        turned = permuted(values, turns) if turns else values
        if values.ndim == 1:
            data = turned if turns else data
        else:
            data, turned = quantized(turned, kind, generator)
            values = permuted(turned, turns, inverse=True) if turns else turned
        writer.add_tensor(new, data, raw_dtype=kind)
        weights[name] = torch.from_numpy(np.ascontiguousarray(values))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def write_bitsandbytes(case, folder, out):
    """Writes what `save_pretrained` makes of a quantised model, and the folder with the values of its codes."""
    write_model(folder, case)
    settings = BitsAndBytesConfig(**case["bitsandbytes"])
    model = AutoModelForCausalLM.from_pretrained(folder, quantization_config=settings, device_map="cpu", dtype=torch.float32)
    model.save_pretrained(out)
    for file in folder.iterdir():
        if file.name.startswith("tokenizer"):
            shutil.copy(file, out)
    (out / "generation_config.json").unlink(missing_ok=True)
    saved, weights = load_file(out / "model.safetensors"), load_file(folder / "model.safetensors")
    for name in weights:
        weights[name] = weights[name].float()
        state = {key.removeprefix(name + "."): value for key, value in saved.items() if key.startswith(name + ".")}
        absmax = saved.get(name.removesuffix("weight") + "SCB")
        if state:
            quant_state = bnb.QuantState.from_dict(state, torch.device("cpu"))
            quant_state.dtype = torch.float32
            weights[name] = bnb.dequantize_4bit(saved[name], quant_state)
        elif absmax is not None:
            weights[name] = bnb.int8_vectorwise_dequant(saved[name], absmax)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def write_int8(case, folder, out):
    """Writes the dense folder, and one with the values that LLM.int8 gives the linear layers of its decoder."""
    write_model(out, case)
    shutil.copytree(out, folder, dirs_exist_ok=True)
    weights = load_file(folder / "model.safetensors")
    for name, values in weights.items():
        if "_proj." in name and values.ndim == 2:
            codes, absmax, _ = bnb.int8_vectorwise_quant(values.half())
            weights[name] = bnb.int8_vectorwise_dequant(codes, absmax)
    save_file({name: values.float() for name, values in weights.items()}, folder / "model.safetensors", {"format": "pt"})


def of_family(name, rows=TEXTS, steps=None, **changes):
    """A family's case with other sizes, in f32."""
    model = {**FAMILIES[name]["model"], "torch_dtype": "float32", **changes}
    model.pop("dtype", None)
    options = train(per_device_train_batch_size=2, **(steps or {}))
    config = {"lora": FAMILIES[name]["config"]["lora"], "train": options}
    return {"seed": 700 + len(name), "tokenizer": "chatml", "model": model, "rows": rows, "config": config}


def of_llama(rows=PAIRS, **changes):
    model = {**CASES["smollm2_f16_tied"]["model"], "torch_dtype": "float32", **changes}
    config = {"lora": ALL_LINEAR, "train": train(per_device_train_batch_size=2)}
    return {"seed": 731, "tokenizer": "chatml", "model": model, "rows": rows, "config": config}


K_SIZES = sizes(256, 256, 4, 2, layers=1)
# By parts of names, the first that matches.
GGUFS = {
    "gguf_q8_0_qwen2": {**of_family("qwen2_bf16_tied", **sizes(64, 96, 4, 2)), "kinds": {"": Q.Q8_0}},
    "gguf_q4_0_granite": {
        **of_family("granite_bf16_tied", rows=CHATS, **sizes(96, 160, 4, 2)),
        "kinds": {"embed": Q.Q5_0, "": Q.Q4_0},
    },
    "gguf_q4_1_llama": {**of_llama(**sizes(96, 160, 6, 2)), "kinds": {"embed": Q.Q8_0, "": Q.Q4_1}},
    "gguf_q5_0_gemma3": {
        **of_family("gemma3text_bf16_tied", **sizes(64, 96, 4, 1, layers=6), sliding_window_pattern=6, head_dim=16, query_pre_attn_scalar=16),
        "kinds": {"embed": Q.Q4_0, "v_proj": Q.F16, "": Q.Q5_0},
    },
    "gguf_q5_1_phi3": {
        **of_family("phi3_f32_plain", **sizes(96, 128, 3, 3)),
        "kinds": {"embed": Q.Q4_1, "lm_head": Q.Q5_1, "": Q.Q5_1},
    },
    "gguf_q4_k_m_llama": {
        **of_llama(**K_SIZES),
        "kinds": {"embed": Q.Q6_K, "v_proj": Q.Q6_K, "down_proj": Q.Q6_K, "": Q.Q4_K},
    },
    "gguf_q5_k_m_qwen3": {
        **of_family("qwen3_bf16_tied", **K_SIZES, head_dim=64),
        "kinds": {"embed": Q.Q4_K, "v_proj": Q.Q6_K, "": Q.Q5_K},
    },
    "gguf_bf16_smollm3": {
        **of_family("smollm3_f32_interval", **sizes(64, 96, 4, 2, layers=4), no_rope_layer_interval=4, use_sliding_window=False, sliding_window=None),
        "kinds": {"embed": Q.Q5_1, "lm_head": Q.F32, "mlp": Q.F16, "": Q.BF16},
    },
}
FOLDERS = {
    "bitsandbytes_nf4_double": {
        **of_llama(**sizes(72, 100, 6, 2)),
        "write": write_bitsandbytes,
        "bitsandbytes": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True},
    },
    "bitsandbytes_fp4": {
        **of_llama(**sizes(64, 128, 4, 2)),
        "write": write_bitsandbytes,
        "bitsandbytes": {"load_in_4bit": True, "bnb_4bit_quant_type": "fp4"},
    },
    "bitsandbytes_int8": {
        **of_llama(**sizes(60, 100, 3, 1)),
        "write": write_bitsandbytes,
        "bitsandbytes": {"load_in_8bit": True, "llm_int8_skip_modules": ["lm_head", "o_proj", "model.layers.1.mlp.up_proj"]},
    },
    "int8_while_loading": {
        **of_llama(rows=CHATS, **sizes(60, 92, 3, 1)),
        "write": write_int8,
        "quantization": {"load_in_8bit": True},
    },
}


def write(name, case, directory):
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    config = {"quantization": case.get("quantization", {}), **case["config"]}
    (directory / "data.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in case["rows"]))
    (directory / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    with tempfile.TemporaryDirectory() as temporary:
        values = Path(temporary) / "model"
        if "kinds" in case:
            values.mkdir()
            write_gguf(case, values, directory / "model.gguf")
        else:
            case["write"](case, values, directory / "model")
        expected = write_case(directory, values)
    losses = " ".join(f"{step['loss']:.4f}" for step in expected["steps"])
    norms = " ".join(f"{step['grad_norm']:.3f}" for step in expected["steps"])
    print(f"{name}: loss {losses}; grad_norm {norms}", flush=True)


def write_blocks(out):
    """Rows of every encoding: `KIND.raw` U8 [rows, bytes] and `KIND.values` F32 [rows, depth]."""
    generator, tensors = np.random.default_rng(5), {}
    for kind in (Q.Q8_0, Q.Q4_0, Q.Q4_1, Q.Q5_0, Q.Q5_1, Q.Q4_K, Q.Q5_K, Q.Q6_K):
        block, size = gguf.GGML_QUANT_SIZES[kind]
        raw = generator.integers(0, 256, (5, 3 * size), dtype=np.uint8)
        halves = {Q.Q6_K: (208,), Q.Q8_0: (0,), Q.Q4_0: (0,), Q.Q5_0: (0,)}.get(kind, (0, 2))
        for first in range(0, 3 * size, size):
            for place in halves:
                # Any finite f16, subnormal ones too.
                raw[:, first + place + 1] &= np.where(raw[:, first + place + 1] & 0x7C == 0x7C, 0xBF, 0xFF).astype(np.uint8)
        tensors[f"{kind.name}.raw"] = torch.from_numpy(raw)
        tensors[f"{kind.name}.values"] = torch.from_numpy(gguf.quants.dequantize(raw, kind).reshape(5, 3 * block))
    random = torch.Generator().manual_seed(6)
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        values = torch.randn(7, 444, generator=random).to(dtype)
        values[:, 200:] = values.abs().amax(1, keepdim=True) / 2
        values[3] = 0
        codes, absmax, _ = bnb.int8_vectorwise_quant(values.half())
        name = f"int8.{str(dtype).removeprefix('torch.')}"
        tensors |= {f"{name}.input": values, f"{name}.codes": codes, f"{name}.absmax": absmax}
        tensors[f"{name}.values"] = torch.nan_to_num(bnb.int8_vectorwise_dequant(codes, absmax))
    save_file({name: values.contiguous() for name, values in tensors.items()}, out)


def main(names):
    out = FIXTURES / "bases"
    for name, case in {**GGUFS, **FOLDERS}.items():
        if not names or name in names:
            write(name, case, out / name)
    if not names:
        write_blocks(out / "blocks.safetensors")


if __name__ == "__main__":
    main(sys.argv[1:])
