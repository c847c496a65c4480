"""Coarse deadlines for many objects at the price of one attribute each.

An object carries `deadline` (monotonic seconds, `NEVER` for none) and moves it with a plain store. The wheel looks at
every object when its deadline may have passed, and at least once a horizon, so a deadline moved later costs nothing;
only one moved closer than the next look must be told, by `watch`.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable
from typing import Final, Protocol

log = logging.getLogger(__name__)

NEVER: Final = math.inf
TICK_S: Final = 0.05
_HORIZON_S: Final = 1.0
_SLOTS: Final = 24
_LOOKING: Final = -1.0


class Timed(Protocol):
    """What a wheel watches. `look_s` is the wheel's own note: when it looks next, `NEVER` while unwatched."""

    deadline: float
    look_s: float

    def on_deadline(self) -> None:
        """The deadline has passed; it is NEVER until set anew. The item stays watched until it is forgotten."""
        ...


class Wheel:
    """Mutable state: the slots of the coming ticks, and `now`, monotonic seconds as of the last tick.

    On the hot path write `item.deadline = at` and call `watch` only `if at < item.look_s`.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Callable[[], float] = time.monotonic) -> None:
        self._loop = loop
        self._clock = clock
        self._slots: list[list[Timed]] = [[] for _ in range(_SLOTS)]
        self._tick = 0  # the last one that was visited; tick n ends at _origin + n * TICK_S
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

    def within(self, seconds: float) -> float:
        """The deadline so many seconds from now, never earlier: `now` may be a tick old. 0: none."""
        return self.now + TICK_S + seconds if seconds else NEVER

    def watch(self, item: Timed) -> None:
        """Look at the item when its deadline may have passed, at most two ticks late. Cheap to call again."""
        until = min(item.deadline, self.now + _HORIZON_S) - self._origin
        tick = max(self._tick + 1, math.ceil(until / TICK_S))
        look_s = self._origin + tick * TICK_S
        if look_s < item.look_s:
            item.look_s = look_s
            self._slots[tick % _SLOTS].append(item)

    def forget(self, item: Timed) -> None:
        """Look at the item no more."""
        item.look_s = NEVER

    def turn(self) -> None:
        """Visit every tick that has ended since the last turn. A loop that was blocked for longer than the wheel is
        round still visits each slot once."""
        self.now = self._clock()
        until = int((self.now - self._origin) / TICK_S)
        self._tick = max(self._tick, until - _SLOTS)
        while self._tick < until:
            self._tick += 1
            slot = self._tick % _SLOTS
            due, self._slots[slot] = self._slots[slot], []
            for item in due:
                if item.look_s <= self.now + TICK_S / 2:
                    self._look(item)

    def _turn(self) -> None:
        self._handle = self._loop.call_later(TICK_S, self._turn)
        self.turn()

    def _look(self, item: Timed) -> None:
        item.look_s = _LOOKING
        if item.deadline <= self.now:
            item.deadline = NEVER
            try:
                item.on_deadline()
            except Exception:  # the others of its tick must be looked at all the same
                log.exception("what a deadline was set for failed")
        if item.look_s == _LOOKING:
            item.look_s = NEVER
            self.watch(item)
