"""The loop of rounds over a grid without a network, with clients that train in a known way."""

import json
import logging
import tempfile
import unittest
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from flwr.supercore.primitives.asymmetric import generate_key_pairs, public_key_to_bytes
from flwr.supercore.task_identity import TaskIdentity
from safetensors.numpy import load_file

from fake_grid import FakeGrid
from plain import Adam, averaged, flexlora
from support import PulledTrainer, layout, terms, write_terms
from tabtune_federated import rounds, server_app
from tabtune_federated.adapter_files import PREFIX, WEIGHTS
from tabtune_federated.layout import first_values, flat
from tabtune_federated.participant import Participant
from tabtune_federated.records import array_bytes
from tabtune_federated.state import StateError, load_state

FREEZE_A = {"r": 2, "lora_alpha": 4, "target_modules": ["q_proj", "v_proj"], "freeze_a": True}
EXAMPLES = [10, 20, 70]


def silent(message: Message) -> None:
    return None


class RoundsTest(unittest.TestCase):
    def setUp(self) -> None:
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = Path(temporary.name)
        TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, 1, 1
        for change in (
            mock.patch.object(rounds, "REPEAT_PAUSE_SECONDS", 0),
            mock.patch("tabtune_federated.roster.PAUSE", 0.01),
            mock.patch("tabtune_federated.roster.SETTLE_SECONDS", 0.1),
            mock.patch("tabtune_federated.exchange.FIRST_PAUSE", 0.01),
        ):
            change.start()
            self.addCleanup(change.stop)
        logger = logging.getLogger("flwr")
        level = logger.level
        logger.setLevel(logging.CRITICAL)
        self.addCleanup(logger.setLevel, level)

    def clients(
        self, ranks: tuple[int, int, int] = (2, 2, 2), **changes: Any
    ) -> tuple[list[PulledTrainer], FakeGrid]:
        """Three clients of 10, 20 and 70 rows under these terms."""
        given = terms(**changes)
        trainers = [
            PulledTrainer(layout(rank, given.lora.freeze_a), examples, seed)
            for seed, (rank, examples) in enumerate(zip(ranks, EXAMPLES))
        ]
        keys = [generate_key_pairs()[0] for _ in trainers]
        answers = [Participant(given, trainer, key).answer for trainer, key in zip(trainers, keys)]
        grid = FakeGrid(dict(enumerate(answers, 100)))
        grid.keys = {node: public_key_to_bytes(key.public_key()) for node, key in enumerate(keys, 100)}
        return trainers, grid

    def run_app(self, grid: FakeGrid, config: dict[str, Any] | None = None, **changes: Any) -> None:
        run_config = {
            "terms": write_terms(self.folder, **changes),
            "out": str(self.folder / "out"),
            **(config or {}),
        }
        server_app.main(grid, SimpleNamespace(run_config=run_config))

    def matrices(self) -> dict[str, np.ndarray]:
        tensors = load_file(self.folder / "out" / WEIGHTS)
        return {name.removeprefix(PREFIX): tensor for name, tensor in tensors.items()}

    def result(self, trainers: list[PulledTrainer]) -> np.ndarray:
        return flat(trainers[0].layout.entries, self.matrices())

    def history(self) -> list[dict[str, Any]]:
        return json.loads((self.folder / "out" / "history.json").read_text())["rounds"]

    def test_fedavg(self) -> None:
        trainers, grid = self.clients(min_clients=3)
        self.run_app(grid, min_clients=3)
        self.assertLess(np.abs(self.result(trainers) - averaged(trainers, 3)).max(), 1e-6)
        history = self.history()
        self.assertEqual([entry["round"] for entry in history], [0, 1, 2, 3])
        losses = [entry["eval_loss"] for entry in history]
        self.assertEqual(losses, sorted(losses, reverse=True))
        self.assertEqual([entry["train_loss"] for entry in history[1:]], losses[:-1])
        self.assertEqual({client["examples"] for client in history[1]["clients"]}, set(EXAMPLES))
        sent = [message for message in grid.sent if message.metadata.message_type == "train"]
        self.assertEqual(history[1]["bytes_down"], sum(array_bytes(message.content) for message in sent[:3]))

    def test_ffa_lora_sends_the_same_a_each_round(self) -> None:
        trainers, grid = self.clients(min_clients=3, lora=FREEZE_A)
        self.run_app(grid, min_clients=3, lora=FREEZE_A)
        _, frozen = first_values(trainers[0].layout, 42)
        for trainer in trainers:
            self.assertEqual(trainer.frozen, [frozen.tobytes()] * 3)
        ids = {
            message.content["frozen"]["adapter"].object_id
            for message in grid.sent
            if "frozen" in message.content
        }
        self.assertEqual(len(ids), 1)
        self.assertLess(np.abs(self.result(trainers) - averaged(trainers, 3)).max(), 1e-6)
        self.assertEqual(flat(trainers[0].layout.frozen, self.matrices()).tobytes(), frozen.tobytes())

    def test_fedadam(self) -> None:
        changes = {"min_clients": 3, "aggregation": "fedadam", "evaluate": False}
        trainers, grid = self.clients(**changes)
        self.run_app(grid, **changes)
        self.assertLess(np.abs(self.result(trainers) - averaged(trainers, 3, Adam())).max(), 1e-6)

    def test_flexlora_ends_with_the_nearest_of_the_rank_in_the_terms(self) -> None:
        changes = {"min_clients": 3, "aggregation": "flexlora"}
        trainers, grid = self.clients(ranks=(1, 2, 3), **changes)
        self.run_app(grid, **changes)
        got = self.matrices()
        for module, matrix in flexlora(trainers, 3).items():
            u, sigma, v = np.linalg.svd(matrix)
            product = 2 * got[f"{module}.lora_B.weight"] @ got[f"{module}.lora_A.weight"]
            self.assertLess(np.abs(product - (u[:, :2] * sigma[:2]) @ v[:2]).max(), 1e-6)

    def test_masked_rounds_are_fedavg(self) -> None:
        changes = {"min_clients": 3, "privacy": {"mask": True}}
        trainers, grid = self.clients(**changes)
        self.run_app(grid, **changes)
        self.assertLess(np.abs(self.result(trainers) - averaged(trainers, 3)).max(), 1e-6)
        for entry in self.history()[1:]:
            self.assertEqual([set(client) for client in entry["clients"]], [{"node", "steps"}] * 3)

    def test_a_masked_round_goes_on_without_one_that_leaves(self) -> None:
        changes = {
            "min_clients": 3,
            "privacy": {"mask": True},
            "rounds": 1,
            "round_seconds": 0.5,
            "evaluate": False,
        }
        for kind in ("query.keys", "query.shares", "query.masked", "query.unmask"):
            with self.subTest(kind):
                trainers, grid = self.clients(**changes)
                fourth = PulledTrainer(layout(), 1, 9)
                last = Participant(terms(**changes), fourth, generate_key_pairs()[0]).answer
                grid.nodes[103] = self.leaving(last, kind)
                self.run_app(grid, {"out": str(self.folder / kind)}, **changes)
                state = load_state(self.folder / kind, terms(**changes).digest)
                counted = (
                    trainers
                    if kind in ("query.keys", "query.shares", "query.masked")
                    else [*trainers, fourth]
                )
                self.assertLess(np.abs(state.arrays["values"] - averaged(counted, 1)).max(), 1e-6)

    def test_central_noise(self) -> None:
        """Noise of deviation 3 * 0.5 on the sum, so a third of it on the mean of three."""
        privacy = {"clip": 0.5, "noise": "central", "noise_multiplier": 3}
        for mask in (False, True):
            with self.subTest(mask=mask):
                changes = {"min_clients": 3, "rounds": 1, "privacy": privacy | {"mask": mask}}
                trainers, grid = self.clients(**changes)
                out = self.folder / f"out {mask}"
                self.run_app(grid, {"out": str(out)}, **changes)
                state = load_state(out, terms(**changes).digest)
                deltas = [trainer.trained(np.zeros(20, dtype=np.float32)) for trainer in trainers]
                clipped = [delta * min(1, 0.5 / np.linalg.norm(delta)) for delta in deltas]
                noise = state.arrays["values"] - np.mean(clipped, axis=0)
                # Of 20 draws; the bounds are passed by chance once in a million times.
                self.assertTrue(0.5 * 0.25 < noise.std() < 0.5 * 2.1, noise.std())
                self.assertAlmostEqual(state.history[1]["epsilon"], 1.3, delta=0.3)

    def test_a_client_that_does_not_clip_is_clipped(self) -> None:
        privacy = {"clip": 0.01, "noise": "central", "noise_multiplier": 1e-4}
        changes = {"min_clients": 3, "rounds": 1, "privacy": privacy}
        trainers, grid = self.clients(**changes)
        unclipped = terms(lora=FREEZE_A)
        grid.nodes = {node: Participant(unclipped, trainer).answer for node, trainer in enumerate(trainers)}
        self.run_app(grid, **changes)
        self.assertLess(np.linalg.norm(self.result(trainers)), 0.0101)

    def test_local_noise_counts_repeated_rounds(self) -> None:
        privacy = {"clip": 0.5, "noise": "local", "noise_multiplier": 4}
        changes = {"min_clients": 3, "rounds": 1, "privacy": privacy}
        _, grid = self.clients(**changes)
        last = grid.nodes[102]
        grid.nodes[102] = self.failing_once(last)
        self.run_app(grid, **changes)
        state = load_state(self.folder / "out", terms(**changes).digest)
        self.assertEqual((state.round_number, state.releases), (1, 2))

    def leaving(self, answer: Callable[[Message], Message], kind: str) -> Callable[[Message], Message | None]:
        return lambda message: None if message.metadata.message_type == kind else answer(message)

    def failing_once(self, answer: Callable[[Message], Message]) -> Callable[[Message], Message]:
        failures = ["once"]

        def wrapped(message: Message) -> Message:
            if message.metadata.message_type == "train" and failures:
                failures.pop()
                raise RuntimeError("hot")
            return answer(message)

        return wrapped

    def test_a_round_goes_on_with_enough_and_is_repeated_with_fewer(self) -> None:
        trainers, grid = self.clients(rounds=1)
        grid.nodes[102] = self.failing_once(grid.nodes[102])
        self.run_app(grid, rounds=1)
        self.assertLess(np.abs(self.result(trainers) - averaged(trainers[:2], 1)).max(), 1e-6)
        self.assertEqual(self.history()[1]["failed"], [{"node": "102", "why": "tabtune: hot"}])

        changes = {"rounds": 1, "min_clients": 3}
        trainers, grid = self.clients(**changes)
        grid.nodes[102] = self.failing_once(grid.nodes[102])
        self.run_app(grid, {"out": str(self.folder / "again")}, **changes)
        state = load_state(self.folder / "again", terms(**changes).digest)
        self.assertLess(np.abs(state.arrays["values"] - averaged(trainers, 1)).max(), 1e-6)
        self.assertEqual(grid.count("train"), 6)

    def test_what_hostile_clients_send_is_never_averaged(self) -> None:
        size = layout().size
        good = {"num-examples": 1000, "train_loss": 0.1, "steps": 5}
        lies: list[dict[str, Any]] = [
            {},
            {
                "arrays": ArrayRecord({"delta": Array(np.full(size, np.inf, dtype=np.float32))}),
                "metrics": MetricRecord(good),
            },
            {
                "arrays": ArrayRecord({"delta": Array(np.ones(size + 1, dtype=np.float32))}),
                "metrics": MetricRecord(good),
            },
            {
                "arrays": ArrayRecord({"delta": Array(np.ones(size, dtype=np.float32))}),
                "metrics": MetricRecord(good | {"num-examples": -5}),
            },
        ]
        trainers, grid = self.clients(rounds=1)
        honest = grid.nodes[100]
        for index, lie in enumerate(lies):
            grid.nodes[200 + index] = lambda message, lie=lie: (
                Message(RecordDict(lie), reply_to=message)
                if message.metadata.message_type == "train"
                else honest(message)
            )
        grid.nodes[300] = silent
        self.run_app(grid, rounds=1, round_seconds=0.5)
        self.assertLess(np.abs(self.result(trainers) - averaged(trainers, 1)).max(), 1e-6)
        self.assertEqual(
            {entry["node"] for entry in self.history()[1]["failed"]}, {"200", "201", "202", "203"}
        )

    def test_one_of_another_layout_is_left_out(self) -> None:
        trainers, grid = self.clients(rounds=1)
        other = PulledTrainer(layout(), 10, 9)
        other.layout = type(other.layout)(other.layout.entries[:2], ())
        grid.nodes = {1: Participant(terms(), other).answer, **grid.nodes}
        self.run_app(grid, rounds=1)
        self.assertLess(np.abs(self.result(trainers) - averaged(trainers, 1)).max(), 1e-6)
        asked = {
            message.metadata.dst_node_id for message in grid.sent if message.metadata.message_type == "train"
        }
        self.assertEqual(asked, {100, 101, 102})

    def test_only_those_enrolled_are_asked(self) -> None:
        trainers, grid = self.clients(rounds=1)
        changes = {"rounds": 1, "enrolled": [grid.keys[node].decode() for node in (100, 101)]}
        self.run_app(grid, **changes)
        self.assertEqual({message.metadata.dst_node_id for message in grid.sent}, {100, 101})

    def test_it_goes_on_from_its_state(self) -> None:
        changes = {"min_clients": 3, "aggregation": "fedadam"}
        trainers, grid = self.clients(**changes)
        self.run_app(grid, {"out": str(self.folder / "whole")}, **changes)
        expected = load_state(self.folder / "whole", terms(**changes).digest).arrays

        original = rounds.run_round

        def stopping(federation: rounds.Federation) -> bool:
            done = original(federation)
            if federation.state.round_number == 2:
                raise KeyboardInterrupt
            return done

        _, grid = self.clients(**changes)
        with mock.patch.object(rounds, "run_round", stopping), self.assertRaises(KeyboardInterrupt):
            self.run_app(grid, **changes)
        self.assertRaisesRegex(StateError, "resume=true", self.run_app, grid, **changes)
        self.run_app(grid, {"resume": True}, **changes)
        self.assertEqual(grid.count("train"), 9)
        got = load_state(self.folder / "out", terms(**changes).digest).arrays
        self.assertEqual(set(got), set(expected))
        for name, array in expected.items():
            self.assertEqual(array.tobytes(), got[name].tobytes(), name)
        self.assertEqual([entry["round"] for entry in self.history()], [0, 1, 2, 3])

    def test_it_begins_with_an_adapter(self) -> None:
        trainers, grid = self.clients(min_clients=3)
        self.run_app(grid, min_clients=3)
        first = self.folder / "out"
        self.run_app(grid, {"out": str(self.folder / "next"), "init": str(first)}, min_clients=3)
        state = load_state(self.folder / "next", terms(min_clients=3).digest)
        self.assertLess(np.abs(state.arrays["values"] - averaged(trainers, 6)).max(), 1e-6)

    def test_small_deltas_cost_what_they_should(self) -> None:
        for dtype, part in (("f32", 1), ("f16", 0.5), ("nf4", 0.13125)):
            changes = {"rounds": 1, "delta_dtype": dtype, "min_clients": 3}
            trainers, grid = self.clients(**changes)
            self.run_app(grid, {"out": str(self.folder / dtype)}, **changes)
            entry = load_state(self.folder / dtype, terms(**changes).digest).history[1]
            header = 128 * (2 if dtype == "nf4" else 1)
            self.assertLessEqual(entry["bytes_up"], 3 * (4 * trainers[0].layout.size * part + header + 4))
