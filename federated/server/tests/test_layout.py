import json
import tempfile
import unittest
from pathlib import Path

import numpy as np
from flwr.app import ConfigRecord
from safetensors.numpy import load_file, save_file

from support import layout, terms
from tabtune_federated.adapter_files import CONFIG, PREFIX, WEIGHTS, read_adapter, write_adapter
from tabtune_federated.layout import (
    Entry,
    Layout,
    LayoutError,
    difference,
    first_values,
    flat,
    layout_record,
    most_common,
    named,
    read_layout,
)

FROZEN = {"r": 2, "lora_alpha": 4, "target_modules": ["q_proj", "v_proj"], "freeze_a": True}
Q_A = "model.layers.0.self_attn.q_proj.lora_A.weight"
Q_B = "model.layers.0.self_attn.q_proj.lora_B.weight"


class LayoutTest(unittest.TestCase):
    def test_an_answer_is_read_as_it_was_written(self) -> None:
        for freeze_a, given in ((False, terms()), (True, terms(lora=FROZEN))):
            with self.subTest(freeze_a):
                mine = layout(freeze_a=freeze_a)
                self.assertEqual(read_layout(layout_record(mine, 7), given), (mine, 7))

    def test_refusals_name_the_tensor(self) -> None:
        good = dict(layout_record(layout(), 7))
        names, rows = list(good["names"]), list(good["rows"])
        cases = [
            ({"names": 3}, "must be lists"),
            ({"names": []}, "not of one length"),
            ({"names": [], "rows": [], "cols": []}, "nothing learns"),
            ({"names": ["../x", *names[1:]]}, "'../x' is no name"),
            ({"names": [names[1], *names[1:]]}, "must have one lora_A and one lora_B"),
            ({"rows": [0, *rows[1:]]}, f"{Q_A} cannot have the shape (0, 10)"),
            ({"rows": [1 << 40, *rows[1:]]}, f"{Q_A} cannot have the shape"),
            ({"rows": [3, *rows[1:]]}, "the ranks 3 and 2"),
            ({"rows": [3, 6, 3, 4], "cols": [10, 3, 10, 3]}, "rank 3 instead of 2"),
            ({"rows": [2, 1 << 20, 2, 1 << 20], "cols": [1 << 20, 2, 1 << 20, 2]}, None),
            ({"rows": [1 << 20] * 4, "cols": [1 << 20] * 4}, "are the most"),
            (
                {"names": [name.replace("v_proj", "o_proj") for name in names]},
                "o_proj is none of lora.target_modules",
            ),
            ({"frozen_names": [Q_A], "frozen_rows": [2], "frozen_cols": [10]}, "must learn"),
            ({"num-examples": 0}, "num-examples"),
            ({"num-examples": 1.5}, "num-examples"),
        ]
        for change, text in cases:
            with self.subTest(change):
                record = ConfigRecord(good | change)
                if text is None:
                    read_layout(record, terms())
                    continue
                with self.assertRaises(LayoutError) as raised:
                    read_layout(record, terms())
                self.assertIn(text, str(raised.exception))

    def test_what_learns_must_be_what_the_terms_say(self) -> None:
        self.assertRaisesRegex(
            LayoutError, "must be frozen", read_layout, layout_record(layout(), 1), terms(lora=FROZEN)
        )
        frozen = layout_record(layout(freeze_a=True), 1)
        self.assertRaisesRegex(LayoutError, "must learn", read_layout, frozen, terms())

    def test_a_difference_is_told_by_its_tensor(self) -> None:
        mine = layout()
        self.assertIsNone(difference(mine, layout(), False))
        self.assertIsNone(difference(mine, layout(rank=3), True))
        self.assertIn(f"{Q_A} has the shape (3, 10)", str(difference(mine, layout(rank=3), False)))
        self.assertIn("is missing", str(difference(mine, Layout(mine.entries[:2], ()), False)))
        self.assertIn("is in no other layout", str(difference(Layout(mine.entries[:2], ()), mine, False)))
        turned = Layout((mine.entries[1], mine.entries[0], *mine.entries[2:]), ())
        self.assertIn(f"tensor 1 is {Q_B} instead of {Q_A}", str(difference(mine, turned, False)))
        wider = Layout((Entry(Q_A, 2, 11), *mine.entries[1:]), ())
        self.assertIn("(2, 11)", str(difference(mine, wider, True)))

    def test_the_most_common_layout_is_not_the_first(self) -> None:
        wider = Layout((Entry(Q_A, 2, 11), *layout().entries[1:]), ())
        self.assertEqual(most_common([wider, layout(), layout()], False), (layout(), 2))
        self.assertEqual(most_common([layout(3), layout(2), wider], True), (layout(3), 2))

    def test_first_values(self) -> None:
        for freeze_a in (False, True):
            mine = layout(freeze_a=freeze_a)
            values, frozen = first_values(mine, 42)
            matrices = named(mine.entries, values) | named(mine.frozen, frozen)
            self.assertEqual(len(matrices), 4)
            for name, matrix in matrices.items():
                if "lora_B" in name:
                    self.assertFalse(matrix.any())
                else:
                    self.assertLessEqual(np.abs(matrix).max(), 1 / np.sqrt(10))
                    self.assertGreater(np.abs(matrix).max(), 0.5 / np.sqrt(10))
            again, _ = first_values(mine, 42)
            self.assertEqual(values.tobytes(), again.tobytes())

    def test_flat_and_named_are_inverse(self) -> None:
        mine = layout()
        values = np.arange(mine.size, dtype=np.float32)
        matrices = named(mine.entries, values)
        self.assertEqual(matrices[Q_A][1, 0], 10)
        self.assertTrue(np.array_equal(flat(mine.entries, matrices), values))
        self.assertRaisesRegex(LayoutError, f"{Q_B} is missing", flat, mine.entries, {Q_A: matrices[Q_A]})
        turned = matrices | {Q_A: matrices[Q_A].T}
        self.assertRaisesRegex(LayoutError, "instead of", flat, mine.entries, turned)


class AdapterFilesTest(unittest.TestCase):
    def test_a_folder_is_read_as_it_was_written(self) -> None:
        mine = layout(freeze_a=True)
        values = np.arange(mine.size, dtype=np.float32)
        frozen = -np.arange(mine.frozen_size, dtype=np.float32)
        given = terms(lora=FROZEN)
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name) / "out"
            write_adapter(folder, given, named(mine.entries, values) | named(mine.frozen, frozen))
            self.assertEqual(sorted(path.name for path in folder.iterdir()), [CONFIG, WEIGHTS])
            self.assertIn(PREFIX + Q_A, load_file(folder / WEIGHTS))
            again, again_frozen = read_adapter(folder, mine, given)
        self.assertTrue(np.array_equal(again, values) and np.array_equal(again_frozen, frozen))

    def test_refusals_name_the_file(self) -> None:
        mine, given = layout(), terms()
        values, _ = first_values(mine, 1)
        matrices = {PREFIX + name: matrix for name, matrix in named(mine.entries, values).items()}
        bad = matrices | {PREFIX + Q_B: np.full((6, 2), np.nan, dtype=np.float32)}
        cases = [
            ({"r": 3}, matrices, "r is 3, but the terms have 2"),
            ({"use_dora": True}, matrices, "use_dora"),
            ({}, bad, f"{Q_B} has values that are not finite"),
            ({}, matrices | {"other": np.zeros(1, dtype=np.float32)}, "other is in no layout"),
            ({}, {PREFIX + Q_B: matrices[PREFIX + Q_B]}, "is missing"),
        ]
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            self.assertRaisesRegex(LayoutError, "no PEFT adapter", read_adapter, folder, mine, given)
            for change, tensors, text in cases:
                with self.subTest(text):
                    (folder / CONFIG).write_text(json.dumps({"r": 2, "lora_alpha": 4} | change))
                    save_file(tensors, folder / WEIGHTS)
                    self.assertRaisesRegex(LayoutError, text, read_adapter, folder, mine, given)
            (folder / WEIGHTS).write_bytes(b"\xff" * 100)
            self.assertRaisesRegex(LayoutError, "no PEFT adapter", read_adapter, folder, mine, given)
