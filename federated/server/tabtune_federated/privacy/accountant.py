"""What rounds of Gaussian noise tell of one client, by Flower's accountant over dp-accounting."""

from fractions import Fraction

from flwr.serverapp import RdpAccountant
from flwr.supercore.privacy_accounting import (
    GaussianPrivacyEvent,
    NeighboringRelation,
    PrivacyConfig,
    SamplingMethod,
)

BOUNDS_APART = {"central": 1.0, "local": 2.0}
"""By how many clipping bounds that which noise is added to can differ between neighbours."""


class Accountant:
    """Adds up rounds whose noise has a deviation of `noise_multiplier` clipping bounds.

    "central": noise is on the sum of clipped deltas, and the result is all that is seen. Neighbours differ in
    one client's being there, so by one bound (McMahan et al. 2018, arXiv 1710.06963). `sampling` is the
    probability with which each client takes part in a round, drawn anew and told nobody (Poisson sampling); 1
    where all who are there take part.

    "local": noise is on one client's clipped delta, which the server sees. Neighbours are any two deltas of
    that client, so up to two bounds apart. That it takes part is seen, so being drawn hides nothing:
    `sampling` is 1, and the rounds are those in which that client took part.

    The losses that clients tell have no noise, and are not accounted for.
    """

    def __init__(
        self, noise_multiplier: float, delta: float, place: str = "central", sampling: float = 1.0
    ) -> None:
        """Raises ValueError where a number is out of its range."""
        if place not in BOUNDS_APART:
            raise ValueError(f"noise is central or local, not {place!r}")
        # Flower's accountant has the probability as a share of a population.
        share = Fraction(sampling).limit_denominator(1_000_000) if 0 < sampling <= 1 else Fraction(0)
        if share == 0:
            raise ValueError(f"the sampling probability is {sampling}, and has to be from a millionth to 1")
        if place == "local" and share < 1:
            raise ValueError("with local noise the server sees who takes part: sampling has to be 1")
        self._event = GaussianPrivacyEvent(
            noise_multiplier / BOUNDS_APART[place], share.numerator, share.denominator
        )
        self._accountant = RdpAccountant(
            PrivacyConfig(
                target_delta=delta,
                population_size=share.denominator,
                neighboring_relation=NeighboringRelation.ADD_OR_REMOVE_ONE,
                sampling_method=SamplingMethod.NO_AMPLIFICATION if share == 1 else SamplingMethod.POISSON,
            )
        )

    def spend(self, rounds: int = 1) -> None:
        """Adds rounds, one or more, whose results were given away."""
        self._accountant.compose(self._event, rounds)

    @property
    def epsilon(self) -> float:
        """What the rounds so far have cost at `delta`; 0 before the first."""
        return self._accountant.get_privacy_spent().epsilon
