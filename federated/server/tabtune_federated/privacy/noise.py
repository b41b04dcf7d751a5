"""Clipping and Gaussian noise. www/package/federated/privacy/clip.ts and noise.ts say why they are so."""

import math
import os

import numpy as np

# Below 1 by an ulp of float32, so that rounded values do not carry the norm over the bound again.
BELOW_ONE = 1 - 2.0**-23
STEPS_OF_SIGMA = 1024
# Values whose noise is made at once.
PORTION = 2**18


def clip(delta: np.ndarray, bound: float) -> float:
    """Scales float32 [n] in place so that its L2 norm is at most `bound`; returns the norm that it had."""
    if not (bound > 0 and math.isfinite(bound)):
        raise ValueError(f"the bound to clip to is {bound}: it has to be a number above 0")
    norm = float(np.sqrt(np.sum(np.square(delta, dtype=np.float64))))
    if not math.isfinite(norm):
        raise ValueError("the delta has values that are not finite")
    if norm > bound:
        delta[:] = delta.astype(np.float64) * (bound / norm * BELOW_ONE)
    return norm


def grid_of(sigma: float) -> float:
    """The grid that noisy values lie on: the largest power of two that is at most sigma / 1024."""
    return 2.0 ** math.floor(math.log2(sigma)) / STEPS_OF_SIGMA


def add_noise(values: np.ndarray, sigma: float) -> None:
    """Adds a draw of its own from N(0, sigma²) to each of float32 or float64 [n], in place.

    Draws come from the system's cryptographic generator by Box and Muller's transform, and each sum is
    rounded to `grid_of(sigma)` against Mironov's attack (2012, CCS) on the last bits of floating-point noise.
    """
    if not (sigma > 0 and math.isfinite(sigma)):
        raise ValueError(f"the noise's deviation is {sigma}: it has to be a number above 0")
    grid = grid_of(sigma)
    for begin in range(0, values.size, PORTION):
        part = values[begin : begin + PORTION]
        part[:] = np.rint((part + _normal(part.size) * sigma) / grid) * grid


def _normal(n: int) -> np.ndarray:
    """Draws from N(0, 1), float64 [n]."""
    pairs = -(-n // 2)
    words = np.frombuffer(os.urandom(16 * pairs), dtype=np.uint64)
    # 53 of 64 random bits as a number in (0, 1], whose logarithm is finite.
    uniform = ((words >> np.uint64(11)).astype(np.float64) + 1) * 2.0**-53
    radius = np.sqrt(-2 * np.log(uniform[:pairs]))
    angle = 2 * np.pi * uniform[pairs:]
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:n]
