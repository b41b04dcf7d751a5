"""Writes tests/fixtures/ways: the ways to train beyond plain LoRA, on the models of the other fixtures.

    python ways.py            # all
    python ways.py CASE...    # these alone

A case is laid out as those of tests/fixtures/models, but for the model and its rows, which are those of the fixture that
`model` in config.json names. `final.json` says what the run has made of every parameter.
"""

import json
import shutil
import sys
from contextlib import nullcontext
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch.overrides import TorchFunctionMode

from cases import NF4, NF4_DOUBLE
from families import train
from train import load_model, read_config, run, save_gradients, trainable, write_adapter, write_expected

FIXTURES = Path(__file__).resolve().parents[2] / "tests/fixtures"
OUT = FIXTURES / "ways"
# What a rounding error in each weight may change: a tenth of what the engine may differ from the reference.
LIMITS = {"loss": 1e-5, "grad_norm": 1e-4, "gradients": 5e-5, "changes": 1e-4}


def lora(**options):
    return {"r": 3, "lora_alpha": 6, **options}


FULL = {
    # Biases on every linear layer, which do not decay; a head of its own.
    "full_llama_biases": {
        "model": "families/llama_f16_biases",
        "train": train(
            learning_rate=1e-3, per_device_train_batch_size=2, gradient_accumulation_steps=2, weight_decay=0.1
        ),
    },
    # Clipping acts in every step.
    "full_qwen2_sgd": {
        "model": "families/qwen2_bf16_tied",
        "train": train(
            learning_rate=0.05,
            per_device_train_batch_size=3,
            max_grad_norm=0.5,
            optim="sgd",
            weight_decay=0.1,
            assistant_only_loss=True,
        ),
    },
    "full_qwen3": {
        "model": "families/qwen3_f32_biases",
        "train": train(learning_rate=1e-3, per_device_train_batch_size=3, weight_decay=0.1, lr_scheduler_type="cosine"),
    },
    # Norms multiply by one more than their weight; the embedding is scaled.
    "full_gemma3": {
        "model": "families/gemma3text_bf16_tied",
        "train": train(learning_rate=1e-3, per_device_train_batch_size=3, weight_decay=0.1),
    },
    "full_phi3_adafactor": {
        "model": "families/phi3_f32_plain",
        "train": train(learning_rate=1e-3, per_device_train_batch_size=2, optim="adafactor", weight_decay=0.1),
    },
    # The embedding, the residuals, the attention and the logits have factors.
    "full_granite": {
        "model": "families/granite_bf16_tied",
        "train": train(learning_rate=5e-4, per_device_train_batch_size=3, warmup_steps=2),
    },
    # The token that ends a turn is the padding one: as an input it gives the embedding no gradient, as a target it does.
    "full_smollm3": {
        "model": "families/smollm3_bf16_tied",
        "train": train(learning_rate=1e-3, per_device_train_batch_size=2, max_length=72, warmup_steps=2),
    },
    # Weights of 16 bits with masters in 32. The head is the embedding, which is rounded once for both.
    "full_bf16_qwen3": {
        "model": "families/qwen3_bf16_tied",
        "train": train(learning_rate=1e-3, per_device_train_batch_size=3, weight_decay=0.1, bf16=True),
    },
    # What the files have in f32 is rounded before the first step already; biases and norms are not. A head of its own.
    "full_bf16_qwen3_biases": {
        "model": "families/qwen3_f32_biases",
        "train": train(
            learning_rate=1e-3,
            per_device_train_batch_size=2,
            gradient_accumulation_steps=2,
            weight_decay=0.1,
            bf16=True,
        ),
    },
    "full_fp16_phi3_adafactor": {
        "model": "families/phi3_f32_plain",
        "train": train(
            learning_rate=1e-3, per_device_train_batch_size=2, optim="adafactor", weight_decay=0.1, fp16=True
        ),
    },
}

ADAPTERS = {
    "dora": {
        "model": "families/llama_bf16_yarn",
        "lora": lora(target_modules="all-linear", use_dora=True, lora_dropout=0.0),
        "train": train(per_device_train_batch_size=3, weight_decay=0.1),
    },
    # DoRA scales what the weight gives and leaves the bias.
    "dora_biases_nf4": {
        "model": "families/llama_f16_biases",
        "quantization": NF4,
        "lora": lora(r=2, target_modules="all-linear", use_dora=True, use_rslora=True),
        "train": train(per_device_train_batch_size=2, gradient_accumulation_steps=2),
    },
    "dora_fused_nf4": {
        "model": "families/phi3_f32_plain",
        "quantization": NF4_DOUBLE,
        "lora": lora(target_modules=["qkv_proj", "gate_up_proj", "o_proj"], use_dora=True, rank_pattern={"o_proj": 5}),
        "train": train(per_device_train_batch_size=2),
    },
    # FFA-LoRA: A stays as it starts.
    "freeze_a": {
        "model": "families/llama_f16_biases",
        "quantization": NF4,
        "lora": lora(target_modules="all-linear", freeze_a=True),
        "train": train(per_device_train_batch_size=2, gradient_accumulation_steps=2, weight_decay=0.1),
    },
    "save_embedding_and_head": {
        "model": "families/gemma3text_f32_untied",
        "quantization": NF4,
        "lora": lora(target_modules=["q_proj", "up_proj"], modules_to_save=["embed_tokens", "lm_head"]),
        "train": train(per_device_train_batch_size=4, weight_decay=0.1),
    },
    # The head stays what the embedding was, and a token of many places is the padding one.
    "save_tied_embedding": {
        "model": "families/smollm3_bf16_tied",
        "lora": lora(target_modules=["v_proj"], modules_to_save=["embed_tokens"]),
        "train": train(per_device_train_batch_size=2, max_length=72),
    },
    # Every name that ends so: input_layernorm, q_norm and the last one too.
    "save_norms": {
        "model": "families/qwen3_bf16_tied",
        "quantization": NF4_DOUBLE,
        "lora": lora(target_modules=["q_proj", "down_proj"], modules_to_save=["norm"]),
        "train": train(per_device_train_batch_size=2, max_length=100, weight_decay=0.1),
    },
    "bias_lora_only": {
        "model": "families/qwen2_bf16_tied",
        "quantization": NF4_DOUBLE,
        "lora": lora(target_modules=["q_proj", "o_proj", "down_proj"], bias="lora_only"),
        "train": train(per_device_train_batch_size=3, weight_decay=0.1, assistant_only_loss=True),
    },
    # Some biases of k_proj have hardly a gradient, which Adam's usual epsilon would blow up.
    "bias_all": {
        "model": "families/llama_f16_biases",
        "lora": lora(target_modules=["q_proj", "up_proj"], bias="all"),
        "train": train(per_device_train_batch_size=2, weight_decay=0.1, adam_epsilon=1e-5),
    },
    # A full name is taken in every layer, whatever layers_to_transform says. Of patterns the first one counts; PEFT sorts
    # them when it saves.
    "patterns": {
        "model": "families/gemma3text_bf16_tied",
        "lora": lora(
            target_modules=["q_proj", "v_proj", "o_proj", "down_proj", "model.layers.0.mlp.up_proj"],
            layers_to_transform=[1, 3],
            exclude_modules=["layers.3.self_attn.o_proj"],
            rank_pattern={"down_proj": 6, "model.layers.3.*": 5, "v_proj": 2},
            alpha_pattern={"layers.1.self_attn.*": 9, "up_proj": 2},
        ),
        "train": train(per_device_train_batch_size=3),
    },
    "target_expression": {
        "model": "families/granite_bf16_tied",
        "quantization": NF4_DOUBLE,
        "lora": lora(
            target_modules=r".*\.1\.(self_attn\.[qk]|mlp\.(up|down))_proj",
            exclude_modules=r".*\.mlp\.up_proj",
            use_rslora=True,
            rank_pattern={"[qk]_proj": 4},
        ),
        "train": train(per_device_train_batch_size=3),
    },
    "layers_pattern_sgd": {
        "model": "families/qwen2_bf16_tied",
        "quantization": NF4_DOUBLE,
        "lora": lora(target_modules=["k_proj", "gate_proj"], layers_to_transform=1, layers_pattern="layers"),
        "train": train(per_device_train_batch_size=3, optim="sgd", learning_rate=0.05, weight_decay=0.1),
    },
    "adafactor": {
        "model": "families/llama_bf16_yarn",
        "lora": lora(target_modules=["k_proj", "down_proj"], use_dora=True),
        "train": train(per_device_train_batch_size=3, optim="adafactor", weight_decay=0.1),
    },
}

CASES = {**{name: {**case, "train": {"finetuning_type": "full", **case["train"]}} for name, case in FULL.items()}, **ADAPTERS}


class Rounded(torch.autograd.Function):
    """Values rounded to a dtype of 16 bits, whose gradient is that of the values themselves."""

    @staticmethod
    def forward(_, values, dtype):
        return values.to(dtype).to(values.dtype)

    @staticmethod
    def backward(_, gradient):
        return gradient, None


class RoundedWeights(TorchFunctionMode):
    """Has linear layers and embeddings read their weights rounded to `dtype`, and compute with these in f32."""

    def __init__(self, dtype):
        self.dtype = dtype

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function in (torch.nn.functional.linear, torch.nn.functional.embedding):
            first, weight, *others = args
            args = (first, Rounded.apply(weight, self.dtype), *others)
        return function(*args, **(kwargs or {}))


def dtype_read(train):
    """The dtype that matrices are rounded to where they are read; None where they are read as they are."""
    for option, dtype in (("bf16", torch.bfloat16), ("fp16", torch.float16)):
        if train.get(option, False):
            return dtype
    return None


def length(values):
    return values.double().norm().item()


def change(before, after):
    """Of every parameter: its L2 norm, that of what the run has added to it, and its first four values."""
    return {
        name: {
            "norm": length(values),
            "change": length(values.double() - before[name].double()),
            "values": values.flatten()[:4].tolist(),
        }
        for name, values in after.items()
    }


def source_of(directory):
    """The folder with the model and the rows of a case: another fixture's, or its own."""
    config = json.loads((directory / "config.json").read_text())
    return FIXTURES / config["model"] if "model" in config else directory


def trained(directory, nudge=0.0):
    """A whole run: what expected.json holds, the gradients of its first step, and what it has made of the parameters.

    Each weight begins off by a share of `nudge` at the most.
    """
    config, source = read_config(directory / "config.json"), source_of(directory)
    adapter = directory / "adapter" if config["lora"] else None
    model = load_model(source / "model", adapter, config["quantization"])
    if config["lora"].get("freeze_a"):
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(parameter.requires_grad and "lora_A" not in name)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1 + nudge * (2 * torch.rand(parameter.shape, generator=generator) - 1))
    parameters = trainable(model)
    before = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    dtype = dtype_read(config["train"])
    with RoundedWeights(dtype) if dtype else nullcontext():
        expected, gradients = run(model, source / "model", source / "data.jsonl", config["train"])
    after = {name: parameter.detach() for name, parameter in parameters.items()}
    return expected, gradients, change(before, after)


def off(got, want):
    return abs(got - want) / max(abs(want), 1e-12)


def sensitivity(first, second):
    """The largest difference in losses, gradient norms, gradients and changes of two runs, each as a share of the first."""
    steps = list(zip(first[0]["steps"], second[0]["steps"], strict=True))
    return {
        "loss": max(off(b["loss"], a["loss"]) for a, b in steps),
        "grad_norm": max(off(b["grad_norm"], a["grad_norm"]) for a, b in steps),
        "gradients": max(length(second[1][name] - values) / length(values) for name, values in first[1].items()),
        "changes": max(off(second[2][name]["change"], values["change"]) for name, values in first[2].items()),
    }


def write(name, case, directory):
    torch.set_num_threads(1)
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    (directory / "config.json").write_text(json.dumps(case, indent=2) + "\n")
    if "lora" in case:
        # That one is an option of ours.
        of_peft = {option: value for option, value in case["lora"].items() if option != "freeze_a"}
        write_adapter(directory, FIXTURES / case["model"] / "model", of_peft, b_std=0.05)
    result = trained(directory)
    expected, gradients, final = result
    if "lora" in case:
        names = set(load_file(directory / "adapter" / "adapter_model.safetensors"))
        if case["lora"].get("freeze_a"):
            names = {name for name in names if "lora_A" not in name}
        assert names == set(gradients), names ^ set(gradients)
    shares = sensitivity(result, trained(directory, nudge=2.0**-23))
    assert all(shares[key] <= LIMITS[key] for key in LIMITS), f"{name} is not well conditioned: {shares}"
    save_gradients(directory, gradients)
    write_expected(directory, expected)
    lines = ",\n".join(f" {json.dumps(name)}: {json.dumps(values)}" for name, values in final.items())
    (directory / "final.json").write_text(f"{{\n{lines}\n}}\n")
    losses = " ".join(f"{step['loss']:.4f}" for step in expected["steps"])
    norms = " ".join(f"{step['grad_norm']:.3f}" for step in expected["steps"])
    print(f"{name}: loss {losses}; grad_norm {norms}; {len(final)} parameters")
    told = ", ".join(f"{key} {value:.0e}" for key, value in shares.items())
    print(f"    a rounding error in each weight makes {told}", flush=True)


def main(names):
    for name, case in CASES.items():
        if not names or name in names:
            write(name, case, OUT / name)


if __name__ == "__main__":
    main(sys.argv[1:])
