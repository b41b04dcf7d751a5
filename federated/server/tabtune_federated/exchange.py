"""Messages to nodes and back.

Flower's `grid.send_and_receive` returns all replies at once and looks for them every three seconds. With
deltas of many megabytes the server would hold one for each client; here each reply is handed on and let go
as it comes.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from logging import WARNING

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid
from flwr.supercore import log

from .records import BadReply, array_bytes

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 2.0


@dataclass(frozen=True)
class Question:
    """A kind of message to some nodes, and how long their replies are waited for."""

    kind: str
    round_number: int
    seconds: float
    contents: dict[int, RecordDict]


@dataclass
class Traffic:
    """Bytes of arrays that went to the nodes and came from them, and the nodes that did not do as asked."""

    down: int = 0
    up: int = 0
    failed: dict[int, str] = field(default_factory=dict)

    def failure(self, node_id: int, kind: str, why: str) -> None:
        self.failed[node_id] = why
        log(WARNING, "node %d is left out of %s: %s", node_id, kind, why)


def printable(text: str) -> str:
    """A client's text for a log: one line, at most 300 characters."""
    return "".join(char if char.isprintable() else " " for char in text[:300])


def send(grid: Grid, question: Question) -> dict[str, int]:
    """Sends a message to each node; the ids of the messages, and whose they are."""
    messages = [
        Message(content, node_id, question.kind, ttl=question.seconds, group_id=str(question.round_number))
        for node_id, content in question.contents.items()
    ]
    ids = grid.push_messages(messages)
    return {message_id: node_id for message_id, node_id in zip(ids, question.contents) if message_id}


def replies(grid: Grid, pending: dict[str, int]) -> Iterator[tuple[int, Message]]:
    """The replies that are there by now, each with the node that was asked. They are taken out of
    `pending`.
    """
    for message in grid.pull_messages(list(pending)) if pending else ():
        # Whom a reply comes from is told by the message that it answers.
        node_id = pending.pop(message.metadata.reply_to_message_id, None)
        if node_id is not None:
            yield node_id, message


def ask(grid: Grid, question: Question, traffic: Traffic, take: Callable[[int, RecordDict], None]) -> None:
    """Asks nodes and hands each reply to `take`, until all have come or the time is over.

    A node that fails, replies badly (`take` raises BadReply) or does not reply is told in `traffic.failed`.
    """
    pending = send(grid, question)
    traffic.down += sum(array_bytes(content) for content in question.contents.values())
    for node_id in question.contents.keys() - set(pending.values()):
        traffic.failure(node_id, question.kind, "its message could not be sent")
    end = time.monotonic() + question.seconds
    pause = FIRST_PAUSE
    while pending:
        for node_id, message in replies(grid, pending):
            pause = FIRST_PAUSE
            if message.has_error():
                traffic.failure(
                    node_id, question.kind, printable(message.error.reason or "an error without a reason")
                )
                continue
            traffic.up += array_bytes(message.content)
            try:
                take(node_id, message.content)
            except BadReply as error:
                traffic.failure(node_id, question.kind, printable(str(error)))
        if time.monotonic() >= end:
            break
        if pending:
            time.sleep(min(pause, max(0.0, end - time.monotonic())))
            pause = min(2 * pause, LONGEST_PAUSE)
    for node_id in pending.values():
        traffic.failure(node_id, question.kind, f"no reply within {question.seconds:g} s")
