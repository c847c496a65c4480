"""The access log, in control: a line for each exchange that a worker tells of, written by a thread of its own."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from functools import partial
from typing import Final

from ...config.schema import AccessLogPart, TelemetryPart
from ..log import logger
from .access_line import Render, renderer
from .line_writer import LineWriter
from .losses import Losses
from .records import Line

KIND: Final = "logs"  # of what telemetry lost
FLUSH_S: Final = 2.0  # at the end, and for a destination that a reload exchanged
LEAVE_S: Final = 0.5  # for a thread that hangs in the kernel
_DESCRIPTORS: Final = {"stdout": 1, "stderr": 2}


class AccessLog:
    """Mutable state: the part of the configuration in force, how its lines are made and who writes them, and the
    writers before it that have not ended yet."""

    def __init__(self, losses: Losses) -> None:
        losses.add(KIND, 0)
        self._losses = losses
        self._lost = partial(losses.add, KIND)
        self._part: AccessLogPart | None = None
        self._path: str | int = ""
        self._render: Render | None = None
        self._writer: LineWriter | None = None
        self._former: list[LineWriter] = []

    @property
    def problem(self) -> str:
        """Why lines cannot be written now; "" when they can."""
        return self._writer.problem if self._writer is not None else ""

    def configure(self, telemetry: TelemetryPart | None, base: str) -> None:
        """Write as the configuration says from now on; relative paths start at `base`."""
        part = telemetry.access_log if telemetry is not None else None
        if not isinstance(part, AccessLogPart):
            part = None
        if part == self._part:
            return
        self._part, self._render = part, renderer(part) if part is not None else None
        path = "" if part is None else _DESCRIPTORS.get(part.to) or os.path.join(base, part.to)
        if path == self._path:
            return
        if self._writer is not None:
            self._writer.finish(FLUSH_S)
            self._former = [each for each in (*self._former, self._writer) if not each.ended]
        self._path, self._writer = path, LineWriter(path, self._lost) if path else None

    def take(self, lines: Sequence[Line]) -> None:
        """Have these written. Never blocks."""
        render, writer = self._render, self._writer
        if render is None or writer is None or not lines:
            return
        if writer.full:  # before any work is done for them
            self._lost(len(lines))
        else:
            writer.offer([render(each) for each in lines])

    def reopen(self) -> None:
        """Open the file anew, for it may have been moved away."""
        if self._writer is not None:
            self._writer.reopen()

    async def close(self, within_s: float = FLUSH_S) -> None:
        """Write what waits, no longer than this; how many lines were lost so far is told to the program's log."""
        writers = [*self._former, *([self._writer] if self._writer is not None else [])]
        self._former, self._writer, self._path, self._part, self._render = [], None, "", None, None
        for each in writers:
            each.finish(within_s)
        await asyncio.gather(*(asyncio.to_thread(each.join, within_s + LEAVE_S) for each in writers))
        if lost := self._losses.counts()[KIND]:
            logger.warning("%d lines of the access log were lost", lost)
