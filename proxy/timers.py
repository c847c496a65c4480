"""Coarse deadlines for many objects at the price of one attribute each.

An object carries `deadline` (monotonic seconds, `NEVER` for none) and moves it with a plain store. The wheel looks at
every object when its deadline may have passed, and at least once a horizon, so a deadline moved later costs nothing;
only one moved closer than the next look must be told, by `watch`.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from typing import Protocol

NEVER = math.inf
TICK_S = 0.05
_HORIZON_TICKS = 20
_LOOKING = -1


class Timed(Protocol):
    """What a wheel watches. `look_at` is the wheel's own note: the tick of the next look, 0 when unwatched."""

    deadline: float
    look_at: int

    def on_deadline(self) -> None:
        """The deadline has passed; it is NEVER again until set anew."""
        ...


class Wheel:
    """Mutable state: the slots of the coming ticks, and `now`, monotonic seconds as of the last tick."""

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Callable[[], float] = time.monotonic) -> None:
        self._loop = loop
        self._clock = clock
        self._slots: list[list[Timed]] = [[] for _ in range(_HORIZON_TICKS + 1)]
        self._tick = 1
        self._origin = clock()
        self.now = self._origin
        self._handle: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to turn."""
        self._handle = self._loop.call_later(TICK_S, self._turn)

    def stop(self) -> None:
        """Stop turning; what is watched stays unnoticed."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def watch(self, item: Timed) -> None:
        """Look at the item when its deadline may have passed. Cheap to call again; never too late, at most a tick."""
        ticks = min(_HORIZON_TICKS, max(1.0, (item.deadline - self.now) / TICK_S))
        at = self._tick + math.ceil(ticks)
        if self._tick < item.look_at <= at:
            return
        item.look_at = at
        self._slots[at % len(self._slots)].append(item)

    def forget(self, item: Timed) -> None:
        """Look at the item no more."""
        item.look_at = 0

    def _turn(self) -> None:
        self._handle = self._loop.call_later(TICK_S, self._turn)
        self.now = self._clock()
        until = int((self.now - self._origin) / TICK_S) + 1
        # A loop that was blocked for longer than the wheel is round still visits each slot once.
        self._tick = max(self._tick, until - len(self._slots))
        while self._tick < until:
            self._tick += 1
            slot = self._tick % len(self._slots)
            due, self._slots[slot] = self._slots[slot], []
            for item in due:
                if 0 < item.look_at <= self._tick:
                    self._look(item)

    def _look(self, item: Timed) -> None:
        item.look_at = _LOOKING
        if item.deadline <= self.now:
            item.deadline = NEVER
            item.on_deadline()
        if item.look_at == _LOOKING:
            self.watch(item)
