"""Masked rounds between Python clients and the server's half: exact sums, those who leave, and what is
refused.
"""

import itertools
import random
import unittest
from collections.abc import Callable
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric import ec

from tabtune_federated.privacy import (
    MaskedClient,
    MaskedRound,
    TooFewClients,
    quantise,
    read_sum,
    scale_for,
    sensitivity,
    shamir,
    threshold_for,
)

N = 300
CAP = 5
ROUND = 4
Change = Callable[[dict[int, Any]], None]


def nothing(_replies: dict[int, Any]) -> None:
    pass


def without(*nodes: int) -> Change:
    def leave(replies: dict[int, Any]) -> None:
        for node in nodes:
            del replies[node]

    return leave


class Play:
    """A round of clients 0, 1, …, whose replies a test changes on their way to the server."""

    def __init__(self, clients: int, minimum: int = 2) -> None:
        self.clients = {
            node: MaskedClient(ROUND, node, ec.generate_private_key(ec.SECP384R1()))
            for node in range(clients)
        }
        self.server = MaskedRound(ROUND, N, minimum)
        values = np.random.default_rng(5)
        self.deltas = {node: values.standard_normal(N).astype(np.float32) for node in self.clients}
        self.fixed = {"range": 4.0 * CAP, "scale": scale_for(clients, 4.0 * CAP), "weight-cap": CAP}

    def keys(self, change: Change = nothing) -> None:
        replies = {node: client.keys() for node, client in self.clients.items()}
        change(replies)
        self.server.keys(replies)

    def shares(self, change: Change = nothing) -> None:
        replies = {
            node: self.clients[node].shares(self.server.peers_for(node)) for node in self.server.members
        }
        change(replies)
        self.server.shares(replies)

    def masked(self, change: Change = nothing) -> None:
        replies = {node: self.numbers(node) for node in self.server.members}
        change(replies)
        self.server.masked(replies)

    def numbers(self, node: int) -> np.ndarray:
        shares = self.server.shares_for(node)
        return self.clients[node].masked(shares, self.fixed, self.deltas[node], node + 1, 1.5)

    def unmask(self, change: Change = nothing) -> np.ndarray:
        survivors = self.server.survivors()
        replies = {node: self.clients[node].unmask(survivors) for node in survivors["ids"]}
        change(replies)
        return self.server.unmask(replies)

    def plain(self, nodes: list[int]) -> np.ndarray:
        count = len(self.server.members)
        plain = [quantise(self.deltas[node], min(node + 1, CAP), 1.5, self.fixed, count) for node in nodes]
        return np.sum(plain, axis=0, dtype=np.uint32)


class Rounds(unittest.TestCase):
    def test_the_sum_is_exact_whoever_leaves(self) -> None:
        play = Play(22)
        play.keys(without(21))
        play.shares(without(20))
        play.masked(without(0, 5, 6, 13, 19))
        total = play.unmask(without(7))
        survivors = [node for node in range(20) if node not in (0, 5, 6, 13, 19)]
        self.assertEqual(play.server.survivors(), {"ids": survivors, "dropped": [0, 5, 6, 13, 19]})
        np.testing.assert_array_equal(total, play.plain(survivors))
        summed = read_sum(total, play.fixed["scale"], len(survivors), CAP)
        weights = {node: min(node + 1, CAP) for node in survivors}
        expected = sum(weights[node] * play.deltas[node].astype(np.float64) for node in survivors)
        np.testing.assert_allclose(summed.values, expected, atol=len(survivors) / play.fixed["scale"])
        self.assertEqual((summed.weight, summed.train_loss), (sum(weights.values()), 1.5))

    def test_two_clients_are_enough(self) -> None:
        play = Play(2)
        play.keys()
        play.shares()
        play.masked()
        np.testing.assert_array_equal(play.unmask(), play.plain([0, 1]))

    def test_below_the_threshold_each_phase_ends_the_round(self) -> None:
        phases = ["keys", "shares", "masked", "unmask"]
        # Of nine clients six have to stay.
        for index, phase in enumerate(phases):
            play = Play(9, minimum=6)
            for earlier in phases[:index]:
                getattr(play, earlier)()
            with self.assertRaisesRegex(
                TooFewClients, "5 clients are left of masked round 4, and 6 are needed"
            ):
                getattr(play, phase)(without(0, 1, 2, 3))
            with self.assertRaisesRegex(RuntimeError, "'over' was due"):
                play.server.unmask({})

    def test_a_reply_that_is_malformed_counts_as_none(self) -> None:
        def spoil_keys(replies: dict[int, Any]) -> None:
            replies[0]["signature"] = replies[1]["signature"]
            replies[1]["mask"] = bytes([4]) + bytes(64)
            replies[2]["encrypt"] = None
            del replies[3]["identity"]
            replies[5]["identity"] = "-----BEGIN PUBLIC KEY-----\n"
            replies[6] = dict(replies[4])

        def spoil_shares(replies: dict[int, Any]) -> None:
            replies[7]["ids"] = [*replies[7]["ids"][:-1], 7]
            replies[8]["sealed"] = replies[8]["sealed"][1:]
            replies[9]["sealed"][0] = replies[9]["sealed"][0][1:]

        def spoil_numbers(replies: dict[int, Any]) -> None:
            replies[10] = replies[10].astype(np.int64)
            replies[11] = replies[11][:-1]

        def spoil_unmasking(replies: dict[int, Any]) -> None:
            replies[12]["self_ids"], replies[12]["key_ids"] = replies[12]["key_ids"], replies[12]["self_ids"]
            replies[13]["self_shares"][0] = b"short"

        play = Play(30)
        play.keys(spoil_keys)
        self.assertEqual(set(play.server.refused), {0, 1, 2, 3, 5, 6})
        play.shares(spoil_shares)
        play.masked(spoil_numbers)
        total = play.unmask(spoil_unmasking)
        self.assertEqual(set(play.server.refused), {0, 1, 2, 3, *range(5, 14)})
        self.assertIn("not signed by its identity", play.server.refused[0])
        self.assertIn("int64 [302], not uint32 [302]", play.server.refused[10])
        np.testing.assert_array_equal(total, play.plain([4, *range(12, 30)]))

    def test_a_false_share_is_noticed(self) -> None:
        def falsify(kind: str) -> Change:
            def change(replies: dict[int, Any]) -> None:
                share = replies[1][kind][0]
                replies[1][kind][0] = bytes([share[0] ^ 1]) + share[1:]

            return change

        for kind, text in [
            ("self_shares", "client 1: the shares do not belong together"),
            ("key_shares", "client 0"),
        ]:
            play = Play(9)
            play.keys()
            play.shares()
            play.masked(without(0))
            with self.assertRaisesRegex(ValueError, text):
                play.unmask(falsify(kind))

    def test_a_false_share_of_just_enough_is_noticed_by_the_key_or_the_weights(self) -> None:
        play = Play(3)
        play.keys()
        play.shares()
        play.masked(without(0))

        def falsify(replies: dict[int, Any]) -> None:
            replies[1]["key_shares"][0] = bytes(32) + replies[1]["key_shares"][0][-1:]

        with self.assertRaisesRegex(ValueError, "client 0 do not give its mask key"):
            play.unmask(falsify)
        with self.assertRaisesRegex(ValueError, "cannot sum to 7"):
            read_sum(np.array([0, 7, 0], np.uint32), 1, 1, CAP)
        with self.assertRaisesRegex(ValueError, "cannot sum to -1"):
            read_sum(np.array([0, 2**32 - 1, 0], np.uint32), 1, 1, CAP)


class Refusals(unittest.TestCase):
    def refuse_peers(self, text: str, spoil: Callable[[dict[str, Any]], None]) -> None:
        play = Play(4)
        play.keys()
        peers = play.server.peers_for(0)
        spoil(peers)
        with self.assertRaisesRegex(ValueError, text):
            play.clients[0].shares(peers)
        with self.assertRaisesRegex(ValueError, "'over' was due"):
            play.clients[0].shares(play.server.peers_for(0))

    def test_a_client_checks_its_peers(self) -> None:
        self.refuse_peers("threshold of 2", lambda peers: peers.update(threshold=2))
        self.refuse_peers("threshold of 5", lambda peers: peers.update(threshold=5))
        self.refuse_peers("named twice", lambda peers: peers["ids"].__setitem__(1, 0))
        self.refuse_peers("named twice", lambda peers: peers["ids"].__setitem__(1, 1))
        self.refuse_peers("no id", lambda peers: peers["ids"].__setitem__(1, -1))
        self.refuse_peers("as long as one another", lambda peers: peers["mask"].pop())
        self.refuse_peers("no point", lambda peers: peers["mask"].__setitem__(0, bytes(65)))
        self.refuse_peers(
            "a key that another", lambda peers: peers["encrypt"].__setitem__(1, peers["encrypt"][0])
        )
        self.refuse_peers("same one twice", lambda peers: peers["encrypt"].__setitem__(0, peers["mask"][0]))
        self.refuse_peers(
            "a key that another", lambda peers: peers["identities"].__setitem__(1, peers["identities"][0])
        )
        self.refuse_peers(
            "not signed by it", lambda peers: peers["signatures"].__setitem__(1, peers["signatures"][0])
        )

    def test_a_client_checks_whom_it_masks_against_and_who_survives(self) -> None:
        def shares(spoil: Callable[[dict[str, Any]], None]) -> str:
            play = Play(5)
            play.keys()
            play.shares()
            told = play.server.shares_for(1)
            spoil(told)
            with self.assertRaises(ValueError) as caught:
                play.clients[1].masked(told, play.fixed, play.deltas[1], 1, 0.0)
            return str(caught.exception)

        self.assertIn("not sealed for this client", shares(lambda told: told["sealed"].reverse()))
        self.assertIn("one of each", shares(lambda told: told["ids"].__setitem__(0, told["ids"][1])))
        self.assertIn("one of each", shares(lambda told: told["ids"].__setitem__(0, 1)))
        self.assertIn(
            "3 clients are left",
            shares(lambda told: told.update(ids=told["ids"][:2], sealed=told["sealed"][:2])),
        )

        for ids, dropped, text in [
            ([0, 1, 2, 3, 4], [1], "not those"),
            ([0, 1, 2, 3], [], "not those"),
            ([0, 1, 2, 3], [9], "not those"),
            ([0, 1, 2], [3, 4], "3 clients are left, and below 4"),
            ([0, 2, 3, 4], [1], "as dropped"),
        ]:
            play = Play(5)
            play.keys()
            play.shares()
            play.masked()
            with self.assertRaisesRegex(ValueError, text):
                play.clients[1].unmask({"ids": ids, "dropped": dropped})
            with self.assertRaisesRegex(ValueError, "'over' was due"):
                play.clients[1].unmask(play.server.survivors())

    def test_the_server_takes_no_more_than_there_are_shares(self) -> None:
        server = MaskedRound(1, 1)
        identity = ec.generate_private_key(ec.SECP384R1())
        server._keys = {node: {} for node in range(1000, 1000 + 255)}
        server.keys({1: MaskedClient(1, 1, identity).keys()})
        self.assertIn("at most 255 clients", server.refused[1])


class Numbers(unittest.TestCase):
    def test_no_sum_leaves_int32(self) -> None:
        for clients, bound in itertools.product((1, 2, 3, 7, 20, 255), (0.013, 1.0, 3.7, 1000.0)):
            scale = scale_for(clients, bound)
            fixed = {"range": bound, "scale": scale}
            for sign in (1, -1):
                numbers = quantise(np.array([sign * 1e9], np.float32), 1, 0.0, fixed, clients)
                self.assertLess(abs(int(numbers.view(np.int32)[0])) * clients, 2**31)
            with self.assertRaisesRegex(ValueError, "do not fit"):
                quantise(np.zeros(1, np.float32), 1, 0.0, fixed, 2 * clients + 1)
        for clients, bound in [(0, 1.0), (1, 0.0), (1, float("nan")), (1, float("inf"))]:
            with self.assertRaisesRegex(ValueError, "no scale fits"):
                scale_for(clients, bound)
        with self.assertRaisesRegex(ValueError, "too large for sums of 2 clients"):
            scale_for(2, 2.0**31)

    def test_values_are_rounded_half_to_even_and_clamped(self) -> None:
        delta = np.array([0.25, 0.75, -0.25, -0.75, 9, -9], np.float32)
        numbers = quantise(delta, 1, 0.0, {"range": 4, "scale": 2}, 2).view(np.int32)
        self.assertEqual(numbers.tolist(), [0, 2, 0, -2, 8, -8, 1, 0])
        for bad in (np.nan, np.inf):
            with self.assertRaisesRegex(ValueError, "not finite"):
                quantise(np.array([bad], np.float32), 1, 0.0, {"range": 4, "scale": 2}, 2)
            with self.assertRaisesRegex(ValueError, "not finite"):
                quantise(delta, 1, bad, {"range": 4, "scale": 2}, 2)

    def test_what_rounding_adds_to_a_clients_share_is_bounded(self) -> None:
        scale = 7
        # Each is rounded up to a whole step.
        delta = np.full(1000, 0.6 / scale, np.float32)
        norm = float(np.linalg.norm(delta))
        steps = quantise(delta, 1, 0.0, {"range": 4, "scale": scale}, 2).view(np.int32)[:-2]
        self.assertLess(np.linalg.norm(steps / scale), sensitivity(norm, 1000, scale))
        self.assertGreater(np.linalg.norm(steps / scale), norm, "which is more than the delta's own norm")

    def test_thresholds_are_more_than_half(self) -> None:
        self.assertEqual([threshold_for(clients) for clients in (2, 3, 4, 5, 20, 255)], [2, 2, 3, 4, 14, 170])
        for clients in range(2, 256):
            self.assertTrue(clients < 2 * threshold_for(clients) <= 2 * clients)


class Sharing(unittest.TestCase):
    def test_any_shares_that_are_enough_give_the_secret(self) -> None:
        secret = random.randbytes(32)
        shares = shamir.split(secret, 6, 4)
        for count in (4, 5, 6):
            for some in itertools.permutations(shares, count):
                self.assertEqual(shamir.combine(list(some), 4), secret)
        for some in itertools.combinations(shares, 3):
            with self.assertRaisesRegex(ValueError, "3 shares came, and 4 are needed"):
                shamir.combine(list(some), 4)
            self.assertNotEqual(shamir.combine(list(some), 3), secret)

    def test_fewer_shares_go_with_every_secret(self) -> None:
        """Of one byte and a threshold of two, a share at a given point takes all values alike."""
        counts = np.zeros(256)
        for _ in range(25_600):
            counts[shamir.split(b"\x2a", 2, 2)[0][0]] += 1
        chi = ((counts - 100) ** 2 / 100).sum()
        # 255 degrees of freedom: five deviations of 22.6 either way.
        self.assertTrue(255 - 113 < chi < 255 + 113, chi)

    def test_shares_that_cannot_be_are_refused(self) -> None:
        one, two, three = shamir.split(bytes(32), 3, 2)
        for index, byte in itertools.product(range(3), range(32)):
            false = [bytearray(share) for share in (one, two, three)]
            false[index][byte] ^= random.randrange(1, 256)
            with self.assertRaisesRegex(ValueError, "do not belong together"):
                shamir.combine([bytes(share) for share in false], 2)
        for shares, text in [
            ([one, one], "same point"),
            ([one, two[:-1] + b"\0"], "point 0"),
            ([one, two, b"\1" + three[1:]], "do not belong together"),
        ]:
            with self.assertRaisesRegex(ValueError, text):
                shamir.combine(shares, 2)
        for count, threshold in [(256, 2), (2, 3), (2, 1)]:
            with self.assertRaisesRegex(ValueError, "2 to 255"):
                shamir.split(bytes(32), count, threshold)


if __name__ == "__main__":
    unittest.main()
