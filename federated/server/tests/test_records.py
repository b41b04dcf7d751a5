import io
import unittest
import warnings

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict

from support import terms
from tabtune_federated.privacy.codec import encode_delta
from tabtune_federated.records import (
    BadReply,
    array_of,
    read_array,
    read_evaluate_reply,
    read_masked_train_reply,
    read_train_reply,
)

METRICS = {"num-examples": 3, "train_loss": 0.5, "steps": 5}


def reply(arrays: dict[str, Array], metrics: dict[str, object]) -> RecordDict:
    return RecordDict({"arrays": ArrayRecord(arrays), "metrics": MetricRecord(metrics)})


class RecordsTest(unittest.TestCase):
    def test_a_delta_of_each_kind(self) -> None:
        delta = np.linspace(-0.1, 0.1, 300, dtype=np.float32)
        for dtype, most in (("f32", 0), ("f16", 1e-4), ("nf4", 0.02)):
            with self.subTest(dtype):
                arrays, _ = encode_delta(delta, dtype)
                content = reply({name: Array(array) for name, array in arrays.items()}, METRICS)
                got = read_train_reply(content, terms(delta_dtype=dtype), 300)
                self.assertEqual((got.examples, got.loss, got.steps), (3, 0.5, 5))
                self.assertLessEqual(np.abs(got.delta - delta).max(), most)

    def test_a_whole_double_is_a_count(self) -> None:
        content = reply({"delta": Array(np.zeros(4, dtype=np.float32))}, METRICS | {"num-examples": 3.0})
        self.assertEqual(read_train_reply(content, terms(), 4).examples, 3)

    def test_bad_replies_are_refused(self) -> None:
        good = Array(np.zeros(4, dtype=np.float32))
        cases = [
            (reply({"delta": Array(np.zeros(5, dtype=np.float32))}, METRICS), "instead of float32 [4]"),
            (reply({"delta": Array(np.zeros(4))}, METRICS), "float64 [4] instead of"),
            (reply({"delta": Array(np.zeros((2, 2), dtype=np.float32))}, METRICS), "[2, 2] instead of"),
            (reply({"delta": Array(np.full(4, np.nan, dtype=np.float32))}, METRICS), "not finite"),
            (reply({"delta": good, "more": good}, METRICS), "the arrays ['delta', 'more']"),
            (reply({}, METRICS), "the arrays []"),
            (reply({"delta": good}, METRICS | {"num-examples": 0}), "num-examples is 0"),
            (reply({"delta": good}, METRICS | {"num-examples": 10**9}), "num-examples"),
            (reply({"delta": good}, METRICS | {"num-examples": 1.5}), "num-examples"),
            (reply({"delta": good}, METRICS | {"num-examples": [3]}), "num-examples"),
            (reply({"delta": good}, METRICS | {"train_loss": float("nan")}), "train_loss"),
            (reply({"delta": good}, METRICS | {"train_loss": 1e30}), "train_loss"),
            (reply({"delta": good}, {"num-examples": 3}), "train_loss is None"),
            (RecordDict({"metrics": MetricRecord(METRICS)}), "it has the records ['metrics']"),
            (RecordDict({"arrays": ConfigRecord(), "metrics": MetricRecord(METRICS)}), "other kinds"),
        ]
        for content, text in cases:
            with self.subTest(text), self.assertRaises(BadReply) as raised:
                read_train_reply(content, terms(), 4)
            self.assertIn(text, str(raised.exception))

    def test_a_header_that_claims_too_much_allocates_nothing(self) -> None:
        stream = io.BytesIO()
        header = {"descr": "<f4", "fortran_order": False, "shape": (1 << 50,)}
        np.lib.format.write_array_header_1_0(stream, header)
        for data in (
            stream.getvalue(),
            b"",
            b"\x93NUMPY\x01\x00\xff\xff{",
            b"\x93NUMPY\x02\x00" + bytes(50),
            bytes(9),
        ):
            with self.subTest(data[:12]):
                array = Array(dtype="float32", shape=(4,), stype="numpy.ndarray", data=data)
                self.assertRaises(BadReply, read_array, array, np.float32, 4)
        short = Array(np.zeros(4, dtype=np.float32)).data[:-1]
        for data in (short, short + bytes(2)):
            array = Array(dtype="float32", shape=(4,), stype="numpy.ndarray", data=data)
            self.assertRaisesRegex(BadReply, "bytes", read_array, array, np.float32, 4)
        pickled = Array(dtype="object", shape=(), stype="pickle", data=b"")
        self.assertRaisesRegex(BadReply, "pickle", read_array, pickled, np.float32, 4)

    def test_seeded_mutations_of_an_array_are_refused_or_as_long(self) -> None:
        random = np.random.default_rng(7)
        data = bytearray(Array(np.arange(4, dtype=np.float32)).data)
        # What NumPy parses as Python may have escapes that Python warns of.
        warnings.simplefilter("ignore")
        self.addCleanup(warnings.resetwarnings)
        for _ in range(2000):
            mutated = bytearray(data)
            for _ in range(random.integers(1, 4)):
                mutated[random.integers(len(mutated))] = random.integers(256)
            array = Array(dtype="float32", shape=(4,), stype="numpy.ndarray", data=bytes(mutated))
            try:
                self.assertEqual(read_array(array, np.float32, 4).shape, (4,))
            except BadReply:
                continue

    def test_other_replies(self) -> None:
        self.assertEqual(read_masked_train_reply(RecordDict({"metrics": MetricRecord({"steps": 5})})), 5)
        self.assertRaises(
            BadReply, read_masked_train_reply, reply({"delta": array_of(np.zeros(1))}, {"steps": 5})
        )
        none = read_evaluate_reply(
            RecordDict({"metrics": MetricRecord({"num-examples": 0, "eval_loss": 0.0})})
        )
        self.assertEqual(none.examples, 0)
        bad = RecordDict({"metrics": MetricRecord({"num-examples": 2, "eval_loss": float("inf")})})
        self.assertRaises(BadReply, read_evaluate_reply, bad)
