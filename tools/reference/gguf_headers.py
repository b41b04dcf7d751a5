"""Writes tests/fixtures/gguf: headers of GGUFs as llama.cpp's converter writes them, made with the `gguf` package.

`configs/CASE.gguf` has the metadata and tensors of a model in tests/fixtures/models or families, without the data of the
tensors but that of RoPE, which comes first. `tokenizers/KIND.gguf` has a tokenizer of tests/fixtures/tokens/kinds, and
`tokenizers/expected.json` what transformers makes of the texts there where the kind is nearer to the hub's in a GGUF.
`tiny/` has whole files of a few hundred bytes, to be damaged.
"""

import json
import math
import shutil
import tempfile
from pathlib import Path

import gguf
import numpy as np
from safetensors import safe_open
from transformers import AutoTokenizer
from transformers.convert_slow_tokenizer import generate_merges

from awkward import expectation

FIXTURES = Path(__file__).resolve().parents[2] / "tests/fixtures"
OUT = FIXTURES / "gguf"
ARCHITECTURES = {"mistral": "llama", "gemma3_text": "gemma3"}
DTYPES = {"F32": np.float32, "F16": np.float16, "BF16": np.uint16}
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, BYTE = 1, 2, 3, 4, 6


def text_config(config):
    """The config of the text part alone, with the defaults of Gemma's class."""
    if config["model_type"] == "gemma3":
        outer = {name: config[name] for name in ("eos_token_id", "tie_word_embeddings") if name in config}
        config = {**config["text_config"], **outer}
    if config["model_type"] == "gemma3_text":
        config = {"max_position_embeddings": 131072, "rms_norm_eps": 1e-6, **config}
    return config


def rope_of(config):
    """The parameters of RoPE, of the layers that see everything."""
    parameters = config.get("rope_parameters") or {}
    parameters = parameters.get("full_attention", parameters)
    theta = 1e6 if config["model_type"] == "gemma3_text" else 1e4
    parameters = {"rope_theta": config.get("rope_theta", theta), **parameters, **(config.get("rope_scaling") or {})}
    parameters["kind"] = parameters.get("rope_type", parameters.get("type", "default"))
    return parameters


def llama3_factors(rope, dim):
    frequencies = 1.0 / rope["rope_theta"] ** (np.arange(0, dim, 2, dtype=np.float32) / np.float32(dim))
    wavelengths = 2 * math.pi / frequencies
    factor, low, high = rope["factor"], rope["low_freq_factor"], rope["high_freq_factor"]
    context = rope["original_max_position_embeddings"]
    smooth = (context / wavelengths - low) / (high - low)
    between = 1 / ((1 - smooth) / factor + smooth)
    factors = np.where(wavelengths < context / high, 1.0, np.where(wavelengths > context / low, factor, between))
    return factors.astype(np.float32)


def rope_tensors(writer, config, rope, head_dim):
    """Writes the keys of RoPE and returns its tensors."""
    writer.add_rope_freq_base(rope["rope_theta"])
    if rope["kind"] == "llama3":
        return {"rope_freqs.weight": llama3_factors(rope, head_dim)}
    if rope["kind"] == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope["factor"])
    if rope["kind"] == "yarn":
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(rope["factor"])
        writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
        if "beta_fast" in rope:
            writer.add_rope_scaling_yarn_beta_fast(rope["beta_fast"])
            writer.add_rope_scaling_yarn_beta_slow(rope["beta_slow"])
    if config["model_type"] == "phi3":
        original = config["original_max_position_embeddings"]
        writer.add_rope_scaling_orig_ctx_len(original)
        if rope["kind"] == "longrope":
            scale = config["max_position_embeddings"] / original
            writer.add_rope_scaling_attn_factors(math.sqrt(1 + math.log(scale) / math.log(original)))
            names = {"long_factor": "rope_factors_long.weight", "short_factor": "rope_factors_short.weight"}
            return {name: np.array(rope[key], np.float32) for key, name in names.items()}
    return {}


def add_config(writer, config):
    """The keys of the architecture; returns the tensors of RoPE."""
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    head_dim = config.get("head_dim", hidden // heads)
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(hidden)
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    if "head_dim" in config:
        writer.add_key_length(head_dim)
        writer.add_value_length(head_dim)
    rope = rope_of(config)
    kind = config["model_type"]
    if kind in ("llama", "mistral", "granite", "smollm3"):
        writer.add_vocab_size(config["vocab_size"])
        writer.add_rope_dimension_count(head_dim)
    if kind == "granite":
        writer.add_attention_scale(config["attention_multiplier"])
        writer.add_embedding_scale(config["embedding_multiplier"])
        writer.add_residual_scale(config["residual_multiplier"])
        writer.add_logit_scale(config["logits_scaling"])
    if kind == "phi3":
        partial = rope.get("partial_rotary_factor", config.get("partial_rotary_factor", 1.0))
        writer.add_rope_dimension_count(int(partial * hidden) // heads)
        writer.add_sliding_window(config["sliding_window"] or 0)
    if kind == "gemma3_text":
        writer.add_sliding_window(config["sliding_window"])
        if "layer_types" in config:
            writer.add_sliding_window_pattern([layer == "sliding_attention" for layer in config["layer_types"]])
            writer.add_rope_freq_base_swa(config["rope_parameters"]["sliding_attention"]["rope_theta"])
    ends = config["eos_token_id"]
    ends = ends if isinstance(ends, list) else [ends]
    for add, token in zip((writer.add_eos_token_id, writer.add_eot_token_id), ends, strict=False):
        add(token)
    return rope_tensors(writer, config, rope, head_dim)


def write_config(folder, out):
    config = text_config(json.loads((folder / "model/config.json").read_text()))
    architecture = ARCHITECTURES.get(config["model_type"], config["model_type"])
    writer = gguf.GGUFWriter(out, architecture)
    ropes = add_config(writer, config)
    for name, values in ropes.items():
        writer.add_tensor_info(name, values.shape, values.dtype, values.nbytes)
    number = {name: key for key, name in gguf.MODEL_ARCH_NAMES.items()}[architecture]
    names = gguf.get_tensor_name_map(number, config["num_hidden_layers"])
    for file in sorted((folder / "model").glob("*.safetensors")):
        with safe_open(file, "np") as tensors:
            for name in tensors.keys():
                if "vision" in name or "multi_modal" in name:
                    continue
                slice_ = tensors.get_slice(name)
                plain = name.replace("model.language_model.", "model.").replace("language_model.model.", "model.")
                plain = plain.replace("language_model.lm_head", "lm_head")
                shape = tuple(slice_.get_shape())
                dtype = "F32" if len(shape) == 1 else slice_.get_dtype()
                raw = gguf.GGMLQuantizationType.BF16 if dtype == "BF16" else None
                bytes_ = math.prod(shape) * np.dtype(DTYPES[dtype]).itemsize
                new = names.get_name(plain, try_suffixes=(".weight", ".bias"))
                writer.add_tensor_info(new, shape, np.dtype(DTYPES[dtype]), bytes_, raw_dtype=raw)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    data = bytearray(out.read_bytes())
    for values in ropes.values():
        data += bytes(-len(data) % writer.data_alignment) + values.tobytes()
    out.write_bytes(data)


# The pre-tokenizer and architecture of each kind; SentencePiece's have no pre-tokenizer.
TOKENIZERS = {
    "gemma": (None, "gemma3"),
    "gpt2": ("gpt-2", "llama"),
    "granite": ("refact", "granite"),
    "llama2": (None, "llama"),
    "llama3": ("llama-bpe", "llama"),
    "metaspace": (None, "llama"),
    "phi3": (None, "phi3"),
    "phi4": ("gpt-4o", "phi3"),
    "qwen": ("qwen2", "qwen3"),
    "tekken": ("tekken", "llama"),
}


def write_tokenizer(kind, out):
    pre, architecture = TOKENIZERS[kind]
    folder = FIXTURES / "tokens/kinds" / kind
    file = json.loads((folder / "tokenizer.json").read_text())
    config = json.loads((folder / "tokenizer_config.json").read_text())
    model, added = file["model"], {token["content"]: token for token in file["added_tokens"]}
    ids = model["vocab"] | {content: token["id"] for content, token in added.items()}
    tokens = sorted(ids, key=ids.get)
    assert [ids[token] for token in tokens] == list(range(len(tokens)))
    unknown = config.get("unk_token") if pre is None else None

    def type_of(token):
        if token == unknown:
            return UNKNOWN
        if token in added:
            return CONTROL if added[token]["special"] else USER_DEFINED
        return BYTE if pre is None and token.startswith("<0x") else NORMAL

    types = [type_of(token) for token in tokens]
    writer = gguf.GGUFWriter(out, architecture)
    writer.add_tokenizer_model("llama" if pre is None else "gpt2")
    writer.add_tokenizer_pre(pre or "default")
    merges = [merge if isinstance(merge, list) else merge.split(" ") for merge in model["merges"]]
    if pre is None:
        ranks = {"".join(merge): -float(rank) for rank, merge in reversed(list(enumerate(merges)))}
        writer.add_token_scores([ranks.get(token, -1e4) for token in tokens])
        writer.add_add_space_prefix(kind != "gemma")
        tokens = [t.replace("▁", " ") if k == USER_DEFINED else t for t, k in zip(tokens, types, strict=True)]
    else:
        writer.add_token_merges([" ".join(merge) for merge in merges])
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    for name, add in {
        "bos_token": writer.add_bos_token_id,
        "eos_token": writer.add_eos_token_id,
        "unk_token": writer.add_unk_token_id,
        "pad_token": writer.add_pad_token_id,
    }.items():
        if config.get(name):
            add(ids[config[name]])
    for name, add in {"add_bos_token": writer.add_add_bos_token, "add_eos_token": writer.add_add_eos_token}.items():
        if name in config:
            add(config[name])
    writer.add_chat_template("{{ bos_token }}{% for m in messages %}{{ m.content }}{% endfor %}")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()


def nearer(kind, folder):
    """Changes a folder to what the hub's files of the kind have and the small ones have not."""
    path = folder / "tokenizer.json"
    file = json.loads(path.read_text())
    model = file["model"]
    if kind == "gemma":
        # The runs that the model's maker lists by hand have a score of 0 in SentencePiece's file, above all others.
        scores = {"".join(merge): -1.0 - rank for rank, merge in reversed(list(enumerate(model["merges"])))}
        scores |= {token["content"]: 0.0 for token in file["added_tokens"] if not token["special"]}
        model["vocab"] |= {token["content"]: token["id"] for token in file["added_tokens"]}
        model["merges"] = generate_merges(model["vocab"], scores)
    if kind == "phi3":
        next(token for token in file["added_tokens"] if token["content"] == "</s>")["rstrip"] = True
    path.write_text(json.dumps(file))


def write_expected(out):
    expected = {}
    for kind in ("gemma", "phi3"):
        with tempfile.TemporaryDirectory() as folder:
            shutil.copytree(FIXTURES / "tokens/kinds" / kind, folder, dirs_exist_ok=True)
            nearer(kind, Path(folder))
            expected[kind] = expectation(AutoTokenizer.from_pretrained(folder))
    lines = [json.dumps(kind) + ": " + json.dumps(each, separators=(",", ":")) for kind, each in expected.items()]
    out.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def write_tiny(name, architecture, is_sentencepiece, ropes, split=None):
    """A model of one layer of which only a few tensors are there."""
    writer = gguf.GGUFWriter(OUT / f"tiny/{name}.gguf", architecture)
    if split:
        writer.add_uint16("split.no", split[0])
        writer.add_uint16("split.count", split[1])
        writer.add_int32("split.tensors.count", 2)
    if not split or split[0] == 0:
        for add, value in {
            writer.add_block_count: 1, writer.add_context_length: 64, writer.add_embedding_length: 32,
            writer.add_feed_forward_length: 64, writer.add_head_count: 2, writer.add_logit_scale: 2.0,
            writer.add_layer_norm_rms_eps: 1e-5, writer.add_rope_freq_base: 5e5, writer.add_bos_token_id: 1,
            writer.add_eos_token_id: 2, writer.add_add_bos_token: True, writer.add_sliding_window: 8,
        }.items():
            add(value)
        letters = ["a", "b", "c", "ab", "abc", "bc"]
        tokens = ["<unk>", "<s>", "</s>", "<0x41>", *letters, "aa", "\n"]
        writer.add_token_list(tokens)
        writer.add_token_types([UNKNOWN, CONTROL, CONTROL, BYTE, *[NORMAL] * len(letters), USER_DEFINED, NORMAL])
        writer.add_tokenizer_model("llama" if is_sentencepiece else "gpt2")
        if is_sentencepiece:
            writer.add_token_scores([-float(index) for index in range(len(tokens))])
        else:
            writer.add_tokenizer_pre("qwen2")
            writer.add_token_merges(["a b", "ab c", "b c"])
        writer.add_chat_template("{{ bos_token }}{% for m in messages %}{{ m.content }}{% endfor %}")
    for tensor in ropes:
        writer.add_tensor(tensor, np.linspace(1, 8, 8, dtype=np.float32))
    if not split or split[0] == 0:
        writer.add_tensor("token_embd.weight", np.zeros((12, 32), np.float16))
    if not split or split[0] == 1:
        writer.add_tensor("output_norm.weight", np.ones(32, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main():
    for name in ("configs", "tokenizers", "tiny"):
        (OUT / name).mkdir(parents=True, exist_ok=True)
    for folder in sorted([*(FIXTURES / "models").iterdir(), *(FIXTURES / "families").iterdir()]):
        write_config(folder, OUT / "configs" / f"{folder.name}.gguf")
    for kind in TOKENIZERS:
        write_tokenizer(kind, OUT / "tokenizers" / f"{kind}.gguf")
    write_expected(OUT / "tokenizers/expected.json")
    write_tiny("llama", "llama", False, ["rope_freqs.weight"])
    write_tiny("gemma3", "gemma3", True, [])
    write_tiny("granite", "granite", True, [])
    write_tiny("phi3", "phi3", True, ["rope_factors_long.weight", "rope_factors_short.weight"])
    write_tiny("part-00001-of-00002", "qwen3", False, [], split=(0, 2))
    write_tiny("part-00002-of-00002", "qwen3", False, [], split=(1, 2))


if __name__ == "__main__":
    main()
