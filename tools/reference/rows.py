"""Rows to token ids and labels, by TRL's own preparation.

The one thing TRL does not do is `assistant_only_loss` with a chat template that has no generation markers: there TRL is
given the mask. It is that of the same template with markers, where one is given, and else the span from where the
generation prompt ends to the end of that turn.
"""

import json
from types import SimpleNamespace

import datasets
from datasets import Dataset
from transformers import AutoTokenizer
from trl import SFTTrainer
from trl.chat_template_utils import has_generation_markers

datasets.disable_progress_bars()
datasets.disable_caching()

IGNORED = -100
MAX_LENGTH = 1024


def load_tokenizer(directory):
    tokenizer = AutoTokenizer.from_pretrained(directory)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def read_jsonl(path):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.strip()]


def assistant_spans(tokenizer, messages):
    """The whole rendered chat and the code point range of every assistant turn in it, for templates without markers."""
    rendered = tokenizer.apply_chat_template(messages, tokenize=False)
    spans = []
    for index, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        before = tokenizer.apply_chat_template(messages[:index], tokenize=False, add_generation_prompt=True)
        after = tokenizer.apply_chat_template(messages[: index + 1], tokenize=False)
        assert rendered.startswith(after) and after.startswith(before), "the template does not keep prefixes"
        spans.append((len(before), len(after)))
    return rendered, spans


def marked_mask(tokenizer, messages, marked):
    """The mask that transformers makes of a chat under `marked`, which must render it as the tokenizer's template does."""
    plain = tokenizer.apply_chat_template(messages, return_dict=True)["input_ids"]
    output = tokenizer.apply_chat_template(
        messages, chat_template=marked, return_dict=True, return_assistant_tokens_mask=True
    )
    assert output["input_ids"] == plain, "the marked template renders otherwise"
    return output["assistant_masks"]


def tokenize_without_markers(tokenizer, row, marked=None):
    """Token ids with TRL's two mask columns for one conversational row, by the rule for templates without markers."""
    messages = row["messages"] if "messages" in row else row["prompt"] + row["completion"]
    encoding = tokenizer(tokenizer.apply_chat_template(messages, tokenize=False), add_special_tokens=False)
    if marked:
        mask = marked_mask(tokenizer, messages, marked)
    else:
        mask = [0] * len(encoding["input_ids"])
        for start, end in assistant_spans(tokenizer, messages)[1]:
            for position in range(encoding.char_to_token(start), encoding.char_to_token(end - 1) + 1):
                mask[position] = 1
    output = {"input_ids": encoding["input_ids"], "assistant_masks": mask}
    if "prompt" in row:
        prompt = tokenizer.apply_chat_template(row["prompt"], add_generation_prompt=True)["input_ids"]
        common = 0
        while common < min(len(prompt), len(mask)) and prompt[common] == output["input_ids"][common]:
            common += 1
        output["completion_mask"] = [0] * common + [1] * (len(mask) - common)
    return output


def prepare(tokenizer, rows, train, marked=None):
    """Token ids and labels of the rows that remain, as TRL's SFTTrainer makes them under the options of `train`.

    Each entry has `row` (its index in `rows`), `input_ids`, `labels` (-100 where nothing is learned) and `truncated`.
    """
    assistant_only = train.get("assistant_only_loss", False)
    completion_only = train.get("completion_only_loss")
    if completion_only is None:
        completion_only = "prompt" in rows[0] and "completion" in rows[0]
    max_length = train.get("max_length", MAX_LENGTH)
    entries = []
    for index, row in enumerate(rows):
        if assistant_only and not has_generation_markers(tokenizer.chat_template):
            row = tokenize_without_markers(tokenizer, row, marked)
        prepared = {}
        for limit in (None, max_length):
            arguments = SimpleNamespace(
                dataset_num_proc=None,
                dataset_text_field="text",
                assistant_only_loss=assistant_only,
                max_length=limit,
                truncation_mode="keep_start",
                shuffle_dataset=False,
            )
            trainer = SimpleNamespace(_tokenizer=tokenizer, chat_template=None, completion_only_loss=completion_only)
            dataset = Dataset.from_list([row])
            prepared[limit] = SFTTrainer._prepare_dataset(trainer, dataset, tokenizer, arguments, False, None, "train")
        if len(prepared[max_length]) == 0:
            continue
        entry = prepared[max_length][0]
        entries.append(
            {
                "row": index,
                "input_ids": entry["input_ids"],
                "labels": entry["labels"],
                "truncated": len(prepared[None][0]["input_ids"]) > max_length,
            }
        )
    return entries
