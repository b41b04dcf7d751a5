"""The maths of privacy and of small deltas. `accountant` loads Flower, so it is imported by its own name."""

from .codec import decode_delta, encode_delta
from .fixed_point import Summed, quantise, read_sum, scale_for, sensitivity
from .masked_client import MaskedClient
from .masks import MaskedRound, TooFewClients, threshold_for
from .noise import add_noise, clip

__all__ = [
    "MaskedClient",
    "MaskedRound",
    "Summed",
    "TooFewClients",
    "add_noise",
    "clip",
    "decode_delta",
    "encode_delta",
    "quantise",
    "read_sum",
    "scale_for",
    "sensitivity",
    "threshold_for",
]
