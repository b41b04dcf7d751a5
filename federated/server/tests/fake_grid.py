"""A grid without a network: its nodes answer at once, by what a test gives them."""

from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

from flwr.app import Error, Message

Answer = Callable[[Message], Message | None]


class FakeGrid:
    """Nodes by id. An answer that raises is an error of the node; None is no answer at all."""

    def __init__(self, nodes: dict[int, Answer]) -> None:
        self.nodes = nodes
        self.keys: dict[int, bytes] = {}
        self.sent: list[Message] = []
        self._replies: dict[str, Message] = {}

    def get_nodes(self) -> Iterable[Any]:
        return [SimpleNamespace(node_id=node, public_key=self.keys.get(node, b"")) for node in self.nodes]

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        ids = []
        for message in messages:
            message.metadata.__dict__["_message_id"] = f"message {len(self.sent)}"
            self.sent.append(message)
            ids.append(message.metadata.message_id)
            reply = self._reply(message)
            if reply is not None:
                self._replies[message.metadata.message_id] = reply
        return ids

    def _reply(self, message: Message) -> Message | None:
        answer = self.nodes.get(message.metadata.dst_node_id)
        if answer is None:
            return None
        try:
            return answer(message)
        except Exception as error:
            return Message(Error(1000, f"tabtune: {error}"), reply_to=message)

    def pull_messages(self, ids: Iterable[str]) -> list[Message]:
        return [self._replies.pop(message_id) for message_id in ids if message_id in self._replies]

    def count(self, kind: str) -> int:
        return sum(message.metadata.message_type == kind for message in self.sent)
