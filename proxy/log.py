"""One line per event on stderr: when, how bad, which process, what happened."""

from __future__ import annotations

import logging
import os
import sys
from datetime import UTC, datetime

logger = logging.getLogger("understudy")


class _Line(logging.Formatter):
    """A record on one line, its traceback included: lines of several processes share one stderr."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        text = record.getMessage()
        if record.exc_info:
            text += " | " + self.formatException(record.exc_info)
        text = text.replace("\n", " | ")
        return f"{when} {record.levelname.lower():7} {self._process}[{os.getpid()}] {text}"


def set_up(process: str) -> None:
    """Send this process's log to stderr, `process` naming it in each line. Call once, at start."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Line(process))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    logging.raiseExceptions = False  # a closed stderr must not stop the program
