"""The tokenizer: byte-level BPE of 2,048 entries, and the chat template."""

import json
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

SIZE = 2048
PAD, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"

CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' }}"
    "{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}"
    "{% else %}{{ message['content'] + '<|im_end|>' }}{% endif %}{{ '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def train(texts) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
    ])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=SIZE, special_tokens=[PAD, START, END], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(texts, trainer)
    assert tokenizer.get_vocab_size() == SIZE
    return tokenizer


def save(tokenizer: Tokenizer, folder: Path, context: int):
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": context,
        "bos_token": START,
        "eos_token": END,
        "pad_token": PAD,
        "add_bos_token": False,
        "clean_up_tokenization_spaces": False,
        "chat_template": CHAT_TEMPLATE,
    }
    text = json.dumps(config, indent=2) + "\n"
    (folder / "tokenizer_config.json").write_text(text, encoding="utf-8")


class Rows:
    """Turns chats and texts into (token ids, loss weights)."""

    def __init__(self, tokenizer: Tokenizer, question_weight: float):
        self.tokenizer = tokenizer
        self.end = tokenizer.token_to_id(END)
        self.question_weight = question_weight

    def encode(self, text):
        return self.tokenizer.encode(text).ids

    def chat(self, messages):
        """As the chat template renders it; what the assistant says weighs 1, the rest less."""
        ids, weights = [], []
        for message in messages:
            head = self.encode(f"{START}{message['role']}\n")
            body = self.encode(message["content"]) + [self.end]
            spoken = 1.0 if message["role"] == "assistant" else self.question_weight
            ids += head + body + self.encode("\n")
            weights += [0.0] * len(head) + [spoken] * len(body) + [0.0]
        return ids, weights

    def text(self, text):
        ids = self.encode(text) + [self.end]
        return ids, [1.0] * len(ids)
