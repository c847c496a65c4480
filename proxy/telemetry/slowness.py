"""How slow the slowest hundredth of a live backend's exchanges was lately, worked out beside the requests."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from ..timers import NEVER
from .sketch import Sketch, add, bound, subtract

if TYPE_CHECKING:
    from ..timers import Wheel
    from .count import CallTally

EVERY_S = 1.0
"""How often it is worked out for all backends."""

AT_ONCE = 32
"""So many tallies are added up in one tick of the wheel, some 0.6 ms: hundreds of routes may share a backend."""

LEAST = 100
"""Fewer exchanges than these have no p99: everything would be slow, or nothing."""

WINDOW_S = 30.0
"""What ended longer ago than two of these is forgotten, as on the status screen, where enough ended since."""


class Past:
    """What the exchanges of a backend's version added up to one and two windows ago: two sketches, whatever passes."""

    __slots__ = ("before", "between", "since")

    def __init__(self, now: float) -> None:
        self.before: Sketch = {}
        self.between: Sketch = {}
        self.since = now  # when the window began

    def lately(self, together: Sketch, now: float) -> Sketch:
        """Those of one to two windows, of all that ended so far. A window lasts until it has `LEAST`."""
        if now - self.since >= WINDOW_S and sum(together.values()) - sum(self.between.values()) >= LEAST:
            self.before, self.between, self.since = self.between, together, now
        return subtract(together, self.before)


class Slowness:
    """Keeps `p99_s` of the tallies up to date while it is on; the wheel calls. Mutable state: when it does so next,
    what is left of this round, and the past of each backend's version, as many as there are tallies at most."""

    def __init__(self, wheel: Wheel, calls: Callable[[], Iterable[CallTally]]) -> None:
        self.deadline = NEVER
        self.look_s = NEVER
        self._wheel = wheel
        self._calls = calls
        self._round: Iterator[bool] | None = None
        self._past: dict[tuple[str, str], Past] = {}

    def turn(self, on: bool) -> None:
        """Switch it on or off; what was worked out stands."""
        if on:
            self.deadline = self._wheel.within(EVERY_S)
            self._wheel.watch(self)
        else:
            self.deadline = NEVER
            self._wheel.forget(self)

    def on_deadline(self) -> None:
        """One step of a round; the next round begins a second after its end."""
        steps = self._round = self._round or self._steps()
        if next(steps, False):
            self.deadline = self._wheel.now
        else:
            self._round = None
            self.deadline = self._wheel.within(EVERY_S)

    def _steps(self) -> Iterator[bool]:
        for name, tallies in backends(self._calls()).items():
            now = self._wheel.now
            for _ in judging(tallies, self._past.setdefault(name, Past(now)), now):
                yield True


def backends(calls: Iterable[CallTally]) -> dict[tuple[str, str], list[CallTally]]:
    """The live tallies by backend and version, whichever route and arm led there."""
    found: dict[tuple[str, str], list[CallTally]] = {}
    for call in calls:
        if call.key.role == "live" and call.key.backend:
            found.setdefault((call.key.backend, call.key.version), []).append(call)
    return found


def judging(tallies: Sequence[CallTally], past: Past, now: float) -> Iterator[None]:
    """Set `p99_s` of all these tallies to that of their late exchanges together, `AT_ONCE` of them a step. It is
    the end of a bucket: beyond the middle would be nearly every exchange where all take about the same time."""
    together: Sketch = {}
    for at, tally in enumerate(tallies, 1):
        for durations in tally.total.values():
            add(together, durations.sketch)
        if at % AT_ONCE == 0:
            yield
    lately = past.lately(together, now)
    found = bound(lately, 0.99) if sum(lately.values()) >= LEAST else None
    for tally in tallies:
        tally.p99_s = math.inf if found is None else found
    yield
