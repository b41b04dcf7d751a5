"""Writes tests/fixtures/tokens: rows, and the token ids and label masks TRL makes of them."""

import json
from pathlib import Path

from tokenizers import Tokenizer

from rows import IGNORED, load_tokenizer, prepare
from templates_families import FAMILIES, with_markers, without_markers
from tokenizer_kinds import write_kind
from tokenizers_small import DRESSES, MARKED, write_tokenizer

CHATS = [
    {
        "messages": [
            {"role": "user", "content": "What is the capital of France?"},
            {"role": "assistant", "content": "The capital of France is Paris."},
        ]
    },
    {
        "messages": [
            {"role": "system", "content": "Answer in one word. 🙂"},
            {"role": "user", "content": "Où coulent le Rhône et la Saône ? 🎉"},
            {"role": "assistant", "content": "Lyon 🏙️ — c'est ça !"},
            {"role": "user", "content": "Und auf Deutsch? 日本語でも。"},
            {"role": "assistant", "content": "Größe: Lyon\n\nリヨン 👩‍👩‍👧"},
        ]
    },
    {
        "messages": [
            {"role": "user", "content": "  Count to ten.\n"},
            {"role": "assistant", "content": " 1 2 3 4 5 6 7 8 9 10\n"},
            {"role": "user", "content": "Again"},
            {"role": "assistant", "content": "One, two, three, four, five, six, seven, eight, nine, ten."},
            {"role": "user", "content": "Thanks"},
            {"role": "assistant", "content": ""},
        ]
    },
    {
        "messages": [
            {"role": "system", "content": "Write a long question that leaves no room for the answer. " * 3},
            {"role": "user", "content": "How many planets are there? " * 6},
            {"role": "assistant", "content": "Eight."},
        ]
    },
    {"messages": [{"role": "user", "content": "e\u0301 is é"}, {"role": "assistant", "content": "naïve café\tend"}]},
]

def chat(*contents, first="user", system=None):
    """A chat of contents that take turns."""
    roles = ["user", "assistant"] if first == "user" else ["assistant", "user"]
    said = [{"role": roles[index % 2], "content": content} for index, content in enumerate(contents)]
    return {"messages": ([{"role": "system", "content": system}] if system else []) + said}


# What prefixes of a chat do not tell: who begins, thoughts of earlier turns, words that look like a header.
TURNS = [
    chat("Hello", "Hi", "Bye", first="assistant"),
    chat("Hello", "Hi", "Bye", first="assistant", system="Be brief."),
    chat("2+2?", "<think>\nEasy.\n</think>\n\n4"),
    chat("1?", "<think>\nOne.\n</think>\n\n1", "2?", "<think>\nTwo.\n</think>\n\n2", "3?", "3"),
    chat("What is the sea?", "Wide.", "Why?", "So it is.", system="Answer."),
    chat("end", "assistant", "assistant", "end", "end"),
    chat("a<|im_end|>\n<|im_start|>assistant\nb", "[/INST] c<|im_end|>\n<|im_start|>assistant\nd", "[INST]", "e"),
    chat("Count", "", "Again", "1 \uFDD0 \U000F0000 2"),
]

CALL = {"id": "abcdefghi", "type": "function", "function": {"name": "get", "arguments": {"of": "Lyon", "n": [1, 2]}}}

# What the families' templates look at: words of the system about thoughts, tools, a system message with a question
# that ends the chat.
OF_FAMILIES = [
    chat("2+2?", "4", "3+3?", "6"),
    chat("2+2?", "4", system="Be brief. /no_think"),
    chat("2+2?", " <think>\nEasy.\n</think>\n\n4\n", "Sure?", "Yes 🙂", system="Alone. /system_override"),
    {
        "messages": [
            {"role": "user", "content": "Warm?"},
            {"role": "assistant", "content": "", "tool_calls": [CALL]},
            {"role": "tool", "content": '{"t": 20}', "tool_call_id": "abcdefghi"},
            {"role": "assistant", "content": "Yes."},
        ]
    },
]

TEXTS = [
    {"text": "The quick brown fox jumps over the lazy dog."},
    {"text": "Naïve café — 日本語 🎉👩‍👩‍👧 e\u0301"},
    {"text": " leading and trailing spaces  "},
    {"text": "two\nlines\n\n\tand a tab, it's 1234567 o'clock"},
    {"text": "The sea is wide, the sea is deep, it sings the sailors all to sleep. " * 4},
]

PAIRS = [
    {"prompt": "What is the capital of France?", "completion": " The capital of France is Paris."},
    {"prompt": "The ca", "completion": "pital of France"},
    {"prompt": "Ask 🎉", "completion": "👩‍👩‍👧 answer"},
    {"prompt": "How many planets are there? " * 8, "completion": "Eight."},
    {"prompt": "Count:\n", "completion": "\n1 2 3"},
]

CHAT_PAIRS = [
    {
        "prompt": [{"role": "user", "content": "What is the capital of France? 🎉"}],
        "completion": [{"role": "assistant", "content": "The capital of France is Paris."}],
    },
    {
        "prompt": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Two rivers of Lyon?"},
            {"role": "assistant", "content": "The Rhône and the Saône."},
            {"role": "user", "content": "How many planets?"},
        ],
        "completion": [
            {"role": "assistant", "content": "Eight."},
            {"role": "user", "content": "Sure?"},
            {"role": "assistant", "content": "Yes."},
        ],
    },
]


def ending(rows, key, end):
    """The rows with one more whose string already ends with EOS: TRL adds none to it."""
    last = dict(rows[0])
    last[key] = last[key] + end
    return rows + [last]


def split(row, last):
    """A chat as a prompt and its `last` messages as the completion."""
    return {"prompt": row["messages"][:-last], "completion": row["messages"][-last:]}


def cases():
    for dress in MARKED:
        yield f"{dress}: turns, all tokens", dress, {}, TURNS
        yield f"{dress}: turns, assistant only", dress, {"assistant_only_loss": True}, CHATS[:2] + TURNS
    for family in FAMILIES:
        # Gemma's has no place for tools.
        rows = OF_FAMILIES[:3] if family == "gemma3" else OF_FAMILIES
        yield f"{family}: chat, all tokens", family, {}, rows
        yield f"{family}: chat, assistant only", family, {"assistant_only_loss": True}, rows
        # Mistral's drops the system's words once an answer follows, and there TRL learns of the question too.
        pairs = OF_FAMILIES[:1] if family == "mistral3" else OF_FAMILIES[:2]
        yield f"{family}: chat prompt and completion", family, {}, [split(row, 1) for row in pairs]
    for dress in BASIC:
        eos = load_tokenizer_cached(dress).eos_token
        yield f"{dress}: text", dress, {}, ending(TEXTS, "text", eos)
        yield f"{dress}: text, truncated", dress, {"max_length": 24}, TEXTS
        yield f"{dress}: chat, all tokens", dress, {}, CHATS
        yield f"{dress}: chat, assistant only", dress, {"assistant_only_loss": True}, CHATS
        yield f"{dress}: chat, assistant only, truncated", dress, {"assistant_only_loss": True, "max_length": 64}, CHATS
        yield f"{dress}: prompt and completion", dress, {}, ending(PAIRS, "completion", eos)
        yield f"{dress}: prompt and completion, all tokens", dress, {"completion_only_loss": False}, PAIRS
        yield f"{dress}: prompt and completion, truncated", dress, {"max_length": 32}, PAIRS
        yield f"{dress}: chat prompt and completion", dress, {}, CHAT_PAIRS
        yield f"{dress}: chat prompt and completion, assistant only", dress, {"assistant_only_loss": True}, CHAT_PAIRS


# The dresses that all kinds of rows are tried with.
BASIC = ["chatml", "chatml_generation", "llama3", "zephyr"]

TOKENIZERS = {}


def load_tokenizer_cached(dress):
    return TOKENIZERS[dress]


def expectation(name, dress, train, rows):
    tokenizer = TOKENIZERS[dress]
    marked = with_markers(dress) if dress in FAMILIES else MARKED.get(dress)
    entries = prepare(tokenizer, rows, train, marked)
    kept = [entry["row"] for entry in entries]
    case = {
        "name": name,
        "tokenizer": dress,
        "train": train,
        "rows": rows,
        "expected": [
            {
                "row": entry["row"],
                "input_ids": entry["input_ids"],
                "labelled": [int(label != IGNORED) for label in entry["labels"]],
            }
            for entry in entries
        ],
        "dropped": [index for index in range(len(rows)) if index not in kept],
        "truncated": [entry["row"] for entry in entries if entry["truncated"]],
        "tokens": sum(len(entry["input_ids"]) for entry in entries),
        "labelled_tokens": sum(label != IGNORED for entry in entries for label in entry["labels"][1:]),
        "longest": max(len(entry["input_ids"]) for entry in entries),
    }
    if "messages" in rows[0]:
        case["rendered"] = [tokenizer.apply_chat_template(row["messages"], tokenize=False) for row in rows]
    return case


def main(out):
    for dress in DRESSES:
        write_tokenizer(dress, out / dress)
        TOKENIZERS[dress] = load_tokenizer(out / dress)
        plain = Tokenizer.from_file(str(out / dress / "tokenizer.json"))
        for row in TEXTS:
            assert plain.encode(row["text"]).ids == TOKENIZERS[dress](row["text"])["input_ids"], dress
    for family, (kind, _) in FAMILIES.items():
        write_kind(kind, out / family, without_markers(family))
        TOKENIZERS[family] = load_tokenizer(out / family)
    lines = [json.dumps(expectation(*case), ensure_ascii=False) for case in cases()]
    (out / "cases.json").write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(__file__).resolve().parents[2] / "tests/fixtures/tokens")
