"""Lines to a file, a pipe or a terminal, from a thread of their own: whoever hands them over waits for nothing.

What the destination does not take in time is dropped and counted: a disk that is full, a file that may not be written,
a pipe that nobody reads.
"""

from __future__ import annotations

import errno
import os
import select
import stat
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import Condition, Thread
from time import monotonic
from typing import Final

from ..log import logger

MOST_LINES: Final = 10_000
MOST_BYTES: Final = 8 << 20
CHUNK_BYTES: Final = 256 << 10  # written to a file at once
AGAIN_S: Final = 1.0  # between two attempts to open the destination
LOOK_EVERY_MS: Final = 100  # whether to give up, while nobody reads
BLOCKED_S: Final = 1.0  # after so long nobody reads
_OPEN: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
_MODE: Final = 0o640
_LINE_END: Final = b"\n"
_UNREAD: Final = "nobody reads it"


class LineWriter:
    """One destination, until it is told to finish.

    Mutable state, shared under the condition: the lines that wait (with those in the thread's hand: `_lines`, `_bytes`)
    and what was asked of the thread. The thread's own: the descriptor, whether it ends within a line, and `problem`,
    why nothing can be written, which others may read.
    """

    def __init__(self, path: str | int, lost: Callable[[int], None]) -> None:
        """`path` is a file, made where it is missing, or a descriptor, which stays open. `lost` hears, from any thread,
        how many lines were dropped."""
        self.problem = ""
        self._path = path
        self._lost = lost
        self._changed = Condition()
        self._waiting: deque[bytes] = deque()
        self._lines = 0
        self._bytes = 0
        self._reopen = False
        self._until_s: float | None = None
        self._abandoned = False
        self._descriptor = -1
        self._open_at_s = 0.0
        self._regular = False
        self._torn = False
        self._poll = select.poll()
        self._thread = Thread(target=self._run, name="access log", daemon=True)
        self._thread.start()

    @property
    def full(self) -> bool:
        """Whether lines would be dropped now."""
        return self._lines >= MOST_LINES or self._bytes >= MOST_BYTES

    @property
    def ended(self) -> bool:
        """Whether its thread has come to the end that `finish` asked for."""
        return not self._thread.is_alive()

    def offer(self, lines: Sequence[bytes]) -> None:
        """Have them written, each with its end; those past the bounds are dropped and counted. Never blocks."""
        with self._changed:
            at = 0
            while at < len(lines) and not self.full and self._until_s is None:
                self._waiting.append(lines[at])
                self._lines += 1
                self._bytes += len(lines[at])
                at += 1
            self._changed.notify()
        if at < len(lines):
            self._lost(len(lines) - at)

    def reopen(self) -> None:
        """Open the file anew, for it may have been moved away."""
        with self._changed:
            self._reopen = isinstance(self._path, str)
            self._changed.notify()

    def finish(self, within_s: float) -> None:
        """Write what waits, or drop it when the time is over; then end. Returns at once."""
        with self._changed:
            self._until_s = monotonic() + within_s
            self._changed.notify()

    def join(self, within_s: float) -> None:
        """Wait for the end that `finish` asked for; blocks. What hangs in the kernel is left there, and counted."""
        self._thread.join(within_s)
        with self._changed:
            left, self._abandoned = 0 if self._abandoned else self._lines, True
        if left:
            self._lost(left)

    def _run(self) -> None:
        self._open()
        while (lines := self._next()) is not None:
            if self._reopen:
                self._reopen = False
                self._close()
                self._open()
            data = b"".join(lines)
            lost = len(lines) - data.count(_LINE_END, 0, self._write(data))
            with self._changed:
                self._lines -= len(lines)
                self._bytes -= len(data)
                lost = 0 if self._abandoned else lost
            if lost:
                self._lost(lost)
        self._close()

    def _next(self) -> list[bytes] | None:
        """Lines to write, or none to look at what was asked; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._reopen or self._until_s is not None)
            if not self._waiting and self._until_s is not None:
                return None
            lines, taken = [], 0
            while self._waiting and taken < CHUNK_BYTES:
                lines.append(self._waiting.popleft())
                taken += len(lines[-1])
            return lines

    def _write(self, data: bytes) -> int:
        """How many of the bytes were written: all, save where the destination does not take them."""
        done = 0
        try:
            if self._descriptor < 0 and not self._open():
                return 0
            if data and self._torn and self._writable():
                os.write(self._descriptor, _LINE_END)
                self._torn = False
            while done < len(data) and self._writable():
                done += os.write(self._descriptor, data[done : self._end(data, done)])
        except (BlockingIOError, BrokenPipeError):
            self._say(_UNREAD)
        except OSError as problem:
            self._say(problem.strerror or str(problem))
        if done:
            self._torn = not data.endswith(_LINE_END, 0, done)
        if data and done == len(data):
            self._say("")
        return done

    def _end(self, data: bytes, start: int) -> int:
        """Where the next write ends. A pipe takes whole lines at once, unmixed with those of others, up to PIPE_BUF."""
        if self._regular:
            return len(data)
        return data.rfind(_LINE_END, start, start + select.PIPE_BUF) + 1 or start + select.PIPE_BUF

    def _writable(self) -> bool:
        """Wait until a write would not block; False when there is no time left, or another destination to open."""
        began_s = monotonic()
        while not self._poll.poll(LOOK_EVERY_MS):
            now_s = monotonic()
            if self._reopen or (self._until_s is not None and now_s > self._until_s):
                return False
            if now_s - began_s > BLOCKED_S:
                self._say(_UNREAD)
        return self._until_s is None or monotonic() <= self._until_s

    def _open(self) -> bool:
        """Whether the destination can be written to; tried once in a while."""
        if monotonic() < self._open_at_s and not self._reopen:
            return False
        self._open_at_s = monotonic() + AGAIN_S
        try:
            self._descriptor = os.open(self._path, _OPEN, _MODE) if isinstance(self._path, str) else self._path
            self._regular = stat.S_ISREG(os.fstat(self._descriptor).st_mode)
        except (OSError, ValueError) as problem:
            unread = getattr(problem, "errno", None) == errno.ENXIO  # of a pipe
            self._say(_UNREAD if unread else f"{getattr(problem, 'strerror', None) or problem}: {self._path}")
            self._descriptor = -1
            return False
        self._poll.register(self._descriptor, select.POLLOUT)
        self._torn = False
        return True

    def _close(self) -> None:
        if self._descriptor >= 0:
            self._poll.unregister(self._descriptor)
            if isinstance(self._path, str):
                with suppress(OSError):
                    os.close(self._descriptor)
        self._descriptor, self._open_at_s = -1, 0.0

    def _say(self, problem: str) -> None:
        """The log hears of each change."""
        if problem == self.problem:
            return
        self.problem = problem
        if problem:
            logger.warning("the access log cannot be written: %s; its lines are dropped and counted", problem)
        else:
            logger.info("the access log is written again")
