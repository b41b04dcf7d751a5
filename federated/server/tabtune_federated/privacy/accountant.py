"""What rounds of Gaussian noise tell of one client: (epsilon, delta), by Flower's accountant over dp-accounting."""

from fractions import Fraction

from flwr.serverapp import RdpAccountant
from flwr.supercore.privacy_accounting import (
    GaussianPrivacyEvent,
    NeighboringRelation,
    PrivacyConfig,
    SamplingMethod,
)

PLACES = {"central": 1.0, "local": 2.0}
"""By how many clipping bounds what noise is added to can differ between neighbours."""


class Accountant:
    """Adds up rounds in which noise of deviation noise_multiplier · clip was added.

    "central": to the sum of clipped deltas, of which the result alone is seen. Neighbours differ in one client's being
    there, so by one bound (McMahan et al. 2018, arXiv 1710.06963). `sampling` is the probability with which each client takes part in a round,
    drawn for each anew and told nobody (Poisson sampling); 1 where all who are there take part.

    "local": to one client's clipped delta, which the server sees. Neighbours are any two deltas of that client, so
    up to two bounds apart, and as its taking part is seen, being drawn hides nothing: `sampling` is 1, and only rounds in which the
    client took part are added.
    """

    def __init__(self, noise_multiplier: float, delta: float, place: str = "central", sampling: float = 1.0) -> None:
        if place not in PLACES:
            raise ValueError(f"noise is central or local, not {place!r}")
        if not 0 < sampling <= 1:
            raise ValueError(f"the sampling probability is {sampling}, and has to be above 0 and at most 1")
        if place == "local" and sampling < 1:
            raise ValueError("with local noise the server sees who takes part: sampling has to be 1")
        # Flower's accountant has the probability as a share of a population.
        share = Fraction(sampling).limit_denominator(1_000_000)
        if share == 0:
            raise ValueError(f"the sampling probability is {sampling}, and below a millionth it cannot be told")
        self._event = GaussianPrivacyEvent(noise_multiplier / PLACES[place], share.numerator, share.denominator)
        self._accountant = RdpAccountant(
            PrivacyConfig(
                target_delta=delta,
                population_size=share.denominator,
                neighboring_relation=NeighboringRelation.ADD_OR_REMOVE_ONE,
                sampling_method=SamplingMethod.NO_AMPLIFICATION if share == 1 else SamplingMethod.POISSON,
            )
        )

    def spend(self, rounds: int = 1) -> None:
        """Adds rounds whose results were given away."""
        self._accountant.compose(self._event, rounds)

    @property
    def epsilon(self) -> float:
        """What the rounds so far have cost at delta; 0 before the first."""
        return self._accountant.get_privacy_spent().epsilon
