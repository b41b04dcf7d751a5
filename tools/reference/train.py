"""The reference: a fine-tuning by PyTorch and PEFT in f32, with every number the engine is compared with.

A case is a folder with model/, adapter/ (PEFT, B not zero), data.jsonl and config.json. `write_case` adds
expected.json and grads.safetensors; check_trl.py holds the same steps against TRL's SFTTrainer. Where
`train.finetuning_type` is "full" there is no adapter, and all weights are trained.
"""

import json
import math
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import Adafactor, AutoModelForCausalLM, Trainer, get_scheduler

import nf4
from rows import IGNORED, load_tokenizer, prepare, read_jsonl

RECORDED_STEPS = 10


def read_config(path):
    config = json.loads(Path(path).read_text())
    return {part: config.get(part, {}) for part in ("quantization", "lora", "train")}


def load_base(model_dir, quantization):
    """The model in f32, with the weights of the decoder's linear layers sent through NF4 when load_in_4bit is set."""
    model = AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32, attn_implementation="eager")
    if quantization.get("load_in_4bit", False):
        double_quant = quantization.get("bnb_4bit_use_double_quant", False)
        with torch.no_grad():
            for module in model.get_decoder().layers.modules():
                if isinstance(module, torch.nn.Linear):
                    module.weight.copy_(nf4.round_trip(module.weight, double_quant))
    return model


def load_model(model_dir, adapter_dir, quantization):
    """The model with an adapter to train, or, where that is None, with all weights to train."""
    if adapter_dir is None:
        return load_base(model_dir, quantization)
    model = PeftModel.from_pretrained(load_base(model_dir, quantization), adapter_dir, is_trainable=True)
    for parameter in model.parameters():
        assert parameter.dtype == torch.float32
    return model


def write_adapter(case_dir, model_dir, lora, b_std, exclude=None):
    """A PEFT adapter with PEFT's own A and a normal B of the given spread, large enough to matter.

    Whatever else is trained is a tenth off from what it is in the model.
    """
    torch.manual_seed(7)
    base = load_base(model_dir, {})
    model = get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", **{"exclude_modules": exclude, **lora}))
    with torch.no_grad():
        for name, parameter in trainable(model).items():
            if "lora_B" in name:
                parameter.normal_(std=b_std)
            elif "lora_A" not in name:
                parameter.mul_(1 + 0.1 * torch.randn(parameter.shape))
    settings = model.peft_config["default"]
    settings.base_model_name_or_path = "model"
    # PEFT keeps sets, whose order is another in every process.
    for field in ("target_modules", "exclude_modules"):
        if isinstance(getattr(settings, field), set):
            setattr(settings, field, sorted(getattr(settings, field)))
    adapter_dir = Path(case_dir) / "adapter"
    model.save_pretrained(adapter_dir)
    (adapter_dir / "README.md").unlink()


def batch_of(entries, padding):
    """Input ids, attention mask and labels, padded at the right to the longest row."""
    longest = max(len(entry["input_ids"]) for entry in entries)
    ids = torch.full((len(entries), longest), padding)
    mask = torch.zeros((len(entries), longest), dtype=torch.long)
    labels = torch.full((len(entries), longest), IGNORED)
    for row, entry in enumerate(entries):
        length = len(entry["input_ids"])
        ids[row, :length] = torch.tensor(entry["input_ids"])
        mask[row, :length] = 1
        labels[row, :length] = torch.tensor(entry["labels"])
    return ids, mask, labels


def loss_sum(model, entries, padding):
    """The summed cross-entropy of all labelled tokens of a micro-batch. Position 0 is never predicted."""
    ids, mask, labels = batch_of(entries, padding)
    logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, :-1]
    return torch.nn.functional.cross_entropy(
        logits.reshape(-1, logits.shape[-1]), labels[:, 1:].reshape(-1), ignore_index=IGNORED, reduction="sum"
    )


def labelled_tokens(entries):
    return sum(label != IGNORED for entry in entries for label in entry["labels"][1:])


def evaluate(model, entries, padding):
    """The mean loss over all labelled tokens of the rows."""
    model.eval()
    with torch.no_grad():
        total = sum(loss_sum(model, [entry], padding).item() for entry in entries)
    model.train()
    return total / labelled_tokens(entries)


def steps_of(entries, train):
    """The micro-batches of every optimiser step: rows in file order, again in each epoch."""
    size = train.get("per_device_train_batch_size", 8)
    accumulation = train.get("gradient_accumulation_steps", 1)
    batches = [entries[start : start + size] for start in range(0, len(entries), size)]
    epoch = [batches[start : start + accumulation] for start in range(0, len(batches), accumulation)]
    if train.get("max_steps", -1) > 0:
        total = train["max_steps"]
    else:
        total = math.ceil(train.get("num_train_epochs", 3.0) * len(epoch))
    return [epoch[step % len(epoch)] for step in range(total)]


def warmup_steps(train, total):
    if train.get("warmup_steps", 0) > 0:
        return train["warmup_steps"]
    return math.ceil(total * train.get("warmup_ratio", 0.0))


def saved_name(name):
    """The name in adapter_model.safetensors of a parameter of PEFT's model; a model's own names stay."""
    name = name.replace("lora_magnitude_vector.default.weight", "lora_magnitude_vector")
    return name.replace(".modules_to_save.default", "").replace(".default", "")


def trainable(model):
    """What is trained, by the names that PEFT or transformers saves it under."""
    return {saved_name(name): p for name, p in model.named_parameters() if p.requires_grad}


def make_optimizer(model, train):
    """The optimiser of `optim` as transformers' Trainer makes it, which leaves biases and norms out of the decay."""
    decaying = Trainer.get_decay_parameter_names(None, model)
    groups = [
        {
            "params": [p for name, p in model.named_parameters() if p.requires_grad and (name in decaying) == decays],
            "weight_decay": train.get("weight_decay", 0.0) if decays else 0.0,
        }
        for decays in (True, False)
    ]
    learning_rate = train.get("learning_rate", 2e-5)
    match train.get("optim", "adamw_torch"):
        case "adamw_torch":
            betas = (train.get("adam_beta1", 0.9), train.get("adam_beta2", 0.999))
            return torch.optim.AdamW(groups, lr=learning_rate, betas=betas, eps=train.get("adam_epsilon", 1e-8))
        case "sgd":
            return torch.optim.SGD(groups, lr=learning_rate)
        case "adafactor":
            return Adafactor(groups, lr=learning_rate, scale_parameter=False, relative_step=False)
        case other:
            raise ValueError(f"no reference for optim {other}")


def optimise(model, entries, train, take):
    """Trains, and returns the record of every step with the gradients of the first one.

    `take` adds the gradients of a step's micro-batches to the parameters' and tells of the step its loss, the number of its
    tokens and what else is recorded.
    """
    steps = steps_of(entries, train)
    assert len(steps) <= RECORDED_STEPS, "the loss after the run belongs to the last step recorded"
    parameters = trainable(model)
    optimizer = make_optimizer(model, train)
    name = train.get("lr_scheduler_type", "linear")
    scheduler = get_scheduler(name, optimizer, warmup_steps(train, len(steps)), len(steps))
    max_grad_norm = train.get("max_grad_norm", 1.0)
    records, first_gradients, num_tokens = [], None, 0
    model.train()
    for index, batches in enumerate(steps):
        optimizer.zero_grad()
        loss, tokens, more = take(batches)
        if first_gradients is None:
            first_gradients = {name: p.grad.clone() for name, p in parameters.items()}
        norm = torch.nn.utils.clip_grad_norm_(
            parameters.values(), max_grad_norm if max_grad_norm > 0 else float("inf")
        )
        num_tokens += tokens
        records.append(
            {
                "step": index + 1,
                "loss": loss,
                "grad_norm": norm.item(),
                "learning_rate": scheduler.get_last_lr()[0],
                "num_tokens": num_tokens,
                **more,
            }
        )
        optimizer.step()
        scheduler.step()
    return records, first_gradients


def train_steps(model, entries, train, padding):
    """Supervised training: the loss of a step is the mean over all its labelled tokens."""

    def take(batches):
        entries_of_step = [entry for batch in batches for entry in batch]
        labelled = labelled_tokens(entries_of_step)
        loss = 0.0
        for batch in batches:
            micro = loss_sum(model, batch, padding) / labelled
            micro.backward()
            loss += micro.item()
        tokens = sum(len(entry["input_ids"]) for entry in entries_of_step)
        return loss, tokens, {"labelled_tokens": labelled}

    return optimise(model, entries, train, take)


def some_logits(model, entry):
    """Logits of the first eight tokens of the vocabulary at the first, the middle and the last position of a row."""
    model.eval()
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([entry["input_ids"]]), use_cache=False).logits[0]
    positions = sorted({0, len(logits) // 2, len(logits) - 1})
    return [{"position": position, "values": logits[position, :8].tolist()} for position in positions]


def write_expected(case_dir, expected):
    (Path(case_dir) / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


def save_gradients(case_dir, gradients):
    contiguous = {name: gradient.contiguous() for name, gradient in gradients.items()}
    save_file(contiguous, Path(case_dir) / "grads.safetensors")


def run(model, model_dir, data, train):
    """Trains the model on a file of rows; what expected.json holds, and the gradients of the first step."""
    tokenizer = load_tokenizer(model_dir)
    rows = read_jsonl(data)
    entries = prepare(tokenizer, rows, train)
    padding = tokenizer.pad_token_id
    expected = {
        "rows": len(rows),
        "kept": len(entries),
        "truncated": sum(entry["truncated"] for entry in entries),
        "tokens": sum(len(entry["input_ids"]) for entry in entries),
        "labelled_tokens": labelled_tokens(entries),
        "eval_loss_before": evaluate(model, entries, padding),
        "first_row": {"input_ids": entries[0]["input_ids"], "logits": some_logits(model, entries[0])},
    }
    expected["steps"], gradients = train_steps(model, entries, train, padding)
    expected["eval_loss_after"] = evaluate(model, entries, padding)
    return expected, gradients


def write_case(case_dir, model_dir=None, b_std=0.05, exclude=None):
    """Makes the adapter where there is none, and writes expected.json and grads.safetensors beside config.json."""
    torch.set_num_threads(1)
    case_dir = Path(case_dir)
    model_dir = model_dir or case_dir / "model"
    config = read_config(case_dir / "config.json")
    if not (case_dir / "adapter").exists():
        write_adapter(case_dir, model_dir, config["lora"], b_std, exclude)
    model = load_model(model_dir, case_dir / "adapter", config["quantization"])
    expected, gradients = run(model, model_dir, case_dir / "data.jsonl", config["train"])
    names = set(load_file(case_dir / "adapter" / "adapter_model.safetensors"))
    assert names == set(gradients), "the gradients do not bear the adapter's names"
    save_gradients(case_dir, gradients)
    write_expected(case_dir, expected)
    return expected
