"""A layout: which matrices learn, in which order, and how they lie behind one another in one flat array.

Names are PEFT's without `base_model.model.`. A is [r, in], B is [out, r], both row-major, so a flat array
is the matrices' values one behind another.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from flwr.app import ConfigRecord

from .terms import MAX_RANK, Terms

MAX_TENSORS = 20_000
MAX_SIDE = 1 << 20
MAX_VALUES = 1 << 28
MAX_EXAMPLES = 1_000_000

_NAME = re.compile(r"([A-Za-z0-9_]{1,64}(?:\.[A-Za-z0-9_]{1,64}){0,15})\.lora_([AB])\.weight")


class LayoutError(ValueError):
    """A layout that is malformed or does not fit; the text names the tensor."""

    code = "bad-layout"


@dataclass(frozen=True)
class Entry:
    """One matrix, [rows, cols]."""

    name: str
    rows: int
    cols: int

    @property
    def module(self) -> str:
        return self.name.rsplit(".lora_", 1)[0]

    @property
    def shape(self) -> tuple[int, int]:
        return (self.rows, self.cols)

    @property
    def is_a(self) -> bool:
        return self.name.endswith(".lora_A.weight")

    @property
    def size(self) -> int:
        return self.rows * self.cols

    @property
    def rank(self) -> int:
        return self.rows if self.is_a else self.cols

    def without_rank(self) -> tuple[str, int]:
        """What clients of different ranks have in common."""
        return (self.name, self.cols if self.is_a else self.rows)


@dataclass(frozen=True)
class Layout:
    """What learns and what stays as it came."""

    entries: tuple[Entry, ...]
    frozen: tuple[Entry, ...]

    @property
    def size(self) -> int:
        return sum(entry.size for entry in self.entries)

    @property
    def frozen_size(self) -> int:
        return sum(entry.size for entry in self.frozen)

    @property
    def rank(self) -> int:
        """The rank, which all modules have in common."""
        return self.entries[0].rank

    @property
    def modules(self) -> dict[str, tuple[int, int]]:
        """The rows of B and the columns of A of each module, where both learn."""
        heights = {entry.module: entry.rows for entry in self.entries if not entry.is_a}
        return {entry.module: (heights[entry.module], entry.cols) for entry in self.entries if entry.is_a}

    def with_rank(self, rank: int) -> "Layout":
        """The same matrices with another rank."""
        entries = (
            Entry(entry.name, rank, entry.cols) if entry.is_a else Entry(entry.name, entry.rows, rank)
            for entry in self.entries
        )
        return Layout(tuple(entries), self.frozen)

    def without_ranks(self) -> tuple[tuple[str, int], ...]:
        return tuple(entry.without_rank() for entry in self.entries)


def named(entries: Iterable[Entry], flat: np.ndarray) -> dict[str, np.ndarray]:
    """The matrices of a flat array by name, as views of it."""
    matrices, start = {}, 0
    for entry in entries:
        matrices[entry.name] = flat[start : start + entry.size].reshape(entry.rows, entry.cols)
        start += entry.size
    return matrices


def flat(entries: Iterable[Entry], matrices: dict[str, np.ndarray]) -> np.ndarray:
    """The flat float32 array of matrices by name. Raises LayoutError where one is missing or of another
    shape.
    """
    parts = []
    for entry in entries:
        matrix = matrices.get(entry.name)
        if matrix is None:
            raise LayoutError(f"tensor {entry.name} is missing")
        if matrix.shape != entry.shape:
            raise LayoutError(f"tensor {entry.name} has the shape {matrix.shape} instead of {entry.shape}")
        parts.append(np.asarray(matrix, dtype=np.float32).reshape(-1))
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.float32)


def _entries(record: ConfigRecord, prefix: str) -> tuple[Entry, ...]:
    columns = [record.get(f"{prefix}{name}", []) for name in ("names", "rows", "cols")]
    if not all(isinstance(column, list) and len(column) <= MAX_TENSORS for column in columns):
        raise LayoutError(
            f"{prefix}names, {prefix}rows and {prefix}cols must be lists of at most {MAX_TENSORS}"
        )
    names, rows, cols = columns
    if not len(names) == len(rows) == len(cols):
        raise LayoutError(f"{prefix}names, {prefix}rows and {prefix}cols are not of one length")
    entries = []
    for name, height, width in zip(names, rows, cols):
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise LayoutError(f"{str(name)[:120]!r} is no name of a matrix of LoRA")
        if not all(type(side) is int and 0 < side <= MAX_SIDE for side in (height, width)):
            raise LayoutError(f"tensor {name} cannot have the shape {(height, width)}")
        entries.append(Entry(name, height, width))
    return tuple(entries)


def _check_module(path: str, matrices: list[Entry], terms: Terms) -> None:
    if sorted(entry.is_a for entry in matrices) != [False, True]:
        raise LayoutError(f"module {path} must have one lora_A and one lora_B")
    if not terms.lora.targets(path):
        raise LayoutError(f"module {path} is none of lora.target_modules of the terms")
    ranks = [entry.rank for entry in matrices]
    if ranks[0] != ranks[1] or ranks[0] > MAX_RANK:
        raise LayoutError(f"module {path} cannot have the ranks {ranks[0]} and {ranks[1]}")
    if terms.aggregation != "flexlora" and ranks[0] != terms.lora.r:
        raise LayoutError(f"tensor {matrices[0].name} has rank {ranks[0]} instead of {terms.lora.r}")


def check_layout(layout: Layout, terms: Terms) -> None:
    """Holds a layout to the terms. Raises LayoutError."""
    if not layout.entries:
        raise LayoutError("nothing learns: the list of names is empty")
    if layout.size + layout.frozen_size > MAX_VALUES:
        raise LayoutError(f"it has {layout.size + layout.frozen_size} values; {MAX_VALUES} are the most")
    for entry in layout.entries:
        if terms.lora.freeze_a and entry.is_a:
            raise LayoutError(f"tensor {entry.name} must be frozen: the terms have lora.freeze_a")
    for entry in layout.frozen:
        if not terms.lora.freeze_a or not entry.is_a:
            raise LayoutError(f"tensor {entry.name} must learn: the terms do not freeze it")
    modules: dict[str, list[Entry]] = {}
    for entry in layout.entries + layout.frozen:
        modules.setdefault(entry.module, []).append(entry)
    for path, matrices in modules.items():
        _check_module(path, matrices, terms)
    if len({entry.rank for entry in layout.entries}) > 1:
        raise LayoutError("its modules have different ranks; the terms have one")


def read_layout(record: ConfigRecord, terms: Terms) -> tuple[Layout, int]:
    """A node's answer to `query.layout`: the layout and its number of rows. Raises LayoutError."""
    layout = Layout(_entries(record, ""), _entries(record, "frozen_"))
    check_layout(layout, terms)
    examples = record.get("num-examples")
    if type(examples) is not int or not 0 < examples <= MAX_EXAMPLES:
        raise LayoutError(
            f"num-examples must be a whole number from 1 to {MAX_EXAMPLES}, not {str(examples)[:40]}"
        )
    return layout, examples


def layout_record(layout: Layout, examples: int) -> ConfigRecord:
    """What a client answers to `query.layout`."""
    columns: dict[str, list[str] | list[int] | int] = {"num-examples": examples}
    for prefix, entries in (("", layout.entries), ("frozen_", layout.frozen)):
        columns[f"{prefix}names"] = [entry.name for entry in entries]
        columns[f"{prefix}rows"] = [entry.rows for entry in entries]
        columns[f"{prefix}cols"] = [entry.cols for entry in entries]
    return ConfigRecord(columns)


def difference(expected: Layout, other: Layout, any_rank: bool) -> str | None:
    """In words, the first tensor in which a layout differs from what is expected; None where it fits."""
    for mine, theirs in ((expected.entries, other.entries), (expected.frozen, other.frozen)):
        for index in range(max(len(mine), len(theirs))):
            if index >= len(theirs):
                return f"tensor {mine[index].name} is missing"
            if index >= len(mine):
                return f"tensor {theirs[index].name} is in no other layout"
            left, right = mine[index], theirs[index]
            if left.name != right.name:
                return f"tensor {index + 1} is {right.name} instead of {left.name}"
            if any_rank and left.without_rank() == right.without_rank():
                continue
            if left != right:
                return f"tensor {left.name} has the shape {right.shape} instead of {left.shape}"
    return None


def most_common(layouts: Iterable[Layout], any_rank: bool) -> tuple[Layout, int]:
    """The layout on which most agree, and how many do; one client that lies about its own cannot lock the
    others out.
    """
    layouts = list(layouts)
    keys = [layout.without_ranks() if any_rank else layout for layout in layouts]
    key, count = Counter(keys).most_common(1)[0]
    return layouts[keys.index(key)], count


def first_values(layout: Layout, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The values a federation begins with, float32 [size] and [frozen size]: A by PEFT's
    kaiming_uniform_(a=sqrt(5)), which is U(-1/sqrt(in), 1/sqrt(in)), and B zero, so that the adapter
    changes nothing.
    """
    random = np.random.Generator(np.random.PCG64(seed))
    matrices = {}
    for entry in layout.frozen + layout.entries:
        zeros = np.zeros(entry.shape, dtype=np.float32)
        matrices[entry.name] = first_a(random, *entry.shape) if entry.is_a else zeros
    return flat(layout.entries, matrices), flat(layout.frozen, matrices)


def first_a(random: np.random.Generator, rank: int, width: int) -> np.ndarray:
    """Kaiming's first values of an A, float32 [rank, width]."""
    bound = 1 / np.sqrt(width)
    return random.uniform(-bound, bound, (rank, width)).astype(np.float32)
