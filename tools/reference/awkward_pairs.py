"""Writes tests/fixtures/preferences/rows.json: awkward preference rows, and the ids and masks that TRL makes of them."""

import json

from pairs import prepare_pairs, prepare_rated
from preferences import OUT
from rows import load_tokenizer
from ways import FIXTURES

# Of the first no text begins with a BOS, of the others every one; the last knows words by a mark before them.
TOKENIZERS = ["chatml", "llama3", "zephyr"]
COUNTING = "One, two, three, four, five, six, seven, eight, nine, ten."


def pair(prompt, chosen, rejected):
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected}


def chat(*contents, system=None):
    """Messages that take turns, the user first."""
    said = [{"role": ["user", "assistant"][index % 2], "content": content} for index, content in enumerate(contents)]
    return ([{"role": "system", "content": system}] if system else []) + said


def answer(*contents):
    """Messages that take turns, the assistant first."""
    return chat("", *contents)[1:]


PLAIN = [
    # Tokens that are merged over the boundary, in both answers, in one of them and in none.
    pair("The ca", "pital of France", "t sleeps"),
    pair("The capital", "s of France", " of France is Paris."),
    pair("The capital", " of France is Paris.", "s of France"),
    pair("Question: ", "yes", " no"),
    pair("Count:\n", "\n1 2 3", "1"),
    pair("Count:\n\n", "\n\n", "1"),
    # Characters of several tokens, of which the answers share some.
    pair("Ask 🎉", "👩‍👩‍👧 answer", "👩‍👩‍👦"),
    pair("e", "\u0301 is é", "\u0300"),
    # Answers that are empty, blank, equal, or where one is the beginning of the other.
    pair("Say nothing.", "", " Nothing."),
    pair("Say nothing.", " Nothing.", ""),
    pair("Say nothing.", "", ""),
    pair("Say nothing.", " ", "\n"),
    pair("Where?", " Paris", " Paris"),
    pair("Where?", " Paris", " Paris and Lyon"),
    # A prompt of nothing.
    pair("", "The sun.", "The sea."),
    pair(" ", "The sun.", "The sea."),
]

IMPLICIT = [
    # The space before the difference goes to the answers, but one alone.
    {"chosen": "The sky is blue.", "rejected": "The sky is green."},
    {"chosen": "The sky is  blue.", "rejected": "The sky is  green."},
    {"chosen": "The sky is\nblue.", "rejected": "The sky is\ngreen."},
    # In the middle of a word, of a number and of a character that is written in several bytes.
    {"chosen": "It is one.", "rejected": "It is only."},
    {"chosen": "It is 1234", "rejected": "It is 1256"},
    {"chosen": "Ask 🎉 yes", "rejected": "Ask 🎈 no"},
    {"chosen": "Cafe\u0301", "rejected": "Cafe\u0300"},
    # One is the beginning of the other, or both are the same: the prompt ends a character before.
    {"chosen": "Yes", "rejected": "Yes, it is."},
    {"chosen": "Go on now", "rejected": "Go"},
    {"chosen": "Go on", "rejected": "Go "},
    {"chosen": "Same.", "rejected": "Same."},
    {"chosen": "A", "rejected": "AB"},
    # Nothing in common.
    {"chosen": "No.", "rejected": "Yes."},
]

CHATS = [
    pair(chat("What is the capital of France? 🎉"), answer("Paris."), answer("Lyon.")),
    pair(chat("2+2?", "4", "3+3?", system="Be brief."), answer("6"), answer("6, of course.")),
    # Answers of several messages, an empty one, blanks, and the same twice.
    pair(chat("Hello"), answer("Hi", "Bye", "Bye"), answer("Hi")),
    pair(chat("Say nothing."), answer(""), answer(" Nothing.\n")),
    pair(chat("  Count.\n"), answer(" 1 2 3\n"), answer("1 2 3")),
    pair(chat("Where?"), answer("Paris"), answer("Paris")),
    # The prompt's last word is the assistant's.
    pair(chat("Hello", "Hi"), chat("How many?", "Eight."), chat("How many?", "Ten.")),
    pair(chat("Go on", "One, two,"), answer(" three"), answer(" four")),
    # Words that look like a header.
    pair(chat("end<|im_end|>\n<|im_start|>assistant\n"), answer("</s><|eot_id|>"), answer("<|im_start|>")),
]

IMPLICIT_CHATS = [
    {"chosen": chat("What is the sea?", "Wide."), "rejected": chat("What is the sea?", "Deep.")},
    {"chosen": chat("1?", "1", "2?", "2"), "rejected": chat("1?", "1", "2?", "two")},
    # They part early, and the rest of the chat belongs to the answers.
    {"chosen": chat("1?", "1", "2?", "2"), "rejected": chat("1?", "one", "2?", "2")},
    # One is the beginning of the other: the prompt ends a message before.
    {"chosen": chat("1?", "1"), "rejected": chat("1?", "1", "2?", "2")},
    {"chosen": chat("1?", "1", "2?", "2", system="Be brief."), "rejected": chat("1?", "1", "2?", system="Be brief.")},
    {"chosen": chat("Same?", "Same."), "rejected": chat("Same?", "Same.")},
]

# Answers that are cut, both or one of them.
CUT = [
    pair("Count.", f" {COUNTING}", " No."),
    pair("Count.", " No.", f" {COUNTING}"),
    pair("Count.", f" {COUNTING}", f" {COUNTING[5:]}"),
    pair("Go on from one to ten, slowly:", f" {COUNTING}", ""),
    pair("How many planets are there? " * 4, "Eight.", "Ten."),
]
CUT_CHATS = [
    pair(chat("Count."), answer(COUNTING), answer("No.")),
    pair(chat("How many planets? " * 8), answer("8"), answer("9")),
]

RATED = [
    {"prompt": "The ca", "completion": "pital of France", "label": True},
    {"prompt": "Say nothing.", "completion": "", "label": True},
    {"prompt": "Count.", "completion": f" {COUNTING}", "label": False},
    {"prompt": "How many planets are there? " * 4, "completion": "Eight.", "label": True},
    {"prompt": "", "completion": "The sun.", "label": False},
    {"prompt": "Where?", "completion": " Paris", "label": True},
]


def ending(rows, end):
    """The rows with two more, of which both answers or one end with EOS: TRL adds none to these."""
    return [*rows, pair("Where?", f" Paris.{end}", f" Lyon.{end}"), pair("Where?", f" Paris.{end}", f" Lyon. {end} ")]


def prompt_length(tokenizer, row):
    """How many tokens stand before the answers."""
    [entry] = prepare_pairs(tokenizer, [row], {})
    return entry["chosen"]["labelled"].index(1)


def cases(tokenizer):
    yield "prompt, chosen and rejected", "dpo", {}, ending(PLAIN, tokenizer.eos_token)
    yield "chosen and rejected", "dpo", {}, IMPLICIT
    yield "chats with a prompt", "dpo", {}, CHATS
    yield "chats", "dpo", {}, IMPLICIT_CHATS
    yield "cut", "dpo", {"max_length": 24}, CUT
    yield "chats, cut", "dpo", {"max_length": 48}, CUT_CHATS
    length = prompt_length(tokenizer, CUT[3])
    yield "a prompt of max_length", "dpo", {"max_length": length}, CUT[3:4] + CUT[:1]
    yield "a prompt of max_length less one", "dpo", {"max_length": length + 1}, CUT[3:4] + CUT[:1]
    # Of these the prompt alone is longer than the part of it that both answers keep.
    length = prompt_length(tokenizer, PLAIN[0])
    yield "a merged prompt of max_length", "dpo", {"max_length": length}, PLAIN[:1]
    yield "a merged prompt of max_length less one", "dpo", {"max_length": length + 1}, PLAIN[:1]
    yield "rated answers", "kto", {"per_device_train_batch_size": 3}, RATED
    yield "rated answers, cut", "kto", {"per_device_train_batch_size": 2, "max_length": 24}, RATED
    yield "pairs taken apart", "kto", {"per_device_train_batch_size": 3}, PLAIN[:4]
    yield "chats taken apart", "kto", {"per_device_train_batch_size": 2}, IMPLICIT_CHATS[:3]


def prepared(tokenizer, rows, train):
    """Rated answers together, because they are mixed; pairs one by one, because a data set makes all its rows alike."""
    if train["method"] == "kto":
        return prepare_rated(tokenizer, rows, train)
    return [{**entry, "row": index} for index, row in enumerate(rows) for entry in prepare_pairs(tokenizer, [row], train)]


def expectation(name, dress, train, rows, entries):
    kept = {entry["row"] for entry in entries}
    return {
        "name": f"{dress}: {name}",
        "tokenizer": dress,
        "train": train,
        "rows": rows,
        "expected": entries,
        "dropped": [index for index in range(len(rows)) if index not in kept],
    }


def main():
    lines = []
    for dress in TOKENIZERS:
        tokenizer = load_tokenizer(FIXTURES / "tokens" / dress)
        for name, method, train, rows in cases(tokenizer):
            train = {"method": method, **train}
            case = expectation(name, dress, train, rows, prepared(tokenizer, rows, train))
            lines.append(json.dumps(case, ensure_ascii=False, separators=(",", ":")))
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "rows.json").write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
