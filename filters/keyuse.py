"""How the keys of a split are spread, counted where they are drawn: a constant key puts everyone in one arm."""

from __future__ import annotations

import msgspec

MOST_HOT = 64


class KeyUse(msgspec.Struct, array_like=True):
    """The keys of one split, cumulative since the worker started.

    `hot` counts the most frequent keys by the frequency algorithm of Misra and Gries ("Finding repeated elements",
    1982): at most `MOST_HOT` hashes, each count too low by `requests / MOST_HOT` at most. Never the keys themselves.
    """

    experiment: str
    requests: int = 0  # with a key
    missing: int = 0  # without one
    issued: int = 0  # that were sent a cookie of ours
    hot: dict[int, int] = {}

    def note(self, hashed: int) -> None:
        """Count one request by the hash of its key."""
        self.requests += 1
        hot = self.hot
        count = hot.get(hashed)
        if count is not None:
            hot[hashed] = count + 1
        elif len(hot) < MOST_HOT:
            hot[hashed] = 1
        else:
            for each in [each for each, count in hot.items() if count == 1]:
                del hot[each]
            for each in hot:
                hot[each] -= 1
