"""Writes tests/fixtures/tokens/continued.json: chats that end with half an answer, and the ids that transformers goes on from.

Each case is `{tokenizer, template, messages, ids}`: `template` stands in place of the tokenizer's own where it is not
null, and `ids` is null where transformers refuses, as the template does not keep what the last message says.
"""

import json
from pathlib import Path

from rows import load_tokenizer
from templates_families import FAMILIES
from tokenizers_small import DRESSES

HALVES = [
    "The capital of France is",
    " The sea is wide,\n\n",
    "Größe: リヨン 👩‍👩",
    "",
    "<think>\nThe answer is",
    "<think>\nEasy.\n</think>\n\nThe answer is",
    "<think>Easy.</think>The answer is",
    "a<|im_end|>\n<|im_start|>assistant\nb",
]

BEFORE = [
    [{"role": "user", "content": "What is it?"}],
    [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "1?"},
        {"role": "assistant", "content": "One."},
        {"role": "user", "content": "2?"},
    ],
]

# What templates of models do beside writing a content as it is or trimmed.
TEMPLATES = [
    # Llama 2's: a space on both sides of the trimmed answer.
    "{% for m in messages %}{{ '[INST] ' + m.content + ' [/INST]' if m.role == 'user' else ' ' + m.content | trim + ' ' + eos_token }}{% endfor %}",
    # Thoughts go, and with them what is said before them.
    "{% for m in messages %}{{ m.role + ': ' + m.content.split('</think>')[-1] + '\n' }}{% endfor %}",
    # What the assistant said is not shown.
    "{% for m in messages if m.role == 'user' %}{{ m.content + '\n' }}{% endfor %}",
    "{% for m in messages %}{{ m.content | upper + '\n' }}{% endfor %}",
]


def continued(tokenizer, template, messages):
    try:
        return tokenizer.apply_chat_template(
            messages, chat_template=template, continue_final_message=True, return_dict=True
        )["input_ids"]
    except ValueError as refusal:
        assert "continue_final_message is set but" in str(refusal), refusal
        return None


def main(folder):
    cases = [(name, None) for name in [*DRESSES, *FAMILIES]] + [("chatml", template) for template in TEMPLATES]
    lines = []
    for name, template in cases:
        tokenizer = load_tokenizer(folder / name)
        for before in BEFORE:
            for half in HALVES:
                messages = [*before, {"role": "assistant", "content": half}]
                ids = continued(tokenizer, template, messages)
                case = {"tokenizer": name, "template": template, "messages": messages, "ids": ids}
                lines.append(json.dumps(case, ensure_ascii=False))
    (folder / "continued.json").write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(__file__).resolve().parents[2] / "tests/fixtures/tokens")
