import json
import tempfile
import unittest
from pathlib import Path

import numpy as np

from support import layout
from tabtune_federated.options import OptionError, read_options
from tabtune_federated.state import HISTORY, STATE, State, StateError, has_state, load_state, save_state


class StateTest(unittest.TestCase):
    def setUp(self) -> None:
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = Path(temporary.name)
        arrays = {"values": np.arange(5, dtype=np.float32)}
        self.state = State("digest", layout(freeze_a=True), 42, 2, 3, [{"round": 1}], arrays)

    def test_it_is_read_as_it_was_written(self) -> None:
        self.assertFalse(has_state(self.folder))
        save_state(self.folder, self.state)
        again = load_state(self.folder, "digest")
        self.assertTrue(np.array_equal(again.arrays.pop("values"), self.state.arrays["values"]))
        self.assertEqual(again, State("digest", layout(freeze_a=True), 42, 2, 3, [{"round": 1}], {}))
        history = json.loads((self.folder / HISTORY).read_text())
        self.assertEqual(history, {"version": 1, "rounds": [{"round": 1}]})

    def test_what_is_left_of_a_write_that_was_cut_off_is_not_read(self) -> None:
        save_state(self.folder, self.state)
        (self.folder / f"{STATE}.new").write_bytes(b"half")
        self.assertEqual(load_state(self.folder, "digest").round_number, 2)

    def test_a_state_of_other_terms_is_refused(self) -> None:
        save_state(self.folder, self.state)
        self.assertRaisesRegex(StateError, "other terms", load_state, self.folder, "another")

    def test_a_damaged_state_is_refused(self) -> None:
        save_state(self.folder, self.state)
        whole = (self.folder / STATE).read_bytes()
        for damaged in (b"", whole[:100], whole[: len(whole) // 2], b"{}"):
            (self.folder / STATE).write_bytes(damaged)
            self.assertRaisesRegex(StateError, "is damaged", load_state, self.folder, "digest")
        np.savez(self.folder / STATE, values=np.zeros(1))
        self.assertRaisesRegex(StateError, "is damaged", load_state, self.folder, "digest")


class OptionsTest(unittest.TestCase):
    def test_options(self) -> None:
        config = {"terms": "/a/federation.json", "out": "/a/out", "init": "", "resume": True}
        got = read_options(config)
        self.assertEqual(
            (got.terms, got.out, got.init, got.resume),
            (Path("/a/federation.json"), Path("/a/out"), None, True),
        )
        cases = [
            ({"terms": ""}, "terms is missing"),
            ({"out": "out"}, "out must be an absolute path"),
            ({"init": 3}, "init must be a path"),
            ({"resume": "yes"}, "resume must be true or false"),
        ]
        for change, text in cases:
            self.assertRaisesRegex(OptionError, text, read_options, config | change)
