"""The loop of rounds: gather nodes, train, aggregate, evaluate, keep the state."""

import time
from dataclasses import dataclass, field
from logging import INFO, WARNING
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import Array, RecordDict
from flwr.serverapp import Grid
from flwr.supercore import log

from .aggregation import Held
from .exchange import Question, Traffic, ask
from .layout import Layout
from .masked import masked_sum
from .noise_on_sums import add_central_noise, clipped, epsilon
from .records import (
    array_of,
    read_evaluate_reply,
    read_masked_train_reply,
    read_train_reply,
    round_config,
    values_record,
)
from .roster import Roster
from .state import State, save_state
from .terms import Terms

REPEAT_PAUSE_SECONDS = 5.0
# Nobody has to answer that all is over.
DONE_SECONDS = 10.0


@dataclass
class Federation:
    """Everything that a round works on."""

    grid: Grid
    terms: Terms
    folder: Path
    roster: Roster
    state: State
    held: Held
    frozen: Array | None


@dataclass
class Outcome:
    """What came of the clients' work in one round."""

    traffic: Traffic = field(default_factory=Traffic)
    clients: dict[int, dict[str, Any]] = field(default_factory=dict)
    loss: float | None = None
    sensitivity: float | None = None

    def told(self) -> dict[str, Any]:
        """What history.json has of it."""
        told = {
            "clients": [{"node": str(node_id), **client} for node_id, client in self.clients.items()],
            "failed": [{"node": str(node_id), "why": why} for node_id, why in self.traffic.failed.items()],
            "bytes_down": self.traffic.down,
            "bytes_up": self.traffic.up,
        }
        return told if self.loss is None else {**told, "train_loss": self.loss}


def contents_for(
    federation: Federation, nodes: dict[int, Layout], round_number: int
) -> dict[int, RecordDict]:
    """The content of `train` or `evaluate` for each node; nodes of one layout share one."""
    config = round_config(federation.terms, round_number)
    shared: dict[Layout, RecordDict] = {}
    for layout in nodes.values():
        if layout not in shared:
            arrays = values_record(array_of(federation.held.values_for(layout)))
            shared[layout] = RecordDict({"arrays": arrays, "config": config})
            if federation.frozen is not None:
                shared[layout]["frozen"] = values_record(federation.frozen)
    return {node_id: shared[layout] for node_id, layout in nodes.items()}


def question(federation: Federation, kind: str, nodes: dict[int, Layout], round_number: int) -> Question:
    """A message of a round to these nodes, each with the values that fit its layout."""
    contents = contents_for(federation, nodes, round_number)
    return Question(kind, round_number, federation.terms.round_seconds, contents)


def _train(federation: Federation, nodes: dict[int, Layout], round_number: int) -> Outcome:
    """A round's local steps; the deltas are added to the sum as they come."""
    terms, held = federation.terms, federation.held
    outcome = Outcome(sensitivity=terms.privacy.clip)
    losses = []

    def take(node_id: int, content: RecordDict) -> None:
        reply = read_train_reply(content, terms, nodes[node_id].size)
        # With central noise all weigh the same, as a client's share of the sum has to be bounded.
        weight = 1 if terms.privacy.noise == "central" else reply.examples
        delta = clipped(reply.delta, terms.privacy) if terms.privacy.noise == "central" else reply.delta
        held.add(nodes[node_id], delta, weight)
        losses.append((reply.loss, weight))
        outcome.clients[node_id] = {
            "examples": reply.examples,
            "train_loss": reply.loss,
            "steps": reply.steps,
        }

    ask(federation.grid, question(federation, "train", nodes, round_number), outcome.traffic, take)
    if losses:
        outcome.loss = _mean(losses)
    return outcome


def _mean(pairs: list[tuple[float, int]]) -> float:
    values, weights = zip(*pairs)
    return float(np.average(values, weights=weights))


def _train_masked(federation: Federation, nodes: dict[int, Layout], round_number: int) -> Outcome:
    """A round's local steps, whose deltas the server sees only as a sum."""
    terms = federation.terms
    outcome = Outcome()

    def take(node_id: int, content: RecordDict) -> None:
        outcome.clients[node_id] = {"steps": read_masked_train_reply(content)}

    ask(federation.grid, question(federation, "train", nodes, round_number), outcome.traffic, take)
    if len(outcome.clients) < terms.min_clients:
        return outcome
    size = next(iter(nodes.values())).size
    result = masked_sum(federation.grid, terms, round_number, list(outcome.clients), size, outcome.traffic)
    if result is None:
        outcome.clients = {}
        return outcome
    federation.held.sum.add_sum(result.total, result.weight)
    outcome.clients = {node_id: outcome.clients[node_id] for node_id in result.summed}
    outcome.loss, outcome.sensitivity = result.loss, result.sensitivity
    return outcome


def evaluate(federation: Federation, nodes: dict[int, Layout], round_number: int) -> dict[str, Any]:
    """Asks nodes for their loss on the rows that they hold out; the mean by rows, for the history."""
    losses = []
    traffic = Traffic()

    def take(node_id: int, content: RecordDict) -> None:
        reply = read_evaluate_reply(content)
        if reply.examples:
            losses.append((reply.loss, reply.examples))

    ask(federation.grid, question(federation, "evaluate", nodes, round_number), traffic, take)
    told = {"eval_examples": sum(examples for _, examples in losses)}
    if losses:
        told["eval_loss"] = _mean(losses)
    return {**told, "eval_bytes_down": traffic.down, "eval_bytes_up": traffic.up}


def _spent(federation: Federation) -> dict[str, float]:
    privacy = federation.terms.privacy
    if privacy.noise == "none":
        return {}
    return {"epsilon": epsilon(privacy, federation.state.releases), "delta": privacy.delta}


def _tell(terms: Terms, entry: dict[str, Any]) -> None:
    parts = [f"{len(entry['clients'])} clients"] if "clients" in entry else []
    parts += [
        f"{name.replace('_', ' ')} {entry[name]:.4f}" for name in ("train_loss", "eval_loss") if name in entry
    ]
    if "bytes_down" in entry:
        parts.append(f"{entry['bytes_down']:,} bytes down and {entry['bytes_up']:,} up")
    if "epsilon" in entry:
        parts.append(f"epsilon {entry['epsilon']:.3f} at delta {entry['delta']:g}")
    log(INFO, "round %d of %d: %s", entry["round"], terms.rounds, ", ".join(parts) or "nobody held rows out")


def _keep(federation: Federation) -> None:
    save_state(federation.folder, federation.state)


def run_round(federation: Federation) -> bool:
    """One round; whether enough clients took part. If not, nothing has changed and the round is to be
    repeated.
    """
    terms, state, held = federation.terms, federation.state, federation.held
    round_number = state.round_number + 1
    nodes = federation.roster.gather(terms.min_clients)
    log(INFO, "round %d of %d begins with %d clients", round_number, terms.rounds, len(nodes))
    began = time.monotonic()
    held.begin()
    train = _train_masked if terms.privacy.mask else _train
    outcome = train(federation, nodes, round_number)
    is_enough = len(outcome.clients) >= terms.min_clients
    # What a client noised itself has left it, whether or not a round came of it.
    if is_enough or terms.privacy.noise == "local" and outcome.clients:
        state.releases += 1
    if not is_enough:
        told = (round_number, len(outcome.clients), terms.min_clients)
        log(WARNING, "round %d is repeated: %d of %d clients", *told)
        _keep(federation)
        return False
    if terms.privacy.noise == "central":
        add_central_noise(held.sum.sum, terms.privacy, outcome.sensitivity)
    change = held.finish()
    state.round_number = round_number
    state.arrays |= held.state()
    entry = {"round": round_number, "change": change, **outcome.told(), **_spent(federation)}
    state.history.append(entry)
    _keep(federation)
    if terms.evaluate:
        replied = {node_id: layout for node_id, layout in nodes.items() if node_id in outcome.clients}
        entry |= evaluate(federation, replied, round_number)
    entry["seconds"] = round(time.monotonic() - began, 3)
    _keep(federation)
    _tell(terms, entry)
    return True


def run_rounds(federation: Federation) -> None:
    """All rounds that are left. With `evaluate` the first is preceded by an evaluation of what it begins
    with, so that there is a loss to compare with.
    """
    terms, state = federation.terms, federation.state
    if terms.evaluate and not state.history:
        nodes = federation.roster.gather(terms.min_clients)
        entry = {"round": 0, **evaluate(federation, nodes, 0)}
        state.history.append(entry)
        _tell(terms, entry)
    while state.round_number < terms.rounds:
        if not run_round(federation):
            time.sleep(REPEAT_PAUSE_SECONDS)
    tell_done(federation)


def tell_done(federation: Federation) -> None:
    """Gives all who are there what came of the last round, so that nobody waits for another one."""
    number = federation.state.round_number
    contents = contents_for(federation, federation.roster.there(), number)
    question = Question("query.done", number, DONE_SECONDS, contents)
    ask(federation.grid, question, Traffic(), lambda node_id, content: None)
