"""The Python half of masks and small deltas, for tests in JavaScript.

Each line of standard input is a call {"do", …} in JSON, each line of standard output its result. Bytes are
{"bytes": base64} and arrays {"array": base64, "dtype"}; ids are decimal texts in keys and numbers in lists.
"""

import base64
import json
import sys
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric import ec

from tabtune_federated.privacy import (
    MaskedClient,
    MaskedRound,
    TooFewClients,
    decode_delta,
    encode_delta,
    quantise,
    scale_for,
)


def packed(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"bytes": base64.b64encode(value).decode()}
    if isinstance(value, np.ndarray):
        return {"array": base64.b64encode(value.tobytes()).decode(), "dtype": str(value.dtype)}
    if isinstance(value, dict):
        return {str(key): packed(one) for key, one in value.items()}
    # Ids are 64 bits, which JavaScript's JSON would round.
    if isinstance(value, list):
        return [str(one) if isinstance(one, int) else packed(one) for one in value]
    return value


def unpacked(value: Any) -> Any:
    if isinstance(value, list):
        return [unpacked(one) for one in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {"bytes"}:
        return base64.b64decode(value["bytes"])
    if set(value) == {"array", "dtype"}:
        return np.frombuffer(base64.b64decode(value["array"]), value["dtype"])
    return {key: unpacked(one) for key, one in value.items()}


def ids_of(record: dict[str, Any]) -> dict[str, Any]:
    """A record whose lists of ids are numbers again."""
    return {
        key: [int(one) for one in value] if key.endswith("ids") else value for key, value in record.items()
    }


class Peer:
    """A server, and clients of its own who are in the round beside those of the test."""

    def begin(self, round_number: int, n: int, own: list[str]) -> None:
        self.server = MaskedRound(round_number, n)
        keys = {node: ec.generate_private_key(ec.SECP384R1()) for node in map(int, own)}
        self.own = {node: MaskedClient(round_number, node, key) for node, key in keys.items()}
        self.replies: list[dict[int, Any]] = []

    def keys(self, replies: dict[str, Any], lost: list[str]) -> dict[int, Any]:
        self.server.keys(self._with_own(replies, lost, lambda _node, client: client.keys()))
        return {node: self.server.peers_for(node) for node in self.server.members}

    def shares(self, replies: dict[str, Any], lost: list[str]) -> dict[int, Any]:
        replies = {node: ids_of(reply) for node, reply in replies.items()}
        shares = self._with_own(
            replies, lost, lambda node, client: client.shares(self.server.peers_for(node))
        )
        self.server.shares(shares)
        return {node: self.server.shares_for(node) for node in self.server.members}

    def masked(
        self, replies: dict[str, Any], lost: list[str], updates: dict[str, Any], fixed: dict[str, Any]
    ) -> Any:
        def answer(node: int, client: MaskedClient) -> np.ndarray:
            update = updates[str(node)]
            shares = self.server.shares_for(node)
            return client.masked(shares, fixed, update["delta"], update["examples"], update["train_loss"])

        self.server.masked(self._with_own(replies, lost, answer))
        return self.server.survivors()

    def unmask(self, replies: dict[str, Any], lost: list[str]) -> np.ndarray:
        survivors = self.server.survivors()
        replies = {node: ids_of(reply) for node, reply in replies.items()}
        return self.server.unmask(
            self._with_own(replies, lost, lambda _node, client: client.unmask(survivors))
        )

    def refused(self) -> dict[int, str]:
        return self.server.refused

    def seen(self) -> dict[str, dict[int, Any]]:
        """All replies of the round, by phase: what the server holds."""
        return dict(zip(("keys", "shares", "masked", "unmask"), self.replies, strict=True))

    def scale(self, clients: int, bound: float) -> int:
        return scale_for(clients, bound)

    def quantise(
        self, delta: np.ndarray, weight: int, loss: float, fixed: dict[str, Any], clients: int
    ) -> Any:
        return quantise(delta, weight, loss, fixed, clients)

    def decode(self, arrays: dict[str, np.ndarray], dtype: str, n: int) -> np.ndarray:
        return decode_delta(arrays, dtype, n)

    def encode(self, delta: np.ndarray, dtype: str, residual: np.ndarray | None) -> dict[str, Any]:
        arrays, residual = encode_delta(delta, dtype, residual)
        return {"arrays": arrays, "residual": residual}

    def _with_own(self, replies: dict[str, Any], lost: list[str], answer: Any) -> dict[int, Any]:
        """The replies of the test's clients, and of the own ones that are still there and not lost now."""
        for node in map(int, lost):
            self.own.pop(node, None)
        given = {int(node): reply for node, reply in replies.items()}
        self.replies.append(given | {node: answer(node, client) for node, client in self.own.items()})
        return self.replies[-1]


def main() -> None:
    peer = Peer()
    for line in sys.stdin:
        call = unpacked(json.loads(line))
        try:
            result = {"result": packed(getattr(peer, call.pop("do"))(**call))}
        except (ValueError, TooFewClients) as error:
            result = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
