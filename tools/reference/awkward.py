"""Writes tests/fixtures/tokens/kinds: awkward texts, and what Hugging Face makes of them with each kind of tokenizer."""

import json
import random
from pathlib import Path

from transformers import AutoTokenizer

from tokenizer_kinds import KINDS, write_kind

TEXTS = [
    # Nothing, and blanks of many kinds.
    "", " ", "  ", "   ", "\t", "\n", "\n\n", "\n\n\n\n\n\n\n", "\r\n\r\n", " \n ", "\t\t\tx", " a", "a ", "  a  b   c    d     ",
    "a\u00a0b \u00a0 c", "a\u3000b\u2003c\u2009d", "a\u200bb\u200cc\u200dd\ufeffe", "a\u0085b\u2028c\u2029d", "\x0b\x0c x \x1c\x1d\x1e\x1f",
    "end of line \n  next\n\n  more \t\n", "▁", "▁▁▁ a▁b ▁ c", "  ▁  ",
    # Digits.
    "0", "12", "123", "1234", "1234567890123", "3.14159 -2e10 1,234,567.89", "x1y22z333", "٣٤٥ १२३ ½ Ⅷ ² 𝟘𝟙 ①", "2026-11-28T19:23:57Z",
    # Contractions, quotes, cases.
    "it's IT'S It'S they're THEY'RE we'll WE'LL I'd I'D you've YOU'VE don't DON'T I'm I'M", "it’s they’re 's 't 'x ''s", "'ſ 'K x'S",
    "camelCase PascalCase HTTPServer iPhone XMLHttpRequest snake_case SCREAMING_CASE aBCd ABCdEF", "ǅ ǈx ªº ʰʱ ﬀ ß ẞ İ ı",
    "«guillemets» “quotes” ‘single’ —dash– … ¿qué? ¡oh!",
    # Code.
    "def f(x):\n    return {'a': [1, 2], \"b\": x**2}  # note\n\n\nclass A:\n\tpass\n", "if (a&&b||!c) { x->y = &z[0]; } // ok\r\n",
    "<div class=\"a\">&nbsp;</div>\n<table><tr></tr></table>", "https://example.org/a/b?c=d&e=%20f#g", "C:\\dir\\file.txt /usr/lib/*.so ../..//",
    "SELECT * FROM t WHERE a>=1 AND b<>'x';--", "\\n \\t \\u0041 \\\\", "#!/bin/sh\nls -la | grep x > /dev/null 2>&1\n", "!!!???...,,,;;;:::",
    "/\n/\n\n//\r\n", "$100 €20 £30 ¥40 ₹50 5% 6‰ §7 ©®™ ±×÷≠≤≥∞∑√∫", "a_b-c.d@e.f", "~`^|<>{}[]()",
    # Scripts.
    "Größe naïve café Ærøskøbing Łódź İstanbul Đặng Việt Nam", "Ωμέγα και άλφα", "Привет, мир! Ёлка", "日本語でも、こんにちは。カタカナ", "世界你好，中国。",
    "繁體中文 𠀀𪚥", "안녕하세요 세계 가나", "สวัสดีชาวโลก ภาษาไทย", "नमस्ते दुनिया क्षत्रिय", "বাংলা தமிழ் తెలుగు ಕನ್ನಡ മലയാളം", "שלום עולם עִבְרִית", "مرحبا بالعالم السَّلَامُ",
    "فارسی می‌خواهم", "a שלום b مرحبا c \u202eabc\u202c \u2066d\u2069", "አማርኛ ქართული հայերեն", "ខ្មែរ ລາວ မြန်မာ བོད་སྐད", "ᚠᚢᚦ 𐍈 𝔘𝔫𝔦 𝓬𝓸𝓭𝓮 ⠓⠊", "ꦧꦱ ᬩᬮᬶ 𞤀𞤣",
    # Combining marks, and what NFC changes.
    "e\u0301 é A\u030a Å Å \u1100\u1161 가", "Z̴͉͝a̶l̵g̷o", "\u0301a \u0301", "q\u0307\u0323 q\u0323\u0307", "क\u093c क़ ﬁ Ω K",
    # Emoji.
    "🙂", "🎉🎉🎉 x🎉y", "👩‍👩‍👧‍👦 👨🏽‍💻 🏳️‍🌈", "🇫🇷🇩🇪🇯🇵 🏴󠁧󠁢󠁳󠁣󠁴󠁿", "❤️ ❤ ☺︎ 1️⃣ #️⃣", "¯\\_(ツ)_/¯ (╯°□°)╯︵ ┻━┻",
    # Controls and the edges of Unicode.
    "\x00", "a\x00b\x01c\x7fd", "\x1b[31mred\x1b[0m", "\ufffd \ufffe \uffff \U0010ffff \U000e0001 \ue000 \ud7ff", "\u0378 \u2fe0",
    # Long words and runs.
    "a" * 300, "the" * 60, " " * 200 + "x", "\n" * 50 + "y", "-" * 129, "日" * 40, "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft",
    "the " * 30, "x \n" * 20, "1" * 50,
    # What looks like a special token, and special tokens.
    "<s>a</s>", "<s> a </s> b", "a</s>\nb</s>  c", "<|endoftext|>", "x<|endoftext|>y <|endoftext|> z", "<|im_start|>user\nHi<|im_end|>\n", "<|im_start |> <|IM_END|> <|im_end",
    "<start_of_turn>user\nHi<end_of_turn>\n<bos><eos><pad><unk>", "[INST] Hi [/INST] Ho</s>", "<|user|>\nHi<|end|>\n<|assistant|>  \n\nHo<|end|>\t x",
    "<|begin_of_text|><|start_header_id|>a<|end_header_id|>\n\nb<|eot_id|>", "<|start_of_role|>user<|end_of_role|>x<|end_of_text|>", "<think>\nhm\n</think>\n\n<tool_call>{}</tool_call>",
    "<unk> <0x41> <0xE6><0x97> <0x0A> <pad>", "<<s>> <s <s>>", "<|<|end|>|>",
]


def decodes(tokenizer):
    """Ids that no text gives: bytes that are no characters, blanks in front, special tokens between words."""
    draw = random.Random(7)
    size = len(tokenizer)
    rows = [[draw.randrange(size) for _ in range(12)] for _ in range(24)]
    return [{"ids": ids, "text": tokenizer.decode(ids, skip_special_tokens=True)} for ids in rows]


def expectation(tokenizer):
    ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in TEXTS]
    around = tokenizer("")["input_ids"]
    for text, plain in zip(TEXTS, ids, strict=True):
        assert tokenizer(text)["input_ids"] == around + plain, text
    decoded = [tokenizer.decode(row, skip_special_tokens=False) for row in ids]
    # Only where it is not the text again.
    decoded = [None if back == text else back for back, text in zip(decoded, TEXTS, strict=True)]
    return {"before": around, "ids": ids, "decoded": decoded, "decodes": decodes(tokenizer)}


def main(out):
    kinds = {}
    for name in KINDS:
        write_kind(name, out / name)
        kinds[name] = expectation(AutoTokenizer.from_pretrained(out / name))
    lines = [json.dumps(name) + ": " + json.dumps(kind, ensure_ascii=True, separators=(",", ":")) for name, kind in kinds.items()]
    texts = json.dumps(TEXTS, separators=(",", ":"))
    (out / "expected.json").write_text('{"texts": ' + texts + ',\n"kinds": {\n' + ",\n".join(lines) + "\n}}\n")


if __name__ == "__main__":
    main(Path(__file__).resolve().parents[2] / "tests/fixtures/tokens/kinds")
