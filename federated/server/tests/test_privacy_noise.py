"""Clipping, noise, and what the accountant says of them."""

import math
import unittest

import numpy as np
from dp_accounting import gaussian_mechanism
from dp_accounting.rdp.rdp_privacy_accountant import DEFAULT_RDP_ORDERS

from tabtune_federated.privacy import add_noise, clip
from tabtune_federated.privacy.accountant import Accountant
from tabtune_federated.privacy.noise import PORTION, grid_of


class Clipping(unittest.TestCase):
    def test_a_delta_is_scaled_to_its_bound_and_never_past_it(self) -> None:
        for seed in range(50):
            delta = np.random.default_rng(seed).standard_normal(1001).astype(np.float32)
            before = delta.copy()
            norm = clip(delta, 1.5)
            self.assertAlmostEqual(norm, float(np.linalg.norm(before.astype(np.float64))), places=9)
            after = float(np.linalg.norm(delta.astype(np.float64)))
            self.assertTrue(1.5 * (1 - 1e-6) < after <= 1.5, after)
            np.testing.assert_allclose(delta, before * (1.5 / norm), rtol=1e-6)
        small = np.array([3, 4], np.float32)
        self.assertEqual(clip(small, 5), 5)
        self.assertEqual(small.tolist(), [3, 4])

    def test_what_cannot_be_clipped_is_refused(self) -> None:
        with self.assertRaisesRegex(ValueError, "not finite"):
            clip(np.array([np.nan], np.float32), 1)
        for bound in (0, -1, math.nan, math.inf):
            with self.assertRaisesRegex(ValueError, "bound"):
                clip(np.zeros(1, np.float32), bound)


class Noise(unittest.TestCase):
    def test_it_has_the_moments_of_a_normal_distribution(self) -> None:
        """Each bound is five deviations of its estimate: a right generator misses one in a million runs."""
        n, sigma = 1_000_000, 0.3
        for kind in (np.float32, np.float64):
            noise = np.zeros(n, kind)
            add_noise(noise, sigma)
            z = noise.astype(np.float64) / sigma
            self.assertLess(abs(z.mean()), 5 / math.sqrt(n))
            self.assertLess(abs((z**2).mean() - 1), 5 * math.sqrt(2 / n))
            self.assertLess(abs((z**3).mean()), 5 * math.sqrt(15 / n))
            self.assertLess(abs((z**4).mean() - 3), 5 * math.sqrt(96 / n))
            self.assertLess(abs((np.abs(z) > 3).mean() - 0.0026998), 5 * math.sqrt(0.0027 / n))
            # Neighbours, and the two that are made as a pair.
            for lag in (1, PORTION // 2):
                self.assertLess(abs((z[:-lag] * z[lag:]).mean()), 5 / math.sqrt(n - lag))

    def test_it_is_never_the_same_and_lies_on_its_grid(self) -> None:
        for sigma in (1e-6, 0.37, 1, 700):
            grid = grid_of(sigma)
            self.assertTrue(sigma / 2049 < grid <= sigma / 1024)
            one, other = np.full(999, 0.1), np.full(999, 0.1)
            add_noise(one, sigma)
            add_noise(other, sigma)
            self.assertTrue((one / grid == np.rint(one / grid)).all())
            self.assertLess((one == other).sum(), 20)
        for sigma in (0, -1, math.nan, math.inf):
            with self.assertRaisesRegex(ValueError, "deviation"):
                add_noise(one, sigma)


def epsilon_spent(
    multiplier: float, rounds: int, delta: float, place: str = "central", sampling: float = 1.0
) -> float:
    accountant = Accountant(multiplier, delta, place, sampling)
    accountant.spend(rounds)
    return accountant.epsilon


def by_hand(multiplier: float, rounds: int, delta: float) -> float:
    """Mironov 2017 (arXiv 1702.07476), corollary 3: a round of Gaussian noise is (a, a / (2 s²))-RDP, and
    rounds add up.

    Converted by Canonne et al. 2020 (arXiv 2004.00010), proposition 12, at the best of the orders.
    """
    epsilons = [
        rounds * a / (2 * multiplier**2) + math.log1p(-1 / a) - (math.log(delta) + math.log(a)) / (a - 1)
        for a in DEFAULT_RDP_ORDERS
        if a > 1.01
    ]
    return max(0.0, min(epsilons))


class Accounting(unittest.TestCase):
    CASES = [
        (0.7, 1, 1e-5),
        (1.0, 3, 1e-5),
        (1.0, 100, 1e-6),
        (2.5, 40, 1e-5),
        (4.0, 1000, 1e-7),
        (8.0, 10, 1e-5),
    ]

    def test_epsilon_is_the_one_by_hand(self) -> None:
        for multiplier, rounds, delta in self.CASES:
            expected = by_hand(multiplier, rounds, delta)
            self.assertLess(abs(epsilon_spent(multiplier, rounds, delta) - expected), 1e-9)
            # Two deltas of one client are two bounds apart, so twice the noise is needed.
            local = epsilon_spent(2 * multiplier, rounds, delta, "local")
            self.assertLess(abs(local - expected), 1e-9)

    def test_epsilon_lies_between_the_exact_one_and_the_closed_form(self) -> None:
        """T rounds are one with noise s / sqrt(T), whose exact epsilon is known (Balle and Wang 2018, arXiv
        1805.06530).

        From above: T / (2 s²) + sqrt(2 T ln(1 / delta)) / s, which is Mironov's own conversion at the best
        real order. The orders are a grid, so a hundredth is allowed for.
        """
        for multiplier, rounds, delta in self.CASES:
            spent = epsilon_spent(multiplier, rounds, delta)
            exact = gaussian_mechanism.get_epsilon_gaussian(multiplier / math.sqrt(rounds), delta)
            closed = rounds / (2 * multiplier**2) + math.sqrt(2 * rounds * math.log(1 / delta)) / multiplier
            self.assertTrue(exact <= spent <= closed * 1.01, (exact, spent, closed))
            self.assertGreater(spent, closed / 2)

    def test_more_rounds_cost_more_and_being_drawn_costs_less(self) -> None:
        accountant = Accountant(1.0, 1e-5)
        self.assertEqual(accountant.epsilon, 0)
        for _ in range(3):
            accountant.spend()
        self.assertEqual(accountant.epsilon, epsilon_spent(1.0, 3, 1e-5))
        self.assertLess(epsilon_spent(1.0, 10, 1e-5), epsilon_spent(1.0, 11, 1e-5))
        with self.assertLogs("absl", "WARNING"):  # of orders that it leaves out
            self.assertLess(epsilon_spent(1.0, 10, 1e-5, sampling=0.1), epsilon_spent(1.0, 10, 1e-5) / 3)

    def test_what_cannot_be_accounted_is_refused(self) -> None:
        for arguments, text in [
            ((1.0, 1, 1e-5, "nowhere"), "central or local"),
            ((1.0, 1, 1e-5, "local", 0.5), "sees who takes part"),
            ((1.0, 1, 1e-5, "central", 0), "sampling probability"),
            ((1.0, 1, 1e-5, "central", 1.5), "sampling probability"),
            ((1.0, 1, 1e-5, "central", math.nan), "sampling probability"),
            ((0.0, 1, 1e-5), "noise_multiplier"),
            ((1.0, 1, 0.0), "delta"),
            ((1.0, -1, 1e-5), "count"),
        ]:
            with self.assertRaisesRegex(ValueError, text):
                epsilon_spent(*arguments)


if __name__ == "__main__":
    unittest.main()
