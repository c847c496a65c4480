"""Sticky draws: the same salt and key give the same arm in every worker, replica, restart and language.

The reference, in whole (tests/filters/vectors.json has examples to check another implementation against)::

    seed(salt, arm) = XXH64(salt in UTF-8 + one zero byte + arm in UTF-8, seed 0)
    u(key, seed)    = (floor(XXH64(key, seed) / 2^12) + 1/2) / 2^52        exact in a 64-bit float, never 0 or 1
    score           = -weight / ln(u)
    the arm with the largest score takes the key; of equal scores the arm whose name sorts first; weight 0: none

This is rendezvous hashing (Thaler and Ravishankar, "Using name-based mappings to increase hit rates", IEEE/ACM
Transactions on Networking 6(1), 1998) with the logarithmic weights of Schindelhauer and Schomaker ("Weighted
distributed hash tables", SPAA 2005): -ln(u) / weight is exponentially distributed with the weight as its rate, so an
arm comes first in proportion to its weight, and one whose weight grows takes keys from others and gives none away. When
shares change by delta (half the sum of the absolute changes), at least delta of the keys move, and at most
2 delta / (1 + delta) (Moulton and Jiang, "Maximally consistent sampling and the Jaccard index of probability
distributions", ICDM Workshops 2018).

Pure: no clock, no randomness, no state but what a draw was built with.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import log
from typing import Final, NamedTuple

from xxhash import xxh64_intdigest

_STEP: Final = 2.0**-52


def arm_seed(salt: str, arm: str) -> int:
    """The 64-bit seed of one arm's draw. The arm "" is that of a sample, and of a key's own hash."""
    return xxh64_intdigest(salt.encode() + b"\0" + arm.encode())


def uniform(key: bytes, seed: int) -> float:
    """Where a key falls, evenly between 0 and 1, both excluded."""
    return unit(xxh64_intdigest(key, seed))


def unit(hashed: int) -> float:
    """A 64-bit hash as a number between 0 and 1: its upper 52 bits, so that no float rounds to 0 or 1."""
    return ((hashed >> 12) + 0.5) * _STEP


class Standing(NamedTuple):
    """How one arm fared in the race for a key."""

    arm: str
    weight: float
    u: float
    score: float


class Race:
    """A weighted choice among arms, sticky by key. Arms of weight 0 take no part.

    Raises ValueError where no arm has a weight above 0. Costs one hash and one logarithm per arm.
    """

    __slots__ = ("_entrants", "_first_seed", "_first_weight", "_second_seed", "_second_weight", "arms")

    def __init__(self, salt: str, weights: Mapping[str, float]) -> None:
        self.arms = sorted(arm for arm, weight in weights.items() if weight > 0)  # by code point, as UTF-8 sorts
        if not self.arms:
            raise ValueError("no arm has a weight above 0")
        self._entrants = [(float(weights[arm]), arm_seed(salt, arm)) for arm in self.arms]
        self._first_weight, self._first_seed = self._entrants[0]
        self._second_weight, self._second_seed = self._entrants[1 % len(self.arms)]

    def winner(self, key: bytes) -> int:
        """The position in `arms` of the one that takes this key."""
        count = len(self._entrants)
        if count == 2:  # the common case, without the loop
            first = self._first_weight / log(((xxh64_intdigest(key, self._first_seed) >> 12) + 0.5) * _STEP)
            second = self._second_weight / log(((xxh64_intdigest(key, self._second_seed) >> 12) + 0.5) * _STEP)
            return 0 if first <= second else 1
        best = 0
        lowest = 0.0  # ln(u) is below 0: the largest score is the lowest weight / ln(u)
        if count > 1:
            for at, (weight, seed) in enumerate(self._entrants):
                each = weight / log(((xxh64_intdigest(key, seed) >> 12) + 0.5) * _STEP)
                if each < lowest:
                    lowest = each
                    best = at
        return best

    def standings(self, key: bytes) -> list[Standing]:
        """Every arm that takes part, the winner first, then in the order in which they would take its place."""
        found = []
        for arm, (weight, seed) in zip(self.arms, self._entrants, strict=True):
            u = uniform(key, seed)
            found.append(Standing(arm, weight, u, -(weight / log(u))))
        return sorted(found, key=lambda standing: (-standing.score, standing.arm))


class Rollout:
    """Whether a key is among the first `percent` of a gradual rollout.

    It is the race of the arm at `percent` against the route's default backend at the rest: under the salt of a split
    between the same two, whoever is in at 1 % here is in the arm at 10 % there. Where both have one name, the other
    side is the arm "".

    Mutable: the race against the default backend that was met last.
    """

    __slots__ = ("_place", "_race", "_rival", "arm", "percent", "salt")

    def __init__(self, salt: str, arm: str, percent: float) -> None:
        self.salt = salt
        self.arm = arm
        self.percent = percent
        self._rival = ""
        self._race = self._against("")
        self._place = 0

    def takes(self, key: bytes, default: str) -> bool:
        """Whether the key is in, on a route with this default backend."""
        if default != self._rival:
            self._race = self._against(default)
            self._rival = default
        return self._race.winner(key) == self._place

    def standings(self, key: bytes, default: str) -> list[Standing]:
        """How both sides fared."""
        self.takes(key, default)
        return self._race.standings(key)

    def _against(self, default: str) -> Race:
        rival = default if default != self.arm else ""
        race = Race(self.salt, {self.arm: self.percent, rival: 100.0 - self.percent})
        self._place = race.arms.index(self.arm) if self.percent > 0 else -1
        return race


class Sample:
    """A share of all keys, drawn by threshold: a key that is in at 1 % is in at 10 %."""

    __slots__ = ("fraction", "seed")

    def __init__(self, salt: str, fraction: float) -> None:
        self.fraction = fraction  # 0 to 1
        self.seed = arm_seed(salt, "")

    def takes(self, key: bytes) -> bool:
        """Whether the key is in."""
        return ((xxh64_intdigest(key, self.seed) >> 12) + 0.5) * _STEP < self.fraction
