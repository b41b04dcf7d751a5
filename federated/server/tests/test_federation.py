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

from plain import averaged
from superlink import SuperLink
from support import PulledTrainer, layout, terms, write_terms
from tabtune_federated.adapter_files import PREFIX, WEIGHTS
from tabtune_federated.fleet_node import FleetNode
from tabtune_federated.layout import first_values, flat
from tabtune_federated.participant import Participant

EXAMPLES = [10, 20, 70]
FREEZE_A = {"r": 2, "lora_alpha": 4, "target_modules": ["q_proj", "v_proj"], "freeze_a": True}
LIMIT_SECONDS = 150


class Clients:
    """Nodes in threads, and the terms of a federation in which they are enrolled."""

    def __init__(self, url: str, count: int = 2, **changes: Any) -> None:
        keys = [generate_key_pairs()[0] for _ in range(count)]
        enrolled = [public_key_to_bytes(key.public_key()).decode() for key in keys]
        self.changes = {"min_clients": count, "enrolled": enrolled, **changes}
        given = terms(**self.changes)
        self.trainers = [
            PulledTrainer(layout(freeze_a=given.lora.freeze_a), examples, seed)
            for seed, examples in enumerate(EXAMPLES[:count])
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


class FederationTest(unittest.TestCase):
    """One SuperLink serves all tests, each with clients and folders of its own."""

    folder: Path
    link: SuperLink

    @classmethod
    def setUpClass(cls) -> None:
        temporary = tempfile.TemporaryDirectory()
        cls.addClassCleanup(temporary.cleanup)
        cls.folder = Path(temporary.name)
        logger = logging.getLogger("flwr")
        level = logger.level
        logger.setLevel(logging.CRITICAL)
        cls.addClassCleanup(logger.setLevel, level)
        cls.link = SuperLink(cls.folder)
        cls.addClassCleanup(cls.link.stop)

    def clients(self, name: str, **changes: Any) -> Clients:
        clients = Clients(self.link.url, **changes)
        self.addCleanup(clients.stop)
        (self.folder / name).mkdir()
        write_terms(self.folder / name, **clients.changes)
        return clients

    def begin(self, name: str, resume: bool = False) -> None:
        """Returns once the app is at work: where several start at once on a busy machine, Flower gives them up."""
        folder = self.folder / name
        self.link.run(terms=str(folder / "federation.json"), out=str(folder / "out"), resume=resume)
        deadline = time.monotonic() + LIMIT_SECONDS
        while not (folder / "out").exists() and time.monotonic() < deadline:
            time.sleep(0.1)

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

    def test_three_federations_at_once(self) -> None:
        """Each asks the nodes that its terms enrol, and none of the others."""
        avg = self.clients("avg")
        ffa = self.clients("ffa", lora=FREEZE_A)
        masked = self.clients("masked", privacy={"mask": True}, rounds=1, evaluate=False, count=3)
        for name in ("masked", "avg", "ffa"):
            self.begin(name)
        self.assert_near("avg", avg, averaged(avg.trainers, 3))
        self.assert_near("masked", masked, averaged(masked.trainers, 1))
        self.assert_near("ffa", ffa, averaged(ffa.trainers, 3))
        _, frozen = first_values(ffa.trainers[0].layout, 42)
        for trainer in ffa.trainers:
            self.assertEqual(trainer.frozen, [frozen.tobytes()] * 3)

    def test_a_node_that_joins_again_stays_the_same(self) -> None:
        with FleetNode(self.link.url, generate_key_pairs()[0]) as node:
            before = node.node_id
            node._join()
            self.assertEqual(node.node_id, before)

    def test_a_server_that_is_killed_goes_on_with_the_next_round(self) -> None:
        clients = self.clients("killed", evaluate=False)
        self.begin("killed")
        self.wait_for(self.folder / "killed" / "out" / "history.json", least_rounds=1)
        self.link.stop()
        self.link.start()
        self.begin("killed", resume=True)
        self.assert_near("killed", clients, averaged(clients.trainers, 3))
        history = json.loads((self.folder / "killed" / "out" / "history.json").read_text())["rounds"]
        self.assertEqual([entry["round"] for entry in history], [1, 2, 3])
