"""Rounds of trainers whose steps are known, by plain arithmetic."""

from collections.abc import Callable

import numpy as np

from support import PulledTrainer
from tabtune_federated.layout import first_values, flat, named

Optimise = Callable[[np.ndarray, np.ndarray], np.ndarray]


def averaged(trainers: list[PulledTrainer], rounds: int, optimise: Optimise = np.add) -> np.ndarray:
    """The values after rounds of these trainers: `optimise` applies each mean delta, in float64."""
    values, _ = first_values(trainers[0].layout, 42)
    weights = [trainer.examples for trainer in trainers]
    for _ in range(rounds):
        deltas = [(trainer.trained(values) - values).astype(np.float64) for trainer in trainers]
        mean = np.average(deltas, axis=0, weights=weights)
        values = optimise(values.astype(np.float64), mean).astype(np.float32)
    return values


class Adam:
    """FedAdam: Reddi 2021, algorithm 2, with a corrected rate of 0.01."""

    def __init__(self) -> None:
        self.m, self.v, self.step = 0.0, 0.0, 0

    def __call__(self, values: np.ndarray, mean: np.ndarray) -> np.ndarray:
        self.step += 1
        self.m, self.v = 0.9 * self.m + 0.1 * mean, 0.99 * self.v + 0.01 * mean**2
        rate = 0.01 * np.sqrt(1 - 0.99 ** (self.step + 1)) / (1 - 0.9 ** (self.step + 1))
        return values + rate * self.m / (np.sqrt(self.v) + 1e-3)


def flexlora(trainers: list[PulledTrainer], rounds: int) -> dict[str, np.ndarray]:
    """The mean product of each module after rounds of FlexLoRA: whole products, whole decompositions."""
    means: dict[str, np.ndarray] = {}
    weights = np.array([trainer.examples for trainer in trainers])
    for round_number in range(rounds):
        sums: dict[str, np.ndarray] = {}
        for trainer, weight in zip(trainers, weights / weights.sum()):
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
                sums[module] = sums.get(module, 0) + weight * product
        means = sums
    return means
