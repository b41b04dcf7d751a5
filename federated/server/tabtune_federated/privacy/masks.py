"""The server's half of a round of secure aggregation, for a server that is curious but honest.

This is Protocol 1 of Bonawitz et al. 2017 (CCS, "Practical secure aggregation for privacy-preserving
machine learning"). It takes and gives plain dicts, as they stand in the ConfigRecords of messages, and knows
nothing of Flower. What is malformed counts as if its sender had left, and `refused` says why.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric import ec

from . import agreement, shamir

SHARE_BYTES = 33
"""A share of 32 bytes, and the point that it is the value at."""

SEALED_BYTES = agreement.NONCE_BYTES + 2 * SHARE_BYTES + agreement.TAG_BYTES

MAX_CLIENTS = shamir.MAX_SHARES

# P-256's order (SP 800-186): private keys are below it.
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551

Replies = Mapping[int, Mapping[str, Any]]


class TooFewClients(RuntimeError):
    """So many clients have left that the sum stays hidden, and nothing more can be asked."""


def threshold_for(clients: int) -> int:
    """Two thirds, rounded up, which is more than half, and at least two."""
    return max(-(-2 * clients // 3), 2)


class MaskedRound:
    """One round: keys, peers_for, shares, shares_for, masked, survivors, unmask, in this order.

    Each of keys, shares, masked and unmask takes the replies that came, by node id, and raises TooFewClients
    where they are not enough.
    """

    def __init__(self, round_number: int, n: int, minimum: int = 2) -> None:
        """A round for deltas of n values, which begins with at least `minimum` clients."""
        self.round = round_number
        self.n = n
        self.minimum = max(minimum, 2)
        self.threshold = 0
        self.refused: dict[int, str] = {}
        """Why a reply of a client was left out."""
        self._phase = "keys"
        self._keys: dict[int, Mapping[str, Any]] = {}
        # By sender, then by receiver.
        self._sealed: dict[int, dict[int, bytes]] = {}
        self._sum = np.zeros(n + 2, dtype=np.uint32)
        self._survivors: list[int] = []

    def keys(self, replies: Replies) -> None:
        """Takes {"encrypt", "mask", "signature", "identity"} of each client."""
        self._enter("keys", "shares")
        taken: set[bytes | str] = set()

        def check(node: int, reply: Mapping[str, Any]) -> None:
            own = [reply["encrypt"], reply["mask"], reply["identity"]]
            for point in own[:2]:
                agreement.public_key(point)
            data = agreement.signed_keys(self.round, own[0], own[1])
            if not agreement.is_signed(own[2], data, reply["signature"]):
                raise ValueError("its keys are not signed by its identity for this round")
            if len(self._keys) == MAX_CLIENTS:
                raise ValueError(f"a masked round has at most {MAX_CLIENTS} clients")
            if len({*own}) < len(own) or taken & {*own}:
                raise ValueError("it has a key that another client has, or the same one twice")
            taken.update(own)
            self._keys[node] = reply

        self._take(replies, list(replies), check)
        self.threshold = threshold_for(len(self._keys))
        self._must_be_enough(len(self._keys), self.minimum)

    def peers_for(self, node: int) -> dict[str, Any]:
        """The ConfigRecord "peers" for one of those who sent keys: all others."""
        others = [other for other in self._keys if other != node]
        return {
            "ids": others,
            "encrypt": [self._keys[other]["encrypt"] for other in others],
            "mask": [self._keys[other]["mask"] for other in others],
            "signatures": [self._keys[other]["signature"] for other in others],
            "identities": [self._keys[other]["identity"] for other in others],
            "threshold": self.threshold,
        }

    @property
    def members(self) -> list[int]:
        """Those who sent keys; from `shares` on those who sent shares, who are masked against one another."""
        return list(self._keys if self._phase == "shares" else self._sealed)

    def shares(self, replies: Replies) -> None:
        """Takes {"ids", "sealed"} of each client: shares to all others who sent keys."""
        self._enter("shares", "masked")

        def check(node: int, reply: Mapping[str, Any]) -> None:
            ids, sealed = list(reply["ids"]), list(reply["sealed"])
            if sorted(ids) != sorted(other for other in self._keys if other != node) or len(sealed) != len(
                ids
            ):
                raise ValueError("its shares are not for its peers")
            if any(not isinstance(one, bytes) or len(one) != SEALED_BYTES for one in sealed):
                raise ValueError("its sealed shares have another length")
            self._sealed[node] = dict(zip(ids, sealed, strict=True))

        self._take(replies, list(self._keys), check)
        self._must_be_enough(len(self._sealed), self.threshold)

    def shares_for(self, node: int) -> dict[str, Any]:
        """The ConfigRecord "shares" for one of those who sent shares: what the others sealed to it."""
        others = [other for other in self._sealed if other != node]
        return {"ids": others, "sealed": [self._sealed[other][node] for other in others]}

    def masked(self, replies: Mapping[int, np.ndarray]) -> None:
        """Adds up the masked numbers, uint32 [n + 2] of each client, of which none is kept."""
        self._enter("masked", "unmask")

        def check(node: int, numbers: np.ndarray) -> None:
            if numbers.dtype != np.uint32 or numbers.shape != self._sum.shape:
                raise ValueError(
                    f"its numbers are {numbers.dtype} {list(numbers.shape)}, not uint32 [{self.n + 2}]"
                )
            np.add(self._sum, numbers, out=self._sum)
            self._survivors.append(node)

        self._take(replies, list(self._sealed), check)
        self._must_be_enough(len(self._survivors), self.threshold)

    def survivors(self) -> dict[str, list[int]]:
        """The ConfigRecord "survivors", the same for all whose numbers came."""
        dropped = [node for node in self._sealed if node not in self._survivors]
        return {"ids": list(self._survivors), "dropped": dropped}

    def unmask(self, replies: Replies) -> np.ndarray:
        """Takes shares of survivors' seeds and of the mask keys of those dropped, and gives the sum.

        That is uint32 [n + 2]. Raises ValueError where shares of a secret do not belong together.
        """
        self._enter("unmask", "over")
        survivors, dropped = self.survivors().values()
        seeds: dict[int, list[bytes]] = {node: [] for node in survivors}
        scalars: dict[int, list[bytes]] = {node: [] for node in dropped}

        def check(_node: int, reply: Mapping[str, Any]) -> None:
            kinds = [(seeds, "self_ids", "self_shares"), (scalars, "key_ids", "key_shares")]
            checked = [(kind, _listed(reply, ids, shares, list(kind))) for kind, ids, shares in kinds]
            for kind, given in checked:
                for owner, share in given.items():
                    kind[owner].append(share)

        answered = self._take(replies, survivors, check)
        self._must_be_enough(answered, self.threshold)
        for node, shares in seeds.items():
            seed = self._combined(node, shares)
            agreement.add_mask(self._sum, seed, agreement.purpose("self-mask", self.round, node), -1)
        for node, shares in scalars.items():
            self._take_away_pairs(node, self._mask_key(node, shares))
        return self._sum

    def _mask_key(self, node: int, shares: list[bytes]) -> ec.EllipticCurvePrivateKey:
        scalar = int.from_bytes(self._combined(node, shares), "big")
        if 0 < scalar < ORDER:
            key = ec.derive_private_key(scalar, ec.SECP256R1())
            if agreement.point_of(key) == self._keys[node]["mask"]:
                return key
        raise ValueError(f"the shares of client {node} do not give its mask key")

    def _take_away_pairs(self, node: int, key: ec.EllipticCurvePrivateKey) -> None:
        """Takes away what each survivor masked against one who left."""
        for survivor in self._survivors:
            secret = agreement.agree(key, agreement.public_key(self._keys[survivor]["mask"]))
            info = agreement.purpose("pair-mask", self.round, *sorted((node, survivor)))
            # The lower id added it.
            agreement.add_mask(self._sum, secret, info, -1 if survivor < node else 1)

    def _combined(self, node: int, shares: list[bytes]) -> bytes:
        try:
            return shamir.combine(shares, self.threshold)
        except ValueError as error:
            raise ValueError(f"the shares of client {node}: {error}") from error

    def _take(self, replies: Mapping[int, Any], awaited: list[int], check: Callable[[int, Any], None]) -> int:
        """Checks the replies of those awaited, and gives how many were right."""
        right = 0
        for node in awaited:
            if node not in replies:
                continue
            try:
                check(node, replies[node])
                right += 1
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                self.refused[node] = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        return right

    def _enter(self, phase: str, following: str) -> None:
        if self._phase != phase:
            raise RuntimeError(
                f"the phase {phase!r} of masked round {self.round} came where {self._phase!r} was due"
            )
        self._phase = following

    def _must_be_enough(self, clients: int, needed: int) -> None:
        if clients < needed:
            self._phase = "over"
            raise TooFewClients(
                f"{clients} clients are left of masked round {self.round}, and {needed} are needed"
            )


def _listed(reply: Mapping[str, Any], ids: str, shares: str, owners: list[int]) -> dict[int, bytes]:
    """Shares by their owners, one of each."""
    named, given = list(reply[ids]), list(reply[shares])
    if sorted(named) != sorted(owners) or len(given) != len(named):
        raise ValueError(f"its {ids} are not those that were asked for")
    if any(not isinstance(share, bytes) or len(share) != SHARE_BYTES for share in given):
        raise ValueError(f"its {shares} have another length")
    return dict(zip(named, given, strict=True))
