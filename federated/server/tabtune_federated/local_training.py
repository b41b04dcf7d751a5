"""Local steps with PEFT, as TRL's SFTTrainer would do them: a fresh AdamW each round at a constant rate,
batches of whole rows, the loss on completions where rows have a prompt. Needs torch, transformers and peft,
which the server does without.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

from .adapter_files import PREFIX
from .layout import Entry, Layout, flat, named
from .participant import Work
from .terms import ALL_LINEAR, Terms

IGNORED = -100
MAX_GRAD_NORM = 1.0


@dataclass(frozen=True)
class Row:
    """Token ids, and for each its label: itself, or IGNORED where it is not learnt."""

    ids: list[int]
    labels: list[int]


def tokenized(tokenizer: PreTrainedTokenizerBase, row: dict[str, Any], max_length: int) -> Row:
    """A row of text, of prompt and completion, or of messages. Raises ValueError where it is none."""
    end = tokenizer.eos_token
    if isinstance(row.get("text"), str):
        text = row["text"] if row["text"].endswith(end) else row["text"] + end
        ids = tokenizer(text)["input_ids"]
        labels = list(ids)
    elif isinstance(row.get("prompt"), str) and isinstance(row.get("completion"), str):
        ids = tokenizer(row["prompt"] + row["completion"] + end)["input_ids"]
        prompt = len(tokenizer(row["prompt"])["input_ids"])
        labels = [IGNORED] * prompt + ids[prompt:]
    elif isinstance(row.get("messages"), list):
        chat = tokenizer.apply_chat_template(
            row["messages"], return_dict=True, return_assistant_tokens_mask=True
        )
        ids = chat["input_ids"]
        labels = [token if said else IGNORED for token, said in zip(ids, chat["assistant_masks"])]
    else:
        raise ValueError("it has no text, no prompt and completion, and no messages")
    return Row(ids[:max_length], labels[:max_length])


def read_rows(path: Path, tokenizer: PreTrainedTokenizerBase, max_length: int) -> list[Row]:
    """The rows of a JSON Lines file that have something to learn. Raises ValueError, which names the line."""
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = tokenized(tokenizer, json.loads(line), max_length)
        except (ValueError, TypeError, AttributeError) as error:
            raise ValueError(f"{path}: line {number}: {error}") from error
        if any(label != IGNORED for label in row.labels[1:]):
            rows.append(row)
    if not rows:
        raise ValueError(f"{path}: no row has anything to learn")
    return rows


class PeftTrainer:
    """A model with a LoRA adapter by PEFT, on one device, in float32."""

    def __init__(self, terms: Terms, model: str, data: Path, held_out: Path | None) -> None:
        tokenizer = AutoTokenizer.from_pretrained(model)
        lora = terms.lora
        targets = lora.target_modules if lora.target_modules == ALL_LINEAR else list(lora.target_modules)
        config = LoraConfig(
            r=lora.r, lora_alpha=lora.lora_alpha, target_modules=targets, task_type="CAUSAL_LM"
        )
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
        self._model = get_peft_model(base, config).to(self._device)
        self._train = terms.train
        self._pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
        length = terms.train["max_length"]
        self._rows = read_rows(data, tokenizer, length)
        self._held_out = read_rows(held_out, tokenizer, length) if held_out else []
        self._parameters = {
            name.removeprefix(PREFIX).replace(".default.", "."): parameter
            for name, parameter in self._model.named_parameters()
            if ".lora_" in name
        }
        self.layout = self._layout(lora.freeze_a)
        self.examples = len(self._rows)

    def _layout(self, freeze_a: bool) -> Layout:
        """In the model's order, A before B."""
        entries = [Entry(name, *parameter.shape) for name, parameter in self._parameters.items()]
        if not freeze_a:
            return Layout(tuple(entries), ())
        for entry in entries:
            self._parameters[entry.name].requires_grad_(not entry.is_a)
        frozen = [entry for entry in entries if entry.is_a]
        return Layout(tuple(entry for entry in entries if not entry.is_a), tuple(frozen))

    def _put(self, work: Work) -> None:
        matrices = named(self.layout.entries, work.values) | named(self.layout.frozen, work.frozen)
        with torch.no_grad():
            for name, matrix in matrices.items():
                self._parameters[name].copy_(torch.from_numpy(matrix.copy()))

    def _values(self) -> np.ndarray:
        return flat(
            self.layout.entries,
            {
                entry.name: self._parameters[entry.name].detach().cpu().numpy()
                for entry in self.layout.entries
            },
        )

    def _batches(self, work: Work) -> Iterator[list[Row]]:
        """Batches of a new order each time all rows have been used; another one each round."""
        order = np.random.Generator(np.random.PCG64([int(self._train.get("seed", 42)), work.round_number]))
        size = self._train["per_device_train_batch_size"]
        while True:
            rows = order.permutation(len(self._rows))
            for start in range(0, len(rows), size):
                yield [self._rows[index] for index in rows[start : start + size]]

    def _loss(self, rows: list[Row]) -> torch.Tensor:
        """The mean over the labelled tokens of a batch."""
        longest = max(len(row.ids) for row in rows)
        ids = torch.full((len(rows), longest), self._pad)
        labels = torch.full((len(rows), longest), IGNORED)
        seen = torch.zeros((len(rows), longest), dtype=torch.long)
        for index, row in enumerate(rows):
            ids[index, : len(row.ids)] = torch.tensor(row.ids)
            labels[index, : len(row.ids)] = torch.tensor(row.labels)
            seen[index, : len(row.ids)] = 1
        place = self._device
        return self._model(
            input_ids=ids.to(place), attention_mask=seen.to(place), labels=labels.to(place)
        ).loss

    def train(self, work: Work) -> tuple[np.ndarray, float]:
        self._put(work)
        self._model.train()
        parameters = [self._parameters[entry.name] for entry in self.layout.entries]
        optimiser = torch.optim.AdamW(
            parameters, lr=work.learning_rate, weight_decay=float(self._train.get("weight_decay", 0.0))
        )
        losses = []
        for _, rows in zip(range(work.steps), self._batches(work)):
            optimiser.zero_grad()
            loss = self._loss(rows)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, float(self._train.get("max_grad_norm", MAX_GRAD_NORM)))
            optimiser.step()
            losses.append(loss.item())
        return self._values(), float(np.mean(losses))

    def evaluate(self, work: Work) -> tuple[int, float]:
        self._put(work)
        self._model.eval()
        total, tokens = 0.0, 0
        size = self._train["per_device_train_batch_size"]
        with torch.no_grad():
            for start in range(0, len(self._held_out), size):
                rows = self._held_out[start : start + size]
                count = sum(label != IGNORED for row in rows for label in row.labels[1:])
                total += self._loss(rows).item() * count
                tokens += count
        return len(self._held_out), total / tokens if tokens else 0.0
