"""What both kinds of HTTP/1.1 connections do with their transport: they stop reading it for reasons, and expect
something of its peer within a time."""

from __future__ import annotations

import asyncio

from ..timers import NEVER, Wheel


class Link:
    """Mutable state: `transport`, None before and after it is there; `_paused`, the reasons for which it is not read;
    `deadline` and `look_s`, as `Timed` of timers.py has them."""

    __slots__ = ("_paused", "_wheel", "deadline", "look_s", "transport")

    def __init__(self, wheel: Wheel) -> None:
        self.transport: asyncio.Transport | None = None
        self.deadline = NEVER
        self.look_s = NEVER
        self._paused = 0
        self._wheel = wheel

    def pause(self, reason: int) -> None:
        """Read no more while any reason stands."""
        if self.transport is not None and not self._paused:
            self.transport.pause_reading()
        self._paused |= reason

    def resume(self, reason: int) -> None:
        """These reasons stand no longer."""
        if self._paused:
            self._paused &= ~reason
            if self.transport is not None and not self._paused:
                self.transport.resume_reading()

    def expect_within(self, seconds: float) -> None:
        """Move the deadline to so many seconds from now; 0: none."""
        self.deadline = deadline = self._wheel.within(seconds)
        if deadline < self.look_s:
            self._wheel.watch(self)

    def on_deadline(self) -> None:
        """The wheel's call: the deadline has passed."""
        raise NotImplementedError
