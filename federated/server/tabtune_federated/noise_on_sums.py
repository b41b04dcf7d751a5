"""Noise and what it costs. Central privacy: the server adds Gaussian noise to the sum of clipped deltas,
once, before anything is made of it.
"""

import numpy as np

from .privacy.accountant import Accountant
from .privacy.noise import add_noise, clip
from .terms import Privacy


def clipped(delta: np.ndarray, privacy: Privacy) -> np.ndarray:
    """A delta, float32 [n], within the L2 norm `clip`. Clients clip theirs; one that does not is no
    exception.
    """
    delta = delta.copy()
    clip(delta, privacy.clip)
    return delta


def add_central_noise(total: np.ndarray, privacy: Privacy, sensitivity: float) -> None:
    """Adds N(0, (noise_multiplier * sensitivity)^2) to each value of the sum, float64 [n], in place.

    The sensitivity is the most that one client adds in L2: `clip`, and a little more where sums are of
    rounded values.
    """
    add_noise(total, privacy.noise_multiplier * sensitivity)


def epsilon(privacy: Privacy, releases: int) -> float:
    """What a client has given away at `delta` after so many releases, with noise of its own or on the sum."""
    accountant = Accountant(privacy.noise_multiplier, privacy.delta, privacy.noise)
    if releases:
        accountant.spend(releases)
    return accountant.epsilon
