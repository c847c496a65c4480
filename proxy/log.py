"""One line per event on stderr: when, how bad, which process, what happened.

Writing never waits: when whoever reads stderr stops reading, lines are lost and counted, and requests go on.
"""

from __future__ import annotations

import logging
import os
import select

from .iso_time import time_text

logger = logging.getLogger("understudy")

MOST_BYTES = select.PIPE_BUF  # what a pipe that polls writable takes without blocking
_HEAD_BYTES = 1024  # of a longer line, so much of its beginning is kept, and the end


class LineHandler(logging.Handler):
    """A record on one line, its traceback included: lines of several processes share one stderr.

    Mutable state: how many lines were lost since the last one that was written.
    """

    def __init__(self, process: str, descriptor: int = 2) -> None:
        super().__init__()
        self._process = process
        self._descriptor = descriptor
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)
        self._lost = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record's line if that can be done now."""
        if not self._poll.poll(0):
            self._lost += 1
            return
        line = self.format(record)
        if self._lost:
            line += f" ({self._lost} lines before this one were lost: nobody read them)"
        try:
            os.write(self._descriptor, _cut(line.encode(errors="backslashreplace")))
        except OSError:
            self._lost += 1
        else:
            self._lost = 0

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        text = record.getMessage()
        if record.exc_info:
            text += " | " + logging.Formatter().formatException(record.exc_info)
        text = " | ".join(text.splitlines())
        return f"{time_text(record.created)} {record.levelname.lower():7} {self._process}[{os.getpid()}] {text}"


def set_up(process: str) -> None:
    """Send this process's log to stderr, `process` naming it in each line. Call once, at start."""
    root = logging.getLogger()
    root.handlers[:] = [LineHandler(process)]
    root.setLevel(logging.INFO)


def _cut(line: bytes) -> bytes:
    if len(line) >= MOST_BYTES:
        line = line[:_HEAD_BYTES] + b" ... " + line[_HEAD_BYTES + 6 - MOST_BYTES :]
    return line + b"\n"
