"""How a delta travels: f32, f16, or 4 bits by NF4.

The twin of www/package/federated/privacy/codec.ts, to the bit.
"""

import numpy as np

BLOCK = 128
"""Values of a block of 4-bit codes, which share a scale."""

HALF_MAX = np.float32(65504)

# bitsandbytes' values in f32 (Dettmers et al. 2023, arXiv 2305.14314, appendix E).
NF4 = np.array(
    [
        -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453,
        -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0,
        0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
        0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
    ],
    dtype=np.float32,
)  # fmt: skip
# What is right in the middle goes to the lower neighbour, as in bitsandbytes.
MIDDLES = (NF4[:-1].astype(np.float64) + NF4[1:]) / 2


def expected_arrays(dtype: str, n: int) -> dict[str, tuple[type, int]]:
    """The arrays that a delta of n values is sent as: name → (numpy's scalar type, length)."""
    if dtype == "f32":
        return {"delta": (np.float32, n)}
    if dtype == "f16":
        return {"delta": (np.float16, n)}
    if dtype == "nf4":
        return {"delta": (np.uint8, -(-n // 2)), "scales": (np.float16, -(-n // BLOCK))}
    raise ValueError(f"a delta is sent as f32, f16 or nf4, not as {dtype!r}")


def decode_delta(arrays: dict[str, np.ndarray], dtype: str, n: int) -> np.ndarray:
    """Checks what a client sent against `dtype` and n, and gives the delta as float32 [n].

    Raises ValueError, which names the array, where a name, shape, dtype or value is not what it has to be.
    """
    expected = expected_arrays(dtype, n)
    if set(arrays) != set(expected):
        raise ValueError(
            f"a delta as {dtype} has the arrays {sorted(expected)}, but came with {sorted(arrays)}"
        )
    for name, (kind, length) in expected.items():
        array = arrays[name]
        if array.dtype != kind or array.shape != (length,):
            wanted = f"{np.dtype(kind)} [{length}]"
            raise ValueError(f"the array {name!r} is {array.dtype} {list(array.shape)} instead of {wanted}")
        if kind is not np.uint8 and not np.isfinite(array).all():
            raise ValueError(f"the array {name!r} has values that are not finite")
    if dtype != "nf4":
        return arrays["delta"].astype(np.float32)
    if (arrays["scales"] < 0).any():
        raise ValueError("the array 'scales' has values below 0")
    return _decode_nf4(arrays["delta"], arrays["scales"], n)


def encode_delta(
    delta: np.ndarray, dtype: str, residual: np.ndarray | None = None
) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
    """Encodes a float32 delta [n], to which the residual [n] of the round before is added first.

    Returns the arrays by name and what the encoding lost, float32 [n], or None with f32: error feedback
    (Seide et al. 2014, "1-bit stochastic gradient descent"; Karimireddy et al. 2019, arXiv 1901.09847). The
    caller keeps it for the next round once this one has been sent. Raises ValueError where a value is not
    finite.
    """
    expected_arrays(dtype, 0)
    if delta.dtype != np.float32 or delta.ndim != 1:
        raise ValueError(f"a delta is float32 [n], not {delta.dtype} {list(delta.shape)}")
    if residual is not None and residual.shape != delta.shape:
        raise ValueError(f"the residual has {residual.size} values and the delta {delta.size}")
    with np.errstate(over="ignore", invalid="ignore"):
        whole = delta.copy() if residual is None else delta + residual.astype(np.float32)
    if not np.isfinite(whole).all():
        raise ValueError("the delta has values that are not finite")
    if dtype == "f32":
        return {"delta": whole}, None
    if dtype == "f16":
        arrays = {"delta": np.clip(whole, -HALF_MAX, HALF_MAX).astype(np.float16)}
    else:
        arrays = _encode_nf4(whole)
    return arrays, whole - decode_delta(arrays, dtype, whole.size)


def _encode_nf4(whole: np.ndarray) -> dict[str, np.ndarray]:
    blocks = _in_blocks(whole, np.float32(0))
    scales = _halves_up(np.abs(blocks).max(axis=1, initial=0))
    divisors = np.where(scales == 0, 1, scales).astype(np.float64)
    codes = np.searchsorted(MIDDLES, blocks / divisors[:, None]).astype(np.uint8).reshape(-1)[: whole.size]
    # The last byte's low four bits are 0 where n is odd.
    even = np.append(codes, np.uint8(0)) if codes.size % 2 else codes
    return {"delta": even[0::2] << np.uint8(4) | even[1::2], "scales": scales}


def _decode_nf4(packed: np.ndarray, scales: np.ndarray, n: int) -> np.ndarray:
    codes = np.stack([packed >> 4, packed & 15], axis=1).reshape(-1)[:n]
    values = _in_blocks(NF4[codes], np.float32(0)) * scales.astype(np.float32)[:, None]
    return values.reshape(-1)[:n]


def _in_blocks(values: np.ndarray, filler: np.generic) -> np.ndarray:
    """[n] as [ceil(n / 128), 128], filled up at the end."""
    missing = -values.size % BLOCK
    return np.append(values, np.full(missing, filler, values.dtype)).reshape(-1, BLOCK)


def _halves_up(values: np.ndarray) -> np.ndarray:
    """The smallest halves that are at least these float32 of 0 or more, or the last half."""
    halves = np.minimum(values, HALF_MAX).astype(np.float16)
    # The bits of positive halves are in the order of their values.
    return (
        (halves.view(np.uint16) + (halves < np.minimum(values, HALF_MAX))).astype(np.uint16).view(np.float16)
    )
