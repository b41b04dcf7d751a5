"""Shamir's secret sharing (1979) over GF(2^8) with the polynomial x^8 + x^4 + x^3 + x + 1.

Shares are those of the npm package shamir-secret-sharing, which clients in a browser use: the value of each
byte's polynomial, then the point. PyCryptodome's are over GF(2^128) and do not fit them.
"""

import secrets

import numpy as np

MAX_SHARES = 255


def _tables() -> tuple[np.ndarray, np.ndarray]:
    """Powers of the generator 3, twice over so that sums of two logarithms need no remainder; logarithms."""
    powers = np.zeros(510, dtype=np.uint8)
    logs = np.zeros(256, dtype=np.int64)
    value = 1
    for exponent in range(255):
        powers[exponent] = powers[exponent + 255] = value
        logs[value] = exponent
        doubled = value << 1
        value ^= doubled ^ (0x11B if doubled & 0x100 else 0)
    return powers, logs


_POWERS, _LOGS = _tables()


def _times(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    product = _POWERS[_LOGS[a] + _LOGS[b]]
    return np.where((a == 0) | (b == 0), np.uint8(0), product)


def split(secret: bytes, shares: int, threshold: int) -> list[bytes]:
    """Shares a secret at the points 1, 2, …; any `threshold` of them give it back, fewer tell nothing."""
    if not 2 <= threshold <= shares <= MAX_SHARES:
        raise ValueError(f"a secret is shared among 2 to {MAX_SHARES}, not {threshold} of {shares}")
    coefficients = np.frombuffer(secrets.token_bytes(len(secret) * (threshold - 1)), dtype=np.uint8)
    coefficients = coefficients.reshape(threshold - 1, len(secret))
    points = np.arange(1, shares + 1, dtype=np.uint8)[:, None]
    values = np.zeros((shares, len(secret)), dtype=np.uint8)
    # Horner's method, from the highest power down to the secret itself.
    for row in [*coefficients, np.frombuffer(secret, dtype=np.uint8)]:
        values = _times(values, points) ^ row
    return [bytes(value) + bytes(point) for value, point in zip(values, points, strict=True)]


def combine(shares: list[bytes], threshold: int) -> bytes:
    """The secret of at least `threshold` shares, all of the same length.

    Raises ValueError where there are fewer, where two are of one point, or where those beyond the threshold
    do not lie on the polynomial of the others, as when one is false.
    """
    if len(shares) < threshold:
        raise ValueError(f"{len(shares)} shares came, and {threshold} are needed")
    table = np.array([list(share) for share in shares], dtype=np.uint8)
    points, values = table[:, -1], table[:, :-1]
    if (points == 0).any() or len(set(points.tolist())) < len(points):
        raise ValueError("two shares are of the same point, or one of point 0")
    if not _belong_together(points, values, threshold):
        raise ValueError("the shares do not belong together")
    return _at_zero(points[:threshold], values[:threshold])


def _log_differences(points: np.ndarray) -> np.ndarray:
    """For each point the logarithm of the product of its differences to the others."""
    differences = points[:, None] ^ points[None, :]
    np.fill_diagonal(differences, 1)
    return _LOGS[differences].sum(axis=1)


def _at_zero(points: np.ndarray, values: np.ndarray) -> bytes:
    """Lagrange's interpolation: each value times the product of x_j / (x_j - x_i) over the other points."""
    logs = _LOGS[points]
    return bytes(_weighted_sum(logs.sum() - logs - _log_differences(points), values))


def _belong_together(points: np.ndarray, values: np.ndarray, threshold: int) -> bool:
    """Whether all values are those of one polynomial of `threshold` coefficients.

    They are a Reed-Solomon code word then (McEliece and Sarwate 1981): the sum of values times x_i^k over the
    product of (x_i - x_j) vanishes for each k below the number of shares that are more than enough.
    """
    logs, differences = _LOGS[points], _log_differences(points)
    spare = range(len(points) - threshold)
    return not any(_weighted_sum(power * logs - differences, values).any() for power in spare)


def _weighted_sum(log_weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    weights = _POWERS[log_weights % 255]
    return np.bitwise_xor.reduce(_times(values, weights[:, None]), axis=0)
