"""Updates as whole numbers modulo 2^32, whose sums are exact.

The twin of www/package/federated/privacy/fixed-point.ts, to the bit.
"""

import math
from dataclasses import dataclass

import numpy as np

LOSS_SCALE = 2**10
"""Steps in 1 of the loss, which is summed beside the values."""

LIMIT = 2**31


@dataclass(frozen=True)
class Summed:
    """What the sum of a masked round says."""

    values: np.ndarray
    """The sum of weighted deltas, float64 [n]."""
    weight: int
    """The sum of weights, by which `values` is divided for the mean."""
    train_loss: float
    """The weighted mean of the clients' losses."""


def scale_for(clients: int, bound: float) -> int:
    """The most steps in 1 with which no sum of so many values within ±bound, each rounded, leaves int32."""
    if clients < 1 or not (bound > 0 and math.isfinite(bound)):
        raise ValueError(f"no scale fits {clients} clients and a range of {bound}")
    # What rounding adds is at most half a step for each client.
    scale = math.floor((LIMIT - clients) / (clients * bound))
    if scale < 1:
        limits = f"a range of {bound} is too large for sums of {clients} clients in 32 bits"
        raise ValueError(f"{limits}: clip, or lower the weight-cap")
    return scale


def sensitivity(clip: float, n: int, scale: float) -> float:
    """The L2 bound on one client's part of a masked sum, whose n clipped values were each rounded.

    Rounding moves each by up to half a step, so central noise is measured by this and not by the clipping
    bound alone. Kairouz et al. 2021 (arXiv 2102.06387) have tighter bounds by randomised rounding.
    """
    return clip + math.sqrt(n) / (2 * scale)


def quantise(
    delta: np.ndarray, weight: int, train_loss: float, fixed: dict[str, float], clients: int
) -> np.ndarray:
    """A float32 delta [n] as uint32 [n + 2]: rounded values, the weight, the weighted loss in steps of 2^-10.

    `fixed` has "range" and "scale". Raises ValueError where something is not finite or a sum could overflow.
    """
    bound, scale = float(fixed["range"]), float(fixed["scale"])
    fits = bound > 0 and scale > 0 and (bound * scale + 0.5) * clients < LIMIT
    if not fits or not 1 <= weight * clients < LIMIT:
        settings = f"range {bound}, scale {scale} and weight {weight}"
        raise ValueError(f"{settings} do not fit sums of {clients} clients in 32 bits")
    if not np.isfinite(delta).all() or not math.isfinite(train_loss):
        raise ValueError("the delta or the loss has values that are not finite")
    steps = np.rint(np.clip(delta.astype(np.float64) * weight, -bound, bound) * scale)
    most = (LIMIT - 1) // clients
    loss = min(max(round(weight * train_loss * LOSS_SCALE), -most), most)
    return np.append(steps, [weight, loss]).astype(np.int64).astype(np.uint32)


def read_sum(total: np.ndarray, scale: float, clients: int, weight_cap: int) -> Summed:
    """Reads the sum of so many clients, uint32 [n + 2].

    Raises ValueError where the weights cannot be theirs, as when a share or a mask was false.
    """
    signed = total.view(np.int32)
    weight = int(signed[-2])
    if not clients <= weight <= clients * weight_cap:
        raise ValueError(f"the weights of {clients} clients cannot sum to {weight}: the masks did not cancel")
    return Summed(signed[:-2] / float(scale), weight, int(signed[-1]) / LOSS_SCALE / weight)
