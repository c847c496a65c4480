"""So much a second, with bursts up to a bound: a token bucket."""

from __future__ import annotations


class Allowance:
    """Mutable state: what is left, as of when. It may be owed: `spend` asks nobody. Times are monotonic seconds."""

    __slots__ = ("_at", "_left", "burst", "rate_per_s")

    def __init__(self, rate_per_s: float, burst: float) -> None:
        self.rate_per_s = rate_per_s
        self.burst = burst
        self._left = burst
        self._at = 0.0

    def left(self, now: float) -> float:
        """What may be taken now; below 0 where something is owed."""
        if now > self._at:
            left = self._left + (now - self._at) * self.rate_per_s
            self._left = left if left < self.burst else self.burst
            self._at = now
        return self._left

    def take(self, now: float, amount: float) -> bool:
        """Take so much, if it is there."""
        if self.left(now) < amount:
            return False
        self._left -= amount
        return True

    def spend(self, now: float, amount: float) -> None:
        """Take so much, be it there or not."""
        self._left = self.left(now) - amount
