"""What the server holds, and how a round's deltas change it: FedAvg and FedAdam over one flat array.

`Held` is what a round needs to know; flexlora.py has the other kind, for clients of different ranks.
"""

from typing import Protocol

import numpy as np

from .layout import Layout, named
from .terms import Terms


class Held(Protocol):
    """The values of a federation between two rounds, and the sum of a round."""

    def values_for(self, layout: Layout) -> np.ndarray:
        """What a client of this layout is sent, float32 [layout.size]. The same object until `finish`."""

    def begin(self) -> None:
        """Begins the sum of a round anew."""

    def add(self, layout: Layout, delta: np.ndarray, weight: int) -> None:
        """Adds a client's delta, float32 [layout.size], against what it was sent."""

    def finish(self) -> float:
        """Takes the round's sum over; the L2 norm of the change."""

    def state(self) -> dict[str, np.ndarray]:
        """All that has to be kept to go on from here."""

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Goes on from what `state` gave."""

    def matrices(self) -> dict[str, np.ndarray]:
        """The learnt matrices by name, with rank `lora.r` each."""


class Optimiser(Protocol):
    """How the mean delta is applied."""

    def step(self, values: np.ndarray, mean: np.ndarray) -> np.ndarray:
        """The new values, float32 [n], of the old ones and the mean delta, float64 [n]."""

    def state(self) -> dict[str, np.ndarray]: ...

    def restore(self, state: dict[str, np.ndarray]) -> None: ...


class Averaging:
    """FedAvg (McMahan 2017): the mean delta is added, times a rate that is 1 unless the terms say
    otherwise.
    """

    def __init__(self, rate: float) -> None:
        self._rate = rate

    def step(self, values: np.ndarray, mean: np.ndarray) -> np.ndarray:
        return (values + self._rate * mean).astype(np.float32)

    def state(self) -> dict[str, np.ndarray]:
        return {}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        del state


class Adam:
    """FedAdam (Reddi 2021, arXiv 2003.00295) over the mean delta, as Flower's strategy of that name has it,
    with its betas and tau, and its correction of the rate by the step after this one.

    The formula stands here because Flower's takes it from whole messages, and logs them as if clients had
    sent them; a test holds the two to each other.
    """

    BETA_1, BETA_2, TAU = 0.9, 0.99, 1e-3

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._steps = 0
        self._m: np.ndarray | float = 0.0
        self._v: np.ndarray | float = 0.0

    def step(self, values: np.ndarray, mean: np.ndarray) -> np.ndarray:
        self._steps += 1
        self._m = self.BETA_1 * self._m + (1 - self.BETA_1) * mean
        self._v = self.BETA_2 * self._v + (1 - self.BETA_2) * mean**2
        next_step = self._steps + 1
        rate = self._rate * np.sqrt(1 - self.BETA_2**next_step) / (1 - self.BETA_1**next_step)
        return (values + rate * self._m / (np.sqrt(self._v) + self.TAU)).astype(np.float32)

    def state(self) -> dict[str, np.ndarray]:
        return {"adam_steps": np.array(self._steps), "adam_m": np.array(self._m), "adam_v": np.array(self._v)}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        self._steps, self._m, self._v = int(state["adam_steps"]), state["adam_m"], state["adam_v"]


class WeightedMean:
    """The mean of vectors by weight, [n], summed in float64 so that the order in which they come does not
    tell.
    """

    def __init__(self, size: int) -> None:
        self.sum = np.zeros(size, dtype=np.float64)
        self.weight = 0

    def add(self, vector: np.ndarray, weight: int) -> None:
        self.sum += np.multiply(vector, weight, dtype=np.float64)
        self.weight += weight

    def add_sum(self, total: np.ndarray, weight: int) -> None:
        """Adds a sum of vectors that were weighted already."""
        self.sum += total
        self.weight += weight

    def mean(self) -> np.ndarray:
        return self.sum / self.weight


class FlatHeld:
    """One flat array that all clients share (FedAvg, FedAdam; with or without A frozen)."""

    def __init__(self, layout: Layout, terms: Terms, values: np.ndarray) -> None:
        rate = terms.server_learning_rate
        self._layout = layout
        self._optimiser: Optimiser = Adam(rate) if terms.aggregation == "fedadam" else Averaging(rate)
        self._values = values
        self.begin()

    def values_for(self, layout: Layout) -> np.ndarray:
        return self._values

    def begin(self) -> None:
        self.sum = WeightedMean(self._layout.size)

    def add(self, layout: Layout, delta: np.ndarray, weight: int) -> None:
        self.sum.add(delta, weight)

    def finish(self) -> float:
        old = self._values
        self._values = self._optimiser.step(old, self.sum.mean())
        return float(np.linalg.norm(self._values - old))

    def state(self) -> dict[str, np.ndarray]:
        return {"values": self._values, **self._optimiser.state()}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        self._values = state["values"]
        self._optimiser.restore(state)

    def matrices(self) -> dict[str, np.ndarray]:
        return named(self._layout.entries, self._values)
