import unittest

import numpy as np
from flwr.app import Array, ArrayRecord, Metadata, MetricRecord, RecordDict
from flwr.app.message import make_message
from flwr.serverapp.strategy import FedAdam

from support import layout, terms
from tabtune_federated.aggregation import FlatHeld
from tabtune_federated.flexlora import FlexHeld, Product
from tabtune_federated.layout import Layout, first_values, named


def flowers_adam(values: np.ndarray, means: list[np.ndarray]) -> np.ndarray:
    """What Flower's own strategy makes of the same mean deltas, in float64."""
    strategy = FedAdam(eta=0.01)
    for step, mean in enumerate(means, 1):
        arrays = ArrayRecord({"adapter": Array(values + mean)})
        content = RecordDict({"arrays": arrays, "metrics": MetricRecord({"num-examples": 1})})
        strategy.current_arrays = {"adapter": values}
        reply = make_message(Metadata(1, "", 1, 1, "", "", 0.0, 1.0, "train"), content)
        values = strategy.aggregate_train(step, [reply])[0]["adapter"].numpy()
    return values


def adam(values: np.ndarray, means: list[np.ndarray]) -> np.ndarray:
    """FedAdam by hand: Reddi 2021, algorithm 2, with a corrected rate of 0.01."""
    m, v = np.zeros_like(values), np.zeros_like(values)
    for step, mean in enumerate(means, 1):
        m = 0.9 * m + 0.1 * mean
        v = 0.99 * v + 0.01 * mean**2
        rate = 0.01 * np.sqrt(1 - 0.99 ** (step + 1)) / (1 - 0.9 ** (step + 1))
        values = values + rate * m / (np.sqrt(v) + 1e-3)
    return values


class FlatTest(unittest.TestCase):
    def setUp(self) -> None:
        random = np.random.default_rng(3)
        self.layout = layout()
        self.values, _ = first_values(self.layout, 42)
        shape = (3, 3, self.layout.size)
        self.deltas = random.normal(0, 0.01, shape).astype(np.float32)
        self.weights = [10, 20, 70]
        self.means = [
            np.average(deltas, axis=0, weights=self.weights).astype(np.float64) for deltas in self.deltas
        ]

    def rounds(self, held: FlatHeld, deltas: np.ndarray) -> None:
        for round_deltas in deltas:
            held.begin()
            for delta, weight in zip(round_deltas, self.weights):
                held.add(self.layout, delta, weight)
            held.finish()

    def test_fedavg(self) -> None:
        for rate in (1.0, 0.5):
            held = FlatHeld(self.layout, terms(server_learning_rate=rate), self.values)
            self.rounds(held, self.deltas)
            expected = self.values + rate * np.sum(self.means, axis=0)
            self.assertLess(np.abs(held.values_for(self.layout) - expected).max(), 1e-6)

    def test_fedadam(self) -> None:
        held = FlatHeld(self.layout, terms(aggregation="fedadam"), self.values)
        self.rounds(held, self.deltas)
        for reference in (adam, flowers_adam):
            expected = reference(self.values.astype(np.float64), self.means)
            self.assertLess(np.abs(held.values_for(self.layout) - expected).max(), 1e-6)

    def test_a_restored_one_goes_on_to_the_bit(self) -> None:
        for aggregation in ("fedavg", "fedadam"):
            with self.subTest(aggregation):
                given = terms(aggregation=aggregation)
                whole, half = (FlatHeld(self.layout, given, self.values) for _ in range(2))
                self.rounds(whole, self.deltas)
                self.rounds(half, self.deltas[:1])
                other = FlatHeld(self.layout, given, half.state()["values"])
                other.restore(half.state())
                self.rounds(other, self.deltas[1:])
                mine, theirs = other.values_for(self.layout), whole.values_for(self.layout)
                self.assertEqual(mine.tobytes(), theirs.tobytes())

    def test_the_order_of_replies_does_not_tell(self) -> None:
        held = FlatHeld(self.layout, terms(), self.values)
        first = FlatHeld(self.layout, terms(), self.values)
        for index in (0, 1, 2):
            first.add(self.layout, self.deltas[0, index], self.weights[index])
        for index in (2, 0, 1):
            held.add(self.layout, self.deltas[0, index], self.weights[index])
        first.finish()
        held.finish()
        self.assertLess(np.abs(first.values_for(self.layout) - held.values_for(self.layout)).max(), 1e-9)


def products(layout: Layout, values: np.ndarray, alpha: float) -> dict[str, np.ndarray]:
    """scale * B * A of each module, by plain products."""
    matrices = named(layout.entries, values.astype(np.float64))
    return {
        module: alpha
        / layout.rank
        * matrices[f"{module}.lora_B.weight"]
        @ matrices[f"{module}.lora_A.weight"]
        for module in layout.modules
    }


def truncated(matrix: np.ndarray, rank: int) -> np.ndarray:
    u, sigma, v = np.linalg.svd(matrix)
    return (u[:, :rank] * sigma[:rank]) @ v[:rank]


class FlexTest(unittest.TestCase):
    def setUp(self) -> None:
        self.random = np.random.default_rng(5)
        self.terms = terms(aggregation="flexlora")
        self.layouts = [layout(rank) for rank in (1, 2, 3)]
        self.weights = [10, 20, 70]

    def round(self, held: FlexHeld) -> dict[str, np.ndarray]:
        """A round of random deltas; the weighted mean of scale * B * A."""
        held.begin()
        mean: dict[str, np.ndarray] = {}
        for mine, weight in zip(self.layouts, self.weights):
            delta = self.random.normal(0, 0.1, mine.size).astype(np.float32)
            held.add(mine, delta, weight)
            learnt = held.values_for(mine).astype(np.float64) + delta
            for module, product in products(mine, learnt, 4).items():
                mean[module] = mean.get(module, 0) + weight / 100 * product
        held.finish()
        return mean

    def test_each_client_gets_the_truncated_mean(self) -> None:
        held = FlexHeld(layout(), self.terms, 42)
        for _ in range(3):
            mean = self.round(held)
            for mine in self.layouts:
                got = products(mine, held.values_for(mine), 4)
                for module, matrix in mean.items():
                    self.assertLess(np.abs(got[module] - truncated(matrix, mine.rank)).max(), 1e-6)

    def test_the_first_values_change_nothing_and_can_learn(self) -> None:
        held = FlexHeld(layout(), self.terms, 42)
        for mine in self.layouts:
            matrices = named(mine.entries, held.values_for(mine))
            for name, matrix in matrices.items():
                self.assertEqual(bool(matrix.any()), "lora_A" in name)

    def test_a_larger_rank_that_comes_later_has_room_to_learn(self) -> None:
        held = FlexHeld(layout(), self.terms, 42)
        self.round(held)
        late = layout(rank=5)
        matrices = named(late.entries, held.values_for(late))
        for module in late.modules:
            b, a = matrices[f"{module}.lora_B.weight"], matrices[f"{module}.lora_A.weight"]
            self.assertTrue(b[:, 0].any() and not b[:, 3:].any())
            self.assertTrue((np.abs(a).max(axis=1) > 0).all())

    def test_it_goes_on_from_its_state(self) -> None:
        held = FlexHeld(layout(), self.terms, 42)
        self.round(held)
        other = FlexHeld(layout(), self.terms, 42)
        other.restore({name: array.copy() for name, array in held.state().items()})
        for mine in self.layouts:
            self.assertEqual(other.values_for(mine).tobytes(), held.values_for(mine).tobytes())

    def test_it_begins_with_an_adapter(self) -> None:
        held = FlexHeld(layout(rank=3), self.terms, 42)
        mine = layout()
        values = self.random.normal(0, 0.1, mine.size).astype(np.float32)
        held.take(values)
        got, expected = products(mine, held.values_for(mine), 4), products(mine, values, 4)
        for module, matrix in expected.items():
            self.assertLess(np.abs(got[module] - matrix).max(), 1e-6)
        self.assertEqual(set(held.matrices()), {entry.name for entry in mine.entries})

    def test_a_sum_of_many_is_no_wider_than_the_matrix(self) -> None:
        for height, width in ((6, 10), (10, 6)):
            total = Product(np.zeros((height, 0)), np.zeros((0, width)))
            expected = np.zeros((height, width))
            for _ in range(20):
                left, right = self.random.normal(size=(height, 3)), self.random.normal(size=(3, width))
                total = total.plus(Product(left, right))
                expected += left @ right
            self.assertLessEqual(total.left.shape[1], 6)
            self.assertLess(np.abs(total.left @ total.right - expected).max(), 1e-12)
            self.assertAlmostEqual(total.norm(), float(np.linalg.norm(expected)))
