"""How slow the slowest hundredth of a live backend's exchanges was so far, worked out beside the requests."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from ..timers import NEVER
from .sketch import Sketch, add, quantiles

if TYPE_CHECKING:
    from ..timers import Wheel
    from .count import CallTally

EVERY_S = 1.0
"""How often it is worked out for all backends."""

AT_ONCE = 32
"""So many tallies are added up in one tick of the wheel, some 0.6 ms: hundreds of routes may share a backend."""

LEAST = 100
"""Fewer exchanges than these have no p99: everything would be slow, or nothing."""


class Slowness:
    """Keeps `p99_s` of the tallies up to date while it is on; the wheel calls. Mutable state: when it does so next, and
    what is left of this round."""

    def __init__(self, wheel: Wheel, calls: Callable[[], Iterable[CallTally]]) -> None:
        self.deadline = NEVER
        self.look_s = NEVER
        self._wheel = wheel
        self._calls = calls
        self._round: Iterator[bool] | None = None

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
        steps = self._round = self._round or (True for each in backends(self._calls()) for _ in judging(each))
        if next(steps, False):
            self.deadline = self._wheel.now
        else:
            self._round = None
            self.deadline = self._wheel.within(EVERY_S)


def backends(calls: Iterable[CallTally]) -> list[list[CallTally]]:
    """The live tallies of each backend's version, whichever route and arm led there."""
    found: dict[tuple[str, str], list[CallTally]] = {}
    for call in calls:
        if call.key.role == "live" and call.key.backend:
            found.setdefault((call.key.backend, call.key.version), []).append(call)
    return list(found.values())


def judging(tallies: Sequence[CallTally]) -> Iterator[None]:
    """Set `p99_s` of all these tallies to that of their exchanges together, `AT_ONCE` of them a step."""
    together: Sketch = {}
    for at, tally in enumerate(tallies, 1):
        for durations in tally.total.values():
            add(together, durations.sketch)
        if at % AT_ONCE == 0:
            yield
    found = quantiles(together, 0.99)[0] if sum(together.values()) >= LEAST else None
    for tally in tallies:
        tally.p99_s = math.inf if found is None else found
    yield
