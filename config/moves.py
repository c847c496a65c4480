"""Which part of all users changes its arm when weights or salts change: for whoever is about to do it.

For the race of filters/bucketing.py, over many keys. Pure arithmetic.
"""

from __future__ import annotations

from collections.abc import Mapping


def shares(weights: Mapping[str, float]) -> dict[str, float]:
    """Each arm's part of the whole, 0 to 1."""
    total = sum(weights.values())
    return {arm: weight / total if total else 0.0 for arm, weight in weights.items()}


def moving(old: Mapping[str, float], new: Mapping[str, float]) -> float:
    """The part that moves, 0 to 1, where the salt and the keys stay.

    The winners of both races are the first of exponential variables that share their randomness; they are the same with
    the probability that Moulton and Jiang give in "Maximally consistent sampling and the Jaccard index of probability
    distributions" (ICDM Workshops 2018). With two arms, or one weight changed, it is the least that is possible.
    """
    arms = old.keys() | new.keys()
    stays = 0.0
    for arm in arms:
        before, after = old.get(arm, 0.0), new.get(arm, 0.0)
        if before and after:
            stays += 1 / sum(max(old.get(each, 0.0) / before, new.get(each, 0.0) / after) for each in arms)
    return max(0.0, 1 - stays)


def reshuffled(old: Mapping[str, float], new: Mapping[str, float]) -> float:
    """The part that changes its arm, 0 to 1, where everyone is drawn anew."""
    before, after = shares(old), shares(new)
    return 1 - sum(share * after.get(arm, 0.0) for arm, share in before.items())
