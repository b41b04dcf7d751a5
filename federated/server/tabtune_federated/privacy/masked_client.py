"""A client's half of a round of secure aggregation, with which a Python client joins those in browsers.

The twin of MaskedRound in www/package/federated/privacy/masks.ts, which says what it protects from.
"""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from . import agreement, shamir
from .fixed_point import quantise
from .masks import MAX_CLIENTS, SHARE_BYTES

SEED_BYTES = 32
MAX_ID = 2**64


class MaskedClient:
    """One client in one round: keys, shares, masked, unmask, once each and in this order.

    Whatever the server asks otherwise raises ValueError, and ends the round for this client.
    """

    def __init__(self, round_number: int, node: int, identity: ec.EllipticCurvePrivateKey) -> None:
        """A client with this node id, whose keys are signed by `identity`."""
        self.round = round_number
        self.node = node
        self._identity = identity
        self._encrypt = ec.generate_private_key(ec.SECP256R1())
        self._mask = ec.generate_private_key(ec.SECP256R1())
        self._seed = os.urandom(SEED_BYTES)
        self._phase = "keys"
        self._threshold = 0
        # By peer: what shares are sealed by, and what the pair's mask comes from.
        self._peers: dict[int, tuple[bytes, bytes]] = {}
        # By owner: a share of its mask key, and one of its seed.
        self._held: dict[int, tuple[bytes, bytes]] = {}

    def keys(self) -> dict[str, Any]:
        """The ConfigRecord "keys"."""
        self._enter("keys")
        encrypt, mask = agreement.point_of(self._encrypt), agreement.point_of(self._mask)
        data = agreement.signed_keys(self.round, encrypt, mask)
        signature = self._identity.sign(data, ec.ECDSA(hashes.SHA256()))
        self._phase = "shares"
        return {"encrypt": encrypt, "mask": mask, "signature": signature, "identity": self._pem()}

    def shares(self, peers: Mapping[str, Any]) -> dict[str, Any]:
        """Takes the ConfigRecord "peers" and gives "shares"."""
        self._enter("shares")
        ids = self._meet(peers)
        scalar = self._mask.private_numbers().private_value.to_bytes(32, "big")
        key_shares = shamir.split(scalar, len(ids) + 1, self._threshold)
        seed_shares = shamir.split(self._seed, len(ids) + 1, self._threshold)
        self._held[self.node] = (key_shares[0], seed_shares[0])
        sealed = []
        for node, key_share, seed_share in zip(ids, key_shares[1:], seed_shares[1:], strict=True):
            info = agreement.purpose("shares", self.round, self.node, node)
            sealed.append(agreement.seal(self._peers[node][0], info, key_share + seed_share))
        self._phase = "masked"
        return {"ids": ids, "sealed": sealed}

    def masked(
        self,
        shares: Mapping[str, Any],
        fixed: Mapping[str, Any],
        delta: np.ndarray,
        examples: int,
        train_loss: float,
    ) -> np.ndarray:
        """Takes the ConfigRecord "shares", and "range", "scale" and "weight-cap" of "config".

        Gives the float32 delta [n], which weighs min(examples, weight-cap), as masked uint32 [n + 2].
        """
        self._enter("masked")
        ids = _listed("shares", shares, ["sealed"])
        if any(node not in self._peers for node in ids) or len(set(ids)) < len(ids):
            raise ValueError("the shares are not those of peers, one of each")
        self._must_be_enough(len(ids) + 1)
        for node, sealed in zip(ids, shares["sealed"], strict=True):
            info = agreement.purpose("shares", self.round, node, self.node)
            plain = agreement.unseal(self._peers[node][0], info, sealed, 2 * SHARE_BYTES)
            self._held[node] = (plain[:SHARE_BYTES], plain[SHARE_BYTES:])

        weight = min(examples, int(fixed["weight-cap"]))
        numbers = quantise(delta, weight, train_loss, dict(fixed), len(ids) + 1)
        agreement.add_mask(numbers, self._seed, agreement.purpose("self-mask", self.round, self.node), 1)
        for node in ids:
            info = agreement.purpose("pair-mask", self.round, *sorted((self.node, node)))
            agreement.add_mask(numbers, self._peers[node][1], info, 1 if self.node < node else -1)
        self._phase = "unmask"
        return numbers

    def unmask(self, survivors: Mapping[str, Any]) -> dict[str, Any]:
        """Takes the ConfigRecord "survivors" and gives "unmask": one kind of share of each client."""
        self._enter("unmask")
        ids, dropped = list(survivors["ids"]), list(survivors["dropped"])
        if sorted(ids + dropped) != sorted(self._held):
            raise ValueError("survivors and dropped are not those whom this client masked against")
        if self.node not in ids:
            raise ValueError("the server counts this client, which sent its numbers, as dropped")
        self._must_be_enough(len(ids))
        held, self._held = self._held, {}
        return {
            "self_ids": ids,
            "self_shares": [held[node][1] for node in ids],
            "key_ids": dropped,
            "key_shares": [held[node][0] for node in dropped],
        }

    def _meet(self, peers: Mapping[str, Any]) -> list[int]:
        """Checks all that is told of the peers and agrees with each; gives their ids."""
        ids = _listed("peers", peers, ["encrypt", "mask", "signatures", "identities"])
        clients, self._threshold = len(ids) + 1, peers["threshold"]
        if not isinstance(self._threshold, int) or not clients < 2 * self._threshold <= 2 * clients:
            raise ValueError(
                f"a threshold of {self._threshold} for {clients} clients has to be more than half of them"
            )
        columns = [peers[name] for name in ("encrypt", "mask", "identities", "signatures")]
        seen: set[bytes | str] = {
            agreement.point_of(self._encrypt),
            agreement.point_of(self._mask),
            self._pem(),
        }
        for node, encrypt, mask, pem, signature in zip(ids, *columns, strict=True):
            if (
                not isinstance(node, int)
                or not 0 <= node < MAX_ID
                or node == self.node
                or node in self._peers
            ):
                raise ValueError(f"client {node} is named twice among the peers, or that is no id of a node")
            keys = agreement.public_key(encrypt), agreement.public_key(mask)
            if len({encrypt, mask, pem} - seen) < 3:
                raise ValueError(f"client {node} has a key that another client has, or the same one twice")
            seen |= {encrypt, mask, pem}
            if not agreement.is_signed(pem, agreement.signed_keys(self.round, encrypt, mask), signature):
                raise ValueError(f"the keys of client {node} are not signed by it for round {self.round}")
            self._peers[node] = agreement.agree(self._encrypt, keys[0]), agreement.agree(self._mask, keys[1])
        return ids

    def _pem(self) -> str:
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return self._identity.public_key().public_bytes(serialization.Encoding.PEM, form).decode()

    def _enter(self, phase: str) -> None:
        """Begins a phase, which says at its end what may follow; after a failure nothing may."""
        if self._phase != phase:
            raise ValueError(
                f"the phase {phase!r} of masked round {self.round} came where {self._phase!r} was due"
            )
        self._phase = "over"

    def _must_be_enough(self, clients: int) -> None:
        if clients < self._threshold:
            raise ValueError(f"{clients} clients are left, and below {self._threshold} nothing is given away")


def _listed(name: str, record: Mapping[str, Any], others: list[str]) -> list[int]:
    """The ids of a record whose other lists are as long."""
    ids = list(record["ids"])
    if not 1 <= len(ids) < MAX_CLIENTS or any(len(record[other]) != len(ids) for other in others):
        raise ValueError(
            f"the lists of {name} have to be as long as one another, from 1 to {MAX_CLIENTS - 1}"
        )
    return ids
