"""The client's half of the rounds, whatever trains: holds the server to the terms, and answers its messages."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict

from .layout import Layout, layout_record
from .privacy.codec import encode_delta
from .privacy.noise import add_noise, clip
from .records import BadReply, read_array
from .terms import Terms


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


class Participant:
    """Answers messages with what a trainer computes."""

    def __init__(self, terms: Terms, trainer: Trainer) -> None:
        self._terms = terms
        self._trainer = trainer
        self._residual: np.ndarray | None = None

    def answer(self, message: Message) -> Message:
        """Raises Refusal."""
        kind = message.metadata.message_type
        answers = {"query.layout": self._layout, "train": self._train, "evaluate": self._evaluate}
        if kind not in answers:
            raise Refusal("federation-protocol", f"this client knows no message {kind}")
        return Message(RecordDict(answers[kind](message.content)), reply_to=message)

    def _layout(self, content: RecordDict) -> dict[str, ConfigRecord]:
        return {"layout": layout_record(self._trainer.layout, self._trainer.examples)}

    def _train(self, content: RecordDict) -> dict[str, ArrayRecord | MetricRecord]:
        work = self._work(content)
        if not 1 <= work.round_number <= self._terms.rounds:
            raise Refusal("federation-terms", f"round {work.round_number} of {self._terms.rounds}")
        values, loss = self._trainer.train(work)
        delta = (values - work.values).astype(np.float32)
        privacy = self._terms.privacy
        if privacy.clip is not None:
            clip(delta, privacy.clip)
        if privacy.noise == "local":
            add_noise(delta, privacy.noise_multiplier * privacy.clip)
        arrays, self._residual = encode_delta(delta, self._terms.delta_dtype, self._residual)
        metrics = {"num-examples": self._trainer.examples, "train_loss": float(loss), "steps": work.steps}
        return {
            "arrays": ArrayRecord({name: Array(array) for name, array in arrays.items()}),
            "metrics": MetricRecord(metrics),
        }

    def _evaluate(self, content: RecordDict) -> dict[str, MetricRecord]:
        examples, loss = self._trainer.evaluate(self._work(content))
        return {"metrics": MetricRecord({"num-examples": examples, "eval_loss": float(loss)})}

    def _work(self, content: RecordDict) -> Work:
        """Reads a round's message, and refuses what goes beyond the terms that this client agreed to."""
        config = content["config"]
        steps, rate = int(config["local-steps"]), float(config["learning-rate"])
        if not 1 <= steps <= self._terms.train["max_steps"]:
            raise Refusal("federation-terms", f"{steps} local steps; the terms have {self._terms.train['max_steps']}")
        if rate != float(self._terms.train["learning_rate"]):
            raise Refusal("federation-terms", f"a learning rate of {rate}; the terms have another")
        layout = self._trainer.layout
        try:
            values = read_array(content["arrays"]["adapter"], np.float32, layout.size)
            frozen = np.zeros(0, dtype=np.float32)
            if layout.frozen:
                frozen = read_array(content["frozen"]["adapter"], np.float32, layout.frozen_size)
        except (BadReply, KeyError) as error:
            raise Refusal("federation-protocol", f"the adapter that came: {error}") from error
        if not np.isfinite(values).all() or not np.isfinite(frozen).all():
            raise Refusal("federation-protocol", "the adapter that came has values that are not finite")
        return Work(values, frozen, int(config["server-round"]), steps, rate)
