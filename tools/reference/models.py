"""Writes tests/fixtures/models (the Llama family) and tests/fixtures/families (the others).

    python models.py            # all of both
    python models.py CASE...    # these alone

Every case is a small random model with data, config and reference.
"""

import json
import shutil
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM

from cases import CASES
from families import FAMILIES
from greedy import continuation
from tokenizers_small import write_tokenizer
from train import write_case, write_expected

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def embedding_scale(config):
    """What the family multiplies its embedding by."""
    if config.model_type == "gemma3_text":
        return config.hidden_size**0.5
    return getattr(config, "embedding_multiplier", 1.0)


def random_weights(config, generator):
    """Weights that keep activations near one, with norms spread around one, so that every part shows in a gradient.

    Where a family scales its embedding, the embedding is smaller by that, and with a tied head the last norm larger.
    """
    settings = {key: value for key, value in config.items() if key not in ("architectures", "torch_dtype", "dtype")}
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**settings))
    tied = model.config.tie_word_embeddings
    scale = embedding_scale(model.config.get_text_config())
    # Gemma's norms multiply by one more than their weight.
    shift = 1.0 if config["model_type"].startswith("gemma") else 0.0
    weights = {}
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if name.endswith(".bias"):
            values = 0.4 * noise
        elif name.endswith(("model.norm.weight", "language_model.norm.weight")) and tied:
            values = scale - shift + 0.25 * noise
        elif parameter.dim() == 1:
            values = 1.0 - shift + 0.25 * noise
        elif name == "model.embed_tokens.weight" and not tied:
            values = noise / scale
        else:
            values = 1.5 * noise / parameter.shape[1] ** 0.5
            if name.endswith("embed_tokens.weight"):
                values = values / scale
        weights[name] = values
    return weights


def check_loaded(directory, weights):
    """Holds what transformers loads of the folder against the weights by transformers' own names."""
    model, info = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32, output_loading_info=True)
    assert not info["unexpected_keys"] and not info["mismatched_keys"] and not info["error_msgs"], info
    parameters = dict(model.named_parameters())
    assert set(info["missing_keys"]) <= set(parameters) - set(weights) | {"lm_head.weight"}, info["missing_keys"]
    for name, values in weights.items():
        assert torch.equal(parameters[name], values.float()), f"{name} is loaded otherwise"


def named(name, renames):
    """The name of a weight in the file, which begins otherwise where an older transformers wrote it."""
    for ours, theirs in renames:
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    return name


def write_model(directory, case):
    directory.mkdir(parents=True)
    config = dict(case["model"])
    vocab_size = write_tokenizer(case["tokenizer"], directory)
    if "text_config" in config:
        config["text_config"] = {**config["text_config"], "vocab_size": vocab_size}
    else:
        config["vocab_size"] = vocab_size
    (directory / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    dtype = DTYPES[config.get("torch_dtype") or config["dtype"]]
    generator = torch.Generator().manual_seed(case["seed"])
    weights = {
        name: values.to(dtype).contiguous()
        for name, values in random_weights(config, generator).items()
        if not name.startswith(case.get("without", ()))
    }
    save_weights(directory, {named(name, case.get("names", ())): weights[name] for name in weights}, case.get("shards", 1))
    check_loaded(directory, weights)


def save_weights(directory, weights, shards):
    if shards == 1:
        save_file(weights, directory / "model.safetensors", {"format": "pt"})
        return
    names = list(weights)
    weight_map = {}
    for shard in range(shards):
        file = f"model-{shard + 1:05}-of-{shards:05}.safetensors"
        part = {name: weights[name] for name in names[shard::shards]}
        weight_map.update(dict.fromkeys(part, file))
        save_file(part, directory / file, {"format": "pt"})
    total = sum(weight.numel() * weight.element_size() for weight in weights.values())
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")


def write(name, case, directory):
    shutil.rmtree(directory, ignore_errors=True)
    write_model(directory / "model", case)
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in case["rows"])
    (directory / "data.jsonl").write_text(lines, encoding="utf-8")
    (directory / "config.json").write_text(json.dumps(case["config"], indent=2) + "\n")
    expected = write_case(directory, exclude=case.get("exclude"))
    for prompt, answer in (("prompt", "greedy"), ("crossing", "greedy_crossing")):
        if prompt in case:
            quantization = case["config"].get("quantization", {})
            expected[answer] = continuation(directory / "model", quantization, case[prompt])
            write_expected(directory, expected)
    losses = " ".join(f"{step['loss']:.4f}" for step in expected["steps"])
    norms = " ".join(f"{step['grad_norm']:.3f}" for step in expected["steps"])
    print(f"{name}: loss {losses}; grad_norm {norms}; eval_loss after {expected['eval_loss_after']:.4f}")


def main(names, fixtures):
    for folder, cases in (("models", CASES), ("families", FAMILIES)):
        for name, case in cases.items():
            if not names or name in names:
                write(name, case, fixtures / folder / name)


if __name__ == "__main__":
    main(sys.argv[1:], Path(__file__).resolve().parents[2] / "tests/fixtures")
