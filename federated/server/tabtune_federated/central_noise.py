"""Central privacy: the server adds Gaussian noise to the sum of clipped deltas, once, before anything is made of it."""

import numpy as np

from .privacy.noise import add_noise, clip
from .terms import Privacy


def clipped(delta: np.ndarray, privacy: Privacy) -> np.ndarray:
    """A delta, float32 [n], within the L2 norm `clip`. Clients clip theirs; one that does not is no exception."""
    delta = delta.copy()
    clip(delta, privacy.clip)
    return delta


def add_central_noise(total: np.ndarray, privacy: Privacy) -> None:
    """Adds N(0, (noise_multiplier * clip)^2) to each value of the sum, float64 [n], in place."""
    add_noise(total, privacy.noise_multiplier * privacy.clip)
