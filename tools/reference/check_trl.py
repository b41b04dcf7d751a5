"""Holds expected.json of every case against TRL's own SFTTrainer, step by step.

    python check_trl.py [CASE_DIR...]     (default: all of tests/fixtures/models and tests/fixtures/ways)

Where there is a final.json, what TRL has made of the parameters is held against that too. TRL's sampler is set to file
order, its precision to f32; the base model is the same one quantised beforehand, because TRL turns adapters on a model that
bitsandbytes quantised into bf16.
"""

import json
import sys
import tempfile
from pathlib import Path

import torch
from datasets import Dataset
from trl import SFTConfig, SFTTrainer
from trl.chat_template_utils import has_generation_markers

from rows import load_tokenizer, read_jsonl, tokenize_without_markers
from train import load_model, read_config, trainable
from ways import change, dtype_read, off, source_of

# A tenth of what the engine may differ from the reference; the rest of f32 is the order of its sums.
LIMITS = {"loss": 1e-5, "grad_norm": 1e-4, "learning_rate": 1e-9, "num_tokens": 0.0}
FINAL_LIMIT = 1e-4


class MastersTrainer(SFTTrainer):
    """Has the model's matrices rounded to `dtype` for the time of a forward and a backward pass, where there is one."""

    dtype = None

    def training_step(self, model, *args, **kwargs):
        if self.dtype is None:
            return super().training_step(model, *args, **kwargs)
        matrices = [parameter for parameter in model.parameters() if parameter.dim() == 2]
        masters = [matrix.detach().clone() for matrix in matrices]
        with torch.no_grad():
            for matrix, master in zip(matrices, masters, strict=True):
                matrix.copy_(master.to(self.dtype))
        loss = super().training_step(model, *args, **kwargs)
        with torch.no_grad():
            for matrix, master in zip(matrices, masters, strict=True):
                matrix.copy_(master)
        return loss


def train(case_dir):
    """What TRL logs of every step, and what it makes of the parameters."""
    config = read_config(case_dir / "config.json")
    options = {**config["train"], "logging_steps": 1}
    is_full = options.pop("finetuning_type", "lora") == "full"
    # TRL's own would round what weights are multiplied by, too.
    dtype = dtype_read(options)
    for option in ("bf16", "fp16"):
        options.pop(option, None)
    source = source_of(case_dir)
    ratio = options.pop("warmup_ratio", 0.0)
    if ratio and not options.get("warmup_steps"):
        options["warmup_steps"] = ratio
    tokenizer = load_tokenizer(source / "model")
    rows = read_jsonl(source / "data.jsonl")
    if options.get("assistant_only_loss") and not has_generation_markers(tokenizer.chat_template):
        rows = [tokenize_without_markers(tokenizer, row) for row in rows]
        options["assistant_only_loss"] = False
    with tempfile.TemporaryDirectory() as scratch:
        arguments = SFTConfig(
            output_dir=scratch,
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            train_sampling_strategy="sequential",
            logging_nan_inf_filter=False,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            **options,
        )
        model = load_model(source / "model", None if is_full else case_dir / "adapter", config["quantization"])
        parameters = trainable(model)
        before = {name: parameter.detach().clone() for name, parameter in parameters.items()}
        trainer = MastersTrainer(
            model=model, args=arguments, train_dataset=Dataset.from_list(rows), processing_class=tokenizer
        )
        trainer.dtype = dtype
        trainer.train()
    after = {name: parameter.detach() for name, parameter in parameters.items()}
    return [entry for entry in trainer.state.log_history if "loss" in entry], change(before, after)


def check(case_dir):
    steps, final = train(case_dir)
    expected = json.loads((case_dir / "expected.json").read_text())["steps"]
    worst = dict.fromkeys(LIMITS, 0.0)
    assert len(steps) == len(expected), f"{case_dir.name}: TRL takes {len(steps)} steps, not {len(expected)}"
    for ours, theirs in zip(expected, steps, strict=True):
        for key in LIMITS:
            worst[key] = max(worst[key], off(ours[key], theirs[key]))
    limits = LIMITS
    if (case_dir / "final.json").exists():
        expected = json.loads((case_dir / "final.json").read_text())
        assert final.keys() == expected.keys(), f"{case_dir.name}: TRL trains {sorted(final.keys() ^ expected.keys())}"
        worst["final"] = max(
            off(expected[name][key], final[name][key]) for name in final for key in ("norm", "change")
        )
        limits = {**LIMITS, "final": FINAL_LIMIT}
    print(f"{case_dir.name}: " + ", ".join(f"{key} {value:.1e}" for key, value in worst.items()), flush=True)
    return [f"{case_dir.name}: {key}" for key, value in worst.items() if value > limits[key]]


def main(directories):
    torch.set_num_threads(1)
    failures = [failure for directory in directories for failure in check(directory)]
    if failures:
        sys.exit("TRL differs in " + ", ".join(failures))


if __name__ == "__main__":
    fixtures = Path(__file__).resolve().parents[2] / "tests/fixtures"
    everything = [*sorted((fixtures / "models").iterdir()), *sorted((fixtures / "ways").iterdir())]
    main([Path(argument) for argument in sys.argv[1:]] or everything)
