"""The client's half of the rounds, whatever trains: holds the server to the terms, and answers its
messages.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict

from .layout import Layout, layout_record
from .privacy.codec import encode_delta
from .privacy.masked_client import MaskedClient
from .privacy.noise import add_noise, clip
from .records import BadReply, read_array
from .terms import Terms

Record = ArrayRecord | ConfigRecord | MetricRecord


class Refusal(Exception):
    """A message that this client does not do; the server is told the code and the text."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True)
class Work:
    """What a round asks for: values float32 [n], frozen ones float32 [m], and how far to go."""

    values: np.ndarray
    frozen: np.ndarray
    round_number: int
    steps: int
    learning_rate: float


class Trainer(Protocol):
    """What computes."""

    layout: Layout
    examples: int

    def train(self, work: Work) -> tuple[np.ndarray, float]:
        """The values after the local steps, float32 [n], and the mean loss over them."""

    def evaluate(self, work: Work) -> tuple[int, float]:
        """The number of rows held out and the mean loss on them; 0 and 0 where there are none."""


@dataclass
class _Kept:
    """A masked round's delta, float32 [n], and its loss, which wait for the masks' messages."""

    client: MaskedClient
    delta: np.ndarray
    loss: float


class Participant:
    """Answers messages with what a trainer computes."""

    def __init__(
        self, terms: Terms, trainer: Trainer, identity: ec.EllipticCurvePrivateKey | None = None
    ) -> None:
        """`identity` is the node's key; only masked rounds need it."""
        self._terms = terms
        self._trainer = trainer
        self._identity = identity
        self._residual: np.ndarray | None = None
        self._kept: _Kept | None = None
        self._answers: dict[str, Callable[[Message], dict[str, Record]]] = {
            "query.layout": self._layout,
            "query.keys": self._keys,
            "query.shares": self._shares,
            "query.masked": self._masked,
            "query.unmask": self._unmask,
            "query.done": self._done,
            "train": self._train,
            "evaluate": self._evaluate,
        }

    def answer(self, message: Message) -> Message:
        """Raises Refusal."""
        kind = message.metadata.message_type
        if kind not in self._answers:
            raise Refusal("federation-protocol", f"this client knows no message {kind}")
        try:
            return Message(RecordDict(self._answers[kind](message)), reply_to=message)
        except (BadReply, KeyError, TypeError, ValueError) as error:
            raise Refusal("federation-protocol", f"{kind}: {error}") from error

    def _layout(self, message: Message) -> dict[str, Record]:
        return {"layout": layout_record(self._trainer.layout, self._trainer.examples)}

    def _train(self, message: Message) -> dict[str, Record]:
        work = self._work(message.content)
        if not 1 <= work.round_number <= self._terms.rounds:
            raise Refusal("federation-terms", f"round {work.round_number} of {self._terms.rounds}")
        values, loss = self._trainer.train(work)
        delta = (values - work.values).astype(np.float32)
        privacy = self._terms.privacy
        if privacy.clip is not None:
            clip(delta, privacy.clip)
        if privacy.noise == "local":
            add_noise(delta, privacy.noise_multiplier * privacy.clip)
        if privacy.mask:
            if self._identity is None:
                raise Refusal(
                    "federation-terms", "this client has no key to sign with, and the terms have masks"
                )
            client = MaskedClient(work.round_number, message.metadata.dst_node_id, self._identity)
            self._kept = _Kept(client, delta, loss)
            return {"metrics": MetricRecord({"steps": work.steps})}
        arrays, self._residual = encode_delta(delta, self._terms.delta_dtype, self._residual)
        metrics = {"num-examples": self._trainer.examples, "train_loss": float(loss), "steps": work.steps}
        return {
            "arrays": ArrayRecord({name: Array(array) for name, array in arrays.items()}),
            "metrics": MetricRecord(metrics),
        }

    def _of_round(self, message: Message) -> _Kept:
        """The delta that waits for the masks' messages of this round."""
        if self._kept is None or self._kept.client.round != message.content["config"]["server-round"]:
            raise Refusal("federation-protocol", "this client has trained nothing for that masked round")
        return self._kept

    def _keys(self, message: Message) -> dict[str, Record]:
        return {"keys": ConfigRecord(self._of_round(message).client.keys())}

    def _shares(self, message: Message) -> dict[str, Record]:
        return {"shares": ConfigRecord(self._of_round(message).client.shares(message.content["peers"]))}

    def _masked(self, message: Message) -> dict[str, Record]:
        kept, content = self._of_round(message), message.content
        if self._terms.privacy.noise == "central" and content["config"]["weight-cap"] != 1:
            raise Refusal("federation-terms", "central noise needs equal weights")
        numbers = kept.client.masked(
            content["shares"], content["config"], kept.delta, self._trainer.examples, kept.loss
        )
        return {"arrays": ArrayRecord({"masked": Array(numbers)})}

    def _unmask(self, message: Message) -> dict[str, Record]:
        kept, self._kept = self._of_round(message), None
        return {"unmask": ConfigRecord(kept.client.unmask(message.content["survivors"]))}

    def _done(self, message: Message) -> dict[str, Record]:
        return {"metrics": MetricRecord({"num-examples": 0})}

    def _evaluate(self, message: Message) -> dict[str, Record]:
        examples, loss = self._trainer.evaluate(self._work(message.content))
        return {"metrics": MetricRecord({"num-examples": examples, "eval_loss": float(loss)})}

    def _most_steps(self) -> int:
        """The steps of a round: those of the terms, or of their epochs over this client's rows."""
        train = self._terms.train
        if "max_steps" in train:
            return train["max_steps"]
        return train["num_train_epochs"] * -(-self._trainer.examples // train["per_device_train_batch_size"])

    def _work(self, content: RecordDict) -> Work:
        """Reads a round's message, and refuses what goes beyond the terms that this client agreed to."""
        config = content["config"]
        most = self._most_steps()
        steps, rate = int(config.get("local-steps", most)), float(config["learning-rate"])
        if not 1 <= steps <= most:
            raise Refusal("federation-terms", f"{steps} local steps; the terms have {most}")
        if rate != float(self._terms.train["learning_rate"]):
            raise Refusal("federation-terms", f"a learning rate of {rate}; the terms have another")
        layout = self._trainer.layout
        values = read_array(content["arrays"]["adapter"], np.float32, layout.size)
        frozen = np.zeros(0, dtype=np.float32)
        if layout.frozen:
            frozen = read_array(content["frozen"]["adapter"], np.float32, layout.frozen_size)
        if not np.isfinite(values).all() or not np.isfinite(frozen).all():
            raise Refusal("federation-protocol", "the adapter that came has values that are not finite")
        return Work(values, frozen, int(config["server-round"]), steps, rate)
