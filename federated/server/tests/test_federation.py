"""Runs of the app on a real SuperLink, with clients that speak its Fleet API."""

import json
import logging
import tempfile
import threading
import time
import unittest
from pathlib import Path
from typing import Any

import numpy as np
from flwr.supercore.primitives.asymmetric import generate_key_pairs, public_key_to_bytes
from safetensors.numpy import load_file

from superlink import SuperLink
from support import PulledTrainer, layout, terms, write_terms
from tabtune_federated.adapter_files import PREFIX, WEIGHTS
from tabtune_federated.fleet_node import FleetNode
from tabtune_federated.layout import first_values, flat, named
from tabtune_federated.participant import Participant

EXAMPLES = [10, 20, 70]
FREEZE_A = {"r": 2, "lora_alpha": 4, "target_modules": ["q_proj", "v_proj"], "freeze_a": True}
LIMIT_SECONDS = 50


class Clients:
    """Nodes in threads, and the terms of a federation in which they are enrolled."""

    def __init__(self, url: str, ranks: tuple[int, ...] = (2, 2), **changes: Any) -> None:
        keys = [generate_key_pairs()[0] for _ in ranks]
        enrolled = [public_key_to_bytes(key.public_key()).decode() for key in keys]
        self.changes = {"min_clients": len(ranks), "enrolled": enrolled, **changes}
        given = terms(**self.changes)
        self.trainers = [
            PulledTrainer(layout(rank, given.lora.freeze_a), examples, seed)
            for seed, (rank, examples) in enumerate(zip(ranks, EXAMPLES))
        ]
        self._nodes = [FleetNode(url, key, poll_seconds=0.5) for key in keys]
        answers = [Participant(given, trainer, key).answer for trainer, key in zip(self.trainers, keys)]
        self._threads = [
            threading.Thread(target=self._serve, args=pair, daemon=True) for pair in zip(self._nodes, answers)
        ]
        for thread in self._threads:
            thread.start()

    def _serve(self, node: FleetNode, answer: Any) -> None:
        with node:
            node.serve(answer)

    def stop(self) -> None:
        for node in self._nodes:
            node.stop()
        for thread in self._threads:
            thread.join(timeout=20)


def averaged(trainers: list[PulledTrainer], optimise: Any, rounds: int = 3) -> np.ndarray:
    """Rounds of these trainers, plainly: `optimise` applies each mean delta."""
    values, _ = first_values(trainers[0].layout, 42)
    for _ in range(rounds):
        deltas = [(trainer.trained(values) - values).astype(np.float64) for trainer in trainers]
        mean = np.average(deltas, axis=0, weights=EXAMPLES[: len(trainers)])
        values = optimise(values.astype(np.float64), mean).astype(np.float32)
    return values


class PlainAdam:
    def __init__(self) -> None:
        self.m, self.v, self.step = 0.0, 0.0, 0

    def __call__(self, values: np.ndarray, mean: np.ndarray) -> np.ndarray:
        self.step += 1
        self.m, self.v = 0.9 * self.m + 0.1 * mean, 0.99 * self.v + 0.01 * mean**2
        rate = 0.01 * np.sqrt(1 - 0.99 ** (self.step + 1)) / (1 - 0.9 ** (self.step + 1))
        return values + rate * self.m / (np.sqrt(self.v) + 1e-3)


def flexlora(trainers: list[PulledTrainer]) -> dict[str, np.ndarray]:
    """Three rounds of FlexLoRA, plainly: whole products, whole decompositions, and rank 2 of them at the
    end.
    """
    means: dict[str, np.ndarray] = {}
    for round_number in range(3):
        sums: dict[str, np.ndarray] = {}
        for trainer, weight in zip(trainers, EXAMPLES):
            mine = trainer.layout
            scale = 4 / mine.rank
            sent = {}
            random = np.random.Generator(np.random.PCG64(42))
            for module, (height, width) in mine.modules.items():
                a = random.uniform(-1 / np.sqrt(width), 1 / np.sqrt(width), (mine.rank, width))
                b = np.zeros((height, mine.rank))
                if round_number:
                    u, sigma, v = np.linalg.svd(means[module], full_matrices=False)
                    signs = np.sign(v[np.arange(len(v)), np.abs(v).argmax(axis=1)])
                    u, v = u * signs, v * signs[:, None]
                    known = min(mine.rank, int(np.sum(sigma > 1e-9)))
                    b[:, :known] = u[:, :known] * np.sqrt(sigma[:known]) / scale
                    a[:known] = np.sqrt(sigma[:known])[:, None] * v[:known]
                sent[f"{module}.lora_A.weight"], sent[f"{module}.lora_B.weight"] = a, b
            learnt = named(mine.entries, trainer.trained(flat(mine.entries, sent)).astype(np.float64))
            for module in mine.modules:
                product = scale * learnt[f"{module}.lora_B.weight"] @ learnt[f"{module}.lora_A.weight"]
                sums[module] = sums.get(module, 0) + weight / 100 * product
        means = sums
    return means


class FederationTest(unittest.TestCase):
    def setUp(self) -> None:
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = Path(temporary.name)
        logger = logging.getLogger("flwr")
        level = logger.level
        logger.setLevel(logging.CRITICAL)
        self.addCleanup(logger.setLevel, level)
        self.link = SuperLink(self.folder)
        self.addCleanup(self.link.stop)

    def clients(self, name: str, **changes: Any) -> Clients:
        clients = Clients(self.link.url, **changes)
        self.addCleanup(clients.stop)
        (self.folder / name).mkdir()
        write_terms(self.folder / name, **clients.changes)
        return clients

    def begin(self, name: str, resume: bool = False) -> None:
        folder = self.folder / name
        self.link.run(terms=str(folder / "federation.json"), out=str(folder / "out"), resume=resume)

    def wait_for(self, path: Path, least_rounds: int = 0) -> None:
        deadline = time.monotonic() + LIMIT_SECONDS
        while time.monotonic() < deadline:
            if path.exists() and len(json.loads(path.read_text() or "{}").get("rounds", [])) >= least_rounds:
                return
            time.sleep(0.1)
        self.fail(f"{path.name} did not come in {LIMIT_SECONDS} s: {self.link.log.read_text()[-3000:]}")

    def matrices(self, name: str) -> dict[str, np.ndarray]:
        self.wait_for(self.folder / name / "out" / "adapter_config.json")
        tensors = load_file(self.folder / name / "out" / WEIGHTS)
        return {tensor.removeprefix(PREFIX): values for tensor, values in tensors.items()}

    def assert_near(self, name: str, clients: Clients, expected: np.ndarray) -> None:
        got = flat(clients.trainers[0].layout.entries, self.matrices(name))
        self.assertLess(np.abs(got - expected).max(), 1e-6)

    def test_five_federations_at_once(self) -> None:
        """Each asks the nodes that its terms enrol, and none of the others."""
        avg = self.clients("avg")
        ffa = self.clients("ffa", lora=FREEZE_A)
        adam = self.clients("adam", aggregation="fedadam", evaluate=False)
        flex = self.clients("flex", aggregation="flexlora", ranks=(1, 2, 3))
        masked = self.clients("masked", privacy={"mask": True}, rounds=1, evaluate=False, ranks=(2, 2, 2))
        for name in ("masked", "avg", "ffa", "adam", "flex"):
            self.begin(name)
        self.assert_near("avg", avg, averaged(avg.trainers, np.add))
        self.assert_near("masked", masked, averaged(masked.trainers, np.add, rounds=1))
        self.assert_near("ffa", ffa, averaged(ffa.trainers, np.add))
        self.assert_near("adam", adam, averaged(adam.trainers, PlainAdam()))
        _, frozen = first_values(ffa.trainers[0].layout, 42)
        for trainer in ffa.trainers:
            self.assertEqual(trainer.frozen, [frozen.tobytes()] * 3)
        got = self.matrices("flex")
        for module, matrix in flexlora(flex.trainers).items():
            u, sigma, v = np.linalg.svd(matrix)
            product = 2 * got[f"{module}.lora_B.weight"] @ got[f"{module}.lora_A.weight"]
            self.assertLess(np.abs(product - (u[:, :2] * sigma[:2]) @ v[:2]).max(), 1e-6)

    def test_a_node_that_joins_again_stays_the_same(self) -> None:
        with FleetNode(self.link.url, generate_key_pairs()[0]) as node:
            before = node.node_id
            node._join()
            self.assertEqual(node.node_id, before)

    def test_a_server_that_is_killed_goes_on_with_the_next_round(self) -> None:
        clients = self.clients("avg", evaluate=False)
        self.begin("avg")
        self.wait_for(self.folder / "avg" / "out" / "history.json", least_rounds=1)
        self.link.stop()
        self.link.start()
        self.begin("avg", resume=True)
        self.assert_near("avg", clients, averaged(clients.trainers, np.add))
        history = json.loads((self.folder / "avg" / "out" / "history.json").read_text())["rounds"]
        self.assertEqual([entry["round"] for entry in history], [1, 2, 3])
