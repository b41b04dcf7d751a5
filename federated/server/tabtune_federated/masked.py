"""The messages of a masked round: keys, shares, masked numbers and what unmasks their sum, each asked of
those who are still there. privacy/masks.py has what is done with them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from logging import WARNING
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, RecordDict
from flwr.serverapp import Grid
from flwr.supercore import log

from .exchange import Question, Traffic, ask
from .privacy.fixed_point import read_sum, scale_for, sensitivity
from .privacy.masks import MaskedRound, TooFewClients
from .records import BadReply, read_array
from .terms import Terms

# A client's weight is its rows, but at most so many: larger weights leave fewer bits for the values.
WEIGHT_CAP = 256
# These messages ask for no training, so a client that is there answers them soon.
PHASE_SECONDS = 120.0
# Adam moves a value by at most about three times the rate in a step; what goes beyond this is clamped.
RATES_PER_STEP = 10


@dataclass(frozen=True)
class MaskedSum:
    """The sum of weighted deltas, float64 [n], of the clients whose masked numbers came."""

    total: np.ndarray
    weight: int
    loss: float
    summed: list[int]
    sensitivity: float | None
    """The L2 bound on what one client adds to the sum, for central noise; None where nothing is clipped."""


@dataclass
class _Phases:
    """Asks the phases' messages of a round."""

    grid: Grid
    terms: Terms
    round_number: int
    traffic: Traffic

    def ask(
        self, kind: str, contents: dict[int, RecordDict], read: Callable[[RecordDict], Any]
    ) -> dict[int, Any]:
        """The replies that could be read, by node."""
        answers: dict[int, Any] = {}

        def take(node_id: int, content: RecordDict) -> None:
            answers[node_id] = read(content)

        seconds = min(PHASE_SECONDS, self.terms.round_seconds)
        ask(self.grid, Question(kind, self.round_number, seconds, contents), self.traffic, take)
        return answers

    def content(self, name: str = "", record: dict[str, Any] | None = None, **config: float) -> RecordDict:
        content = RecordDict({"config": ConfigRecord({"server-round": self.round_number, **config})})
        if record is not None:
            content[name] = ConfigRecord(record)
        return content


def _config(name: str) -> Callable[[RecordDict], ConfigRecord]:
    def read(content: RecordDict) -> ConfigRecord:
        record = content.get(name)
        if not isinstance(record, ConfigRecord) or len(content) != 1:
            raise BadReply(f'it is not just a ConfigRecord "{name}"')
        return record

    return read


def _numbers(length: int) -> Callable[[RecordDict], np.ndarray]:
    def read(content: RecordDict) -> np.ndarray:
        record = content.get("arrays")
        if not isinstance(record, ArrayRecord) or len(content) != 1 or set(record) != {"masked"}:
            raise BadReply('it is not just an array "masked"')
        return read_array(record["masked"], np.uint32, length)

    return read


def fixed_point(terms: Terms, clients: int) -> dict[str, float]:
    """The config of `query.masked`: the bound on a weighted value, its steps in 1, and the most that a
    client weighs.
    """
    privacy = terms.privacy
    cap = 1 if privacy.noise == "central" else WEIGHT_CAP
    moved = terms.train["max_steps"] * float(terms.train["learning_rate"]) * RATES_PER_STEP
    # Local noise comes on top of the clipped delta; ten deviations hold all of it.
    noise = 10 * privacy.noise_multiplier * (privacy.clip or 0) if privacy.noise == "local" else 0.0
    bound = cap * ((privacy.clip or moved) + noise)
    return {"range": float(bound), "scale": float(scale_for(clients, bound)), "weight-cap": cap}


def masked_sum(
    grid: Grid, terms: Terms, round_number: int, nodes: list[int], size: int, traffic: Traffic
) -> MaskedSum | None:
    """Asks those who have trained for their deltas of so many values, masked, and gives the sum.

    None where too many leave on the way: then nothing of anyone's delta is known.
    """
    masked = MaskedRound(round_number, size, terms.min_clients)
    phases = _Phases(grid, terms, round_number, traffic)
    try:
        return _run(masked, phases, nodes)
    except (TooFewClients, ValueError) as error:
        log(WARNING, "the masked sum of round %d failed: %s", round_number, error)
        return None
    finally:
        for node_id, why in masked.refused.items():
            traffic.failure(node_id, "the masked sum", why)


def _run(masked: MaskedRound, phases: _Phases, nodes: list[int]) -> MaskedSum:
    masked.keys(phases.ask("query.keys", {node: phases.content() for node in nodes}, _config("keys")))
    peers = {node: phases.content("peers", masked.peers_for(node)) for node in masked.members}
    masked.shares(phases.ask("query.shares", peers, _config("shares")))
    members = masked.members
    fixed = fixed_point(phases.terms, len(members))
    shares = {node: phases.content("shares", masked.shares_for(node), **fixed) for node in members}
    masked.masked(phases.ask("query.masked", shares, _numbers(masked.n + 2)))
    survivors = masked.survivors()
    asked = {node: phases.content("survivors", survivors) for node in survivors["ids"]}
    numbers = masked.unmask(phases.ask("query.unmask", asked, _config("unmask")))
    read = read_sum(numbers, fixed["scale"], len(survivors["ids"]), int(fixed["weight-cap"]))
    clip = phases.terms.privacy.clip
    bound = None if clip is None else sensitivity(clip, masked.n, fixed["scale"])
    return MaskedSum(read.values, read.weight, read.train_loss, survivors["ids"], bound)
