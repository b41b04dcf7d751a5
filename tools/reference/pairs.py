"""Rows of preferences to token ids and masks, by TRL's own preparation.

A sequence is a prompt with one answer, cut at `max_length`: `input_ids`, and `labelled`, 1 at the tokens of the answer.
"""

from types import SimpleNamespace

from datasets import Dataset
from trl import DPOTrainer, KTOTrainer
from trl.trainer.dpo_trainer import DataCollatorForPreference
from trl.trainer.kto_trainer import DataCollatorForUnpairedPreference

from rows import MAX_LENGTH


def dataset_of(rows):
    """The rows, each with its place in the file, which TRL's preparation keeps."""
    return Dataset.from_list([{**row, "row": index} for index, row in enumerate(rows)])


def sequence(ids, mask):
    return {"input_ids": ids.tolist(), "labelled": mask.tolist()}


def cut_sequences(batch, prefix=""):
    """The sequences of a batch that TRL's collator has padded."""
    lengths = batch[f"{prefix}attention_mask"].sum(1).tolist()
    sequences = zip(batch[f"{prefix}input_ids"], batch[f"{prefix}completion_mask"], lengths, strict=True)
    return [sequence(ids[:length], mask[:length]) for ids, mask, length in sequences]


def prepare_pairs(tokenizer, rows, train):
    """The pairs that remain, as TRL's DPOTrainer makes them.

    Each entry has `row` (its index in `rows`), the sequences `chosen` and `rejected`, and `truncated`, the number of these
    that were cut.
    """
    max_length = train.get("max_length", MAX_LENGTH)
    arguments = SimpleNamespace(dataset_num_proc=None, max_length=max_length, truncation_mode="keep_start")
    trainer = SimpleNamespace(_tokenizer=tokenizer)
    collator = DataCollatorForPreference(tokenizer.pad_token_id, max_length)
    entries = []
    for row in DPOTrainer._prepare_dataset(trainer, dataset_of(rows), tokenizer, arguments, "train"):
        chosen, rejected = cut_sequences(collator([row]))
        lengths = [len(row["prompt_ids"]) + len(row[f"{answer}_ids"]) for answer in ("chosen", "rejected")]
        truncated = sum(length > max_length for length in lengths)
        entries.append({"row": row["row"], "truncated": truncated, "chosen": chosen, "rejected": rejected})
    return entries


def prepare_rated(tokenizer, rows, train):
    """The rated answers that remain, in the order in which TRL's KTOTrainer takes them.

    Each entry has `row`, `label`, the sequence of the answer, `kl`, the one of the same prompt with another row's answer,
    and `truncated`, 1 where its own was cut. Of pairs all chosen answers come first.
    """
    max_length = train.get("max_length", MAX_LENGTH)
    arguments = SimpleNamespace(
        dataset_num_proc=None,
        max_length=max_length,
        per_device_train_batch_size=train.get("per_device_train_batch_size", 8),
    )
    trainer = SimpleNamespace(_tokenizer=tokenizer, calculate_KL=True, desirable_weight=1.0, undesirable_weight=1.0)
    collator = DataCollatorForUnpairedPreference(tokenizer.pad_token_id, max_length)
    entries = []
    for row in KTOTrainer._prepare_dataset(trainer, dataset_of(rows), tokenizer, arguments, "train"):
        batch = collator([row])
        [answer], [other] = cut_sequences(batch), cut_sequences(batch, "KL_")
        truncated = int(len(row["prompt_ids"]) + len(row["completion_ids"]) > max_length)
        entries.append({"row": row["row"], "label": row["label"], "truncated": truncated, **answer, "kl": other})
    return entries
