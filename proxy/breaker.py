"""When a shadow that fails is left alone, and when it is tried again. Pure: the time is handed in."""

from __future__ import annotations

from typing import Final

FAILURES_TO_OPEN: Final = 5
FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 30.0
PROBE_S: Final = 10.0
"""How long a probe is waited for: a copy is as long as its live request, and nobody else is heard meanwhile."""

CLOSED: Final = 0
OPEN: Final = 1
PROBING: Final = 2
NAMES: Final = ("closed", "open", "probing")


class Breaker:
    """Opens after so many failures in a row; after a pause one copy probes, and its end decides.

    Mutable state: `state`; `failures` in a row; `_until`, monotonic seconds, the end of the pause, or of the patience
    with a probe; `_pause_s`, the next pause's length, twice as long after each probe that failed.
    """

    __slots__ = ("_pause_s", "_until", "failures", "state")

    def __init__(self) -> None:
        self.state = CLOSED
        self.failures = 0
        self._until = 0.0
        self._pause_s = FIRST_PAUSE_S

    def admits(self, now: float) -> bool:
        """Whether a copy may be sent; in a pause none may, behind it one, and another when that one takes long."""
        if self.state == CLOSED:
            return True
        if now < self._until:
            return False
        self.state = PROBING
        self._until = now + PROBE_S
        return True

    def succeeded(self) -> None:
        """A copy was answered."""
        self.failures = 0
        if self.state == PROBING:
            self.state = CLOSED
            self._pause_s = FIRST_PAUSE_S

    def failed(self, now: float) -> None:
        """A copy failed for a reason that is the shadow's own."""
        self.failures += 1
        if self.state == PROBING or (self.state == CLOSED and self.failures >= FAILURES_TO_OPEN):
            self.state = OPEN
            self._until = now + self._pause_s
            self._pause_s = min(LONGEST_PAUSE_S, self._pause_s * 2)

    def undecided(self, now: float) -> None:
        """A probe ended for a reason that says nothing of the shadow: the next copy probes."""
        if self.state == PROBING:
            self.state = OPEN
            self._until = now
