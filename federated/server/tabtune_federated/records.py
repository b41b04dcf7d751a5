"""What messages carry, and the checks on all that clients send: nothing of a reply is used before it has
passed them.
"""

import io
import math
from dataclasses import dataclass

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict

from .layout import MAX_EXAMPLES
from .privacy.codec import decode_delta, expected_arrays
from .terms import Terms

MAX_STEPS = 1_000_000


class BadReply(ValueError):
    """A reply that is left out; the text says why."""


@dataclass(frozen=True)
class TrainReply:
    """A client's delta, float32 [n], and what it tells of its steps."""

    delta: np.ndarray
    examples: int
    loss: float
    steps: int


@dataclass(frozen=True)
class EvaluateReply:
    """A client's mean loss over the rows that it holds out; it has none where `examples` is 0."""

    examples: int
    loss: float


def array_of(values: np.ndarray) -> Array:
    """The Flower array of a flat array. One object may go into the messages to many nodes: its id is
    computed once.
    """
    return Array(np.ascontiguousarray(values))


def values_record(array: Array) -> ArrayRecord:
    return ArrayRecord({"adapter": array})


def round_config(terms: Terms, round_number: int) -> ConfigRecord:
    """The ConfigRecord "config" of `train` and `evaluate`."""
    config = {
        "server-round": round_number,
        "rounds": terms.rounds,
        "learning-rate": float(terms.train["learning_rate"]),
    }
    # Of epochs each client knows by itself how many steps they are.
    if "max_steps" in terms.train:
        config["local-steps"] = terms.train["max_steps"]
    return ConfigRecord(config)


def read_array(array: Array, dtype: type[np.generic], length: int) -> np.ndarray:
    """A flat array of a known type and length.

    Its header is read before its values, because NumPy allocates what a header claims. Raises BadReply.
    """
    if array.stype != "numpy.ndarray":
        raise BadReply(f"its arrays are {array.stype[:40]!r} instead of numpy.ndarray")
    stream = io.BytesIO(array.data)
    try:
        version = np.lib.format.read_magic(stream)
        if version != (1, 0):
            raise ValueError(f"version {version} of .npy")
        shape, fortran, found = np.lib.format.read_array_header_1_0(stream)
    except Exception as error:  # NumPy parses a header as Python, which fails in many ways.
        raise BadReply(f"an array has no valid .npy header: {str(error)[:120]}") from error
    if shape != (length,) or found != np.dtype(dtype) or fortran:
        raise BadReply(f"an array is {found} {list(shape)} instead of {np.dtype(dtype)} {[length]}")
    if len(array.data) - stream.tell() != length * found.itemsize:
        raise BadReply(f"an array of {length} {found} has {len(array.data) - stream.tell()} bytes")
    return np.frombuffer(array.data, dtype=found, offset=stream.tell())


def _only(content: RecordDict, arrays: bool) -> tuple[ArrayRecord | None, MetricRecord]:
    """The records "arrays" (where it is wanted) and "metrics", and that there is nothing else."""
    wanted = {"arrays", "metrics"} if arrays else {"metrics"}
    if set(content) != wanted:
        raise BadReply(f"it has the records {sorted(map(str, content))[:8]} instead of {sorted(wanted)}")
    record, metrics = content.get("arrays"), content["metrics"]
    if not isinstance(metrics, MetricRecord) or arrays and not isinstance(record, ArrayRecord):
        raise BadReply("its records are of other kinds than they should be")
    return record, metrics


def _count(metrics: MetricRecord, name: str, least: int, most: int) -> int:
    value = metrics.get(name)
    # JavaScript has one kind of number, so a whole double counts as what it says.
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if type(value) is not int or not least <= value <= most:
        raise BadReply(f"{name} is {str(value)[:40]} instead of a whole number from {least} to {most}")
    return value


def _loss(metrics: MetricRecord, name: str) -> float:
    value = metrics.get(name)
    if isinstance(value, list) or value is None or not math.isfinite(value) or abs(value) > 1e6:
        raise BadReply(f"{name} is {str(value)[:40]} instead of a loss")
    return float(value)


def read_train_reply(content: RecordDict, terms: Terms, length: int) -> TrainReply:
    """The reply to `train` without masks, for a layout of so many values. Raises BadReply."""
    record, metrics = _only(content, arrays=True)
    kinds = expected_arrays(terms.delta_dtype, length)
    if set(record) != set(kinds):
        raise BadReply(f"it has the arrays {sorted(map(str, record))[:8]} instead of {sorted(kinds)}")
    arrays = {name: read_array(record[name], *kind) for name, kind in kinds.items()}
    try:
        delta = decode_delta(arrays, terms.delta_dtype, length)
    except ValueError as error:
        raise BadReply(str(error)[:200]) from error
    return TrainReply(
        delta=delta,
        examples=_count(metrics, "num-examples", 1, MAX_EXAMPLES),
        loss=_loss(metrics, "train_loss"),
        steps=_count(metrics, "steps", 1, MAX_STEPS),
    )


def read_masked_train_reply(content: RecordDict) -> int:
    """The number of steps of a client that keeps its delta for the masks' messages. Raises BadReply."""
    _, metrics = _only(content, arrays=False)
    return _count(metrics, "steps", 1, MAX_STEPS)


def read_evaluate_reply(content: RecordDict) -> EvaluateReply:
    """The reply to `evaluate`. Raises BadReply."""
    _, metrics = _only(content, arrays=False)
    examples = _count(metrics, "num-examples", 0, MAX_EXAMPLES)
    return EvaluateReply(examples=examples, loss=_loss(metrics, "eval_loss") if examples else 0.0)


def array_bytes(content: RecordDict) -> int:
    """The bytes of all arrays in a message, without what Flower wraps them in."""
    return sum(len(array.data) for record in content.array_records.values() for array in record.values())
