"""How the keys of a split are spread, counted where they are drawn: compiled with it."""

from __future__ import annotations

from typing import Final

MOST_HOT: Final = 64


class KeyTally:
    """The keys of one split since the worker started; the fields are those of `KeyUse`, which control is told.

    `hot` counts the most frequent keys by the frequency algorithm of Misra and Gries ("Finding repeated elements",
    1982): at most `MOST_HOT` hashes, each count too low by `requests / MOST_HOT` at most. Never the keys themselves.
    """

    __slots__ = ("experiment", "hot", "issued", "missing", "requests")

    def __init__(self, experiment: str) -> None:
        self.experiment = experiment
        self.requests = 0
        self.missing = 0
        self.issued = 0
        self.hot: dict[int, int] = {}

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
            self.hot = {each: count - 1 for each, count in hot.items() if count > 1}
