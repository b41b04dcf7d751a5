"""What the server holds, and how a round's deltas change it: FedAvg and FedAdam over one flat array.

`Held` is what a round needs to know; flexlora.py has the other kind, for clients of different ranks.
"""

from typing import Protocol

import numpy as np
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAdam

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
    """FedAvg (McMahan 2017): the mean delta is added, times a rate that is 1 unless the terms say otherwise."""

    def __init__(self, rate: float) -> None:
        self._rate = rate

    def step(self, values: np.ndarray, mean: np.ndarray) -> np.ndarray:
        return (values + self._rate * mean).astype(np.float32)

    def state(self) -> dict[str, np.ndarray]:
        return {}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        del state


class Adam:
    """FedAdam (Reddi 2021, arXiv 2003.00295) by Flower's own strategy, with its betas 0.9 and 0.99 and tau 1e-3.

    The strategy averages whole arrays that come by message. It is given one reply, the old values plus the mean delta, in
    float64, so that its difference from the old values is the mean delta again.
    """

    def __init__(self, rate: float) -> None:
        self._strategy = FedAdam(eta=rate)
        self._steps = 0

    def step(self, values: np.ndarray, mean: np.ndarray) -> np.ndarray:
        old = values.astype(np.float64)
        content = RecordDict(
            {
                "arrays": ArrayRecord({"adapter": Array(old + mean)}),
                "metrics": MetricRecord({"num-examples": 1}),
            }
        )
        self._steps += 1
        self._strategy.current_arrays = {"adapter": old}
        arrays, _ = self._strategy.aggregate_train(self._steps, [Message(content, 0, "train")])
        return arrays["adapter"].numpy().astype(np.float32)

    def state(self) -> dict[str, np.ndarray]:
        if not self._steps:
            return {}
        moments = {"adam_m": self._strategy.m_t["adapter"], "adam_v": self._strategy.v_t["adapter"]}
        return {"adam_steps": np.array(self._steps), **moments}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        if "adam_steps" in state:
            self._steps = int(state["adam_steps"])
            self._strategy.m_t = {"adapter": state["adam_m"]}
            self._strategy.v_t = {"adapter": state["adam_v"]}


class WeightedMean:
    """The mean of vectors by weight, [n], summed in float64 so that the order in which they come does not tell."""

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
