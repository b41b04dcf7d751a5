"""Writes tests/fixtures/models: small random models of the Llama family, each with data, config and reference."""

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, LlamaConfig, MistralConfig

from cases import CASES
from tokenizers_small import write_tokenizer
from train import write_case

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def random_weights(config, generator):
    """Weights that keep activations near one, with norms spread around one, so that every part shows in a gradient."""
    classes = {"llama": LlamaConfig, "mistral": MistralConfig}
    settings = {key: value for key, value in config.items() if key not in ("architectures", "torch_dtype", "dtype")}
    model = AutoModelForCausalLM.from_config(classes[config["model_type"]](**settings))
    weights = {}
    for name, parameter in model.named_parameters():
        if parameter.dim() == 1:
            values = 1.0 + 0.25 * torch.randn(parameter.shape, generator=generator)
        elif name == "model.embed_tokens.weight" and not config["tie_word_embeddings"]:
            values = torch.randn(parameter.shape, generator=generator)
        else:
            values = 1.5 * torch.randn(parameter.shape, generator=generator) / parameter.shape[1] ** 0.5
        weights[name] = values
    return weights


def write_model(directory, case):
    directory.mkdir(parents=True)
    config = dict(case["model"])
    config["vocab_size"] = write_tokenizer(case["tokenizer"], directory)
    (directory / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    dtype = DTYPES[config.get("torch_dtype") or config["dtype"]]
    generator = torch.Generator().manual_seed(case["seed"])
    weights = {name: values.to(dtype).contiguous() for name, values in random_weights(config, generator).items()}
    shards = case.get("shards", 1)
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


def main(out):
    for name, case in CASES.items():
        directory = out / name
        shutil.rmtree(directory, ignore_errors=True)
        write_model(directory / "model", case)
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in case["rows"])
        (directory / "data.jsonl").write_text(lines, encoding="utf-8")
        (directory / "config.json").write_text(json.dumps(case["config"], indent=2) + "\n")
        expected = write_case(directory)
        losses = " ".join(f"{step['loss']:.4f}" for step in expected["steps"])
        norms = " ".join(f"{step['grad_norm']:.3f}" for step in expected["steps"])
        print(f"{name}: loss {losses}; grad_norm {norms}; eval_loss after {expected['eval_loss_after']:.4f}")


if __name__ == "__main__":
    main(Path(__file__).resolve().parents[2] / "tests/fixtures/models")
