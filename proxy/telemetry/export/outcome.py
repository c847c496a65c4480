"""What became of one export, and how that is told: in words, once for each change."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ....config.addresses import redacted
from ....config.wording import printable
from ...log import logger

QUIET_S: Final = 10.0
"""Two lines about one target are at least so far apart."""
MOST_WORDS: Final = 160


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one request to the backend, the exporter's own retries included."""

    reason: str = ""  # why nothing was taken; "" where all was, save what is `rejected`
    again: bool = False  # it may be taken later
    after_s: float = 0.0  # and the backend asked for so much patience
    rejected: int = 0  # items of a request that was taken in part

    @property
    def taken(self) -> bool:
        """Whether the backend has it."""
        return not self.reason


class Health:
    """Mutable state: whether export to one target works, since when it fails and why. Read by control's loop."""

    def __init__(self, what: str, endpoint: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._name = f"OTLP export of {what} to {redacted(endpoint)}"
        self._clock = clock
        self._told = ""  # the reason that the log knows
        self._told_s = -QUIET_S
        self.failing = ""  # the reason; "" while it works

    def now(self, outcome: Outcome) -> None:
        """Take note, and log a change."""
        self.failing = outcome.reason
        if bool(self.failing) == bool(self._told) or self._clock() - self._told_s < QUIET_S:
            return
        self._told, self._told_s = self.failing, self._clock()
        if self.failing:
            logger.warning("%s", self.warning())
        else:
            logger.info("%s works again", self._name)

    def warning(self) -> str:
        """What an operator should know; "" while it works."""
        return f"{self._name} fails: {self.failing}" if self.failing else ""


def words(text: str) -> str:
    """What a peer or a library said, as it may stand in a log."""
    line = printable(" ".join(text.split()))
    return line if len(line) <= MOST_WORDS else f"{line[:MOST_WORDS]}…"


def why(error: BaseException) -> str:
    """The root of an error in words: libraries wrap the one line that matters into several of their own."""
    cause: BaseException | None = error
    deepest = error
    seen: set[int] = set()
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        deepest = cause
        if isinstance(cause, OSError) and cause.errno is not None and cause.errno in errno.errorcode:
            return os.strerror(cause.errno).lower()
        inner = next(
            (each for each in (getattr(cause, "reason", None), *cause.args) if isinstance(each, BaseException)), None
        )
        cause = inner or cause.__cause__ or cause.__context__
    if "timeout" in type(error).__name__.lower():
        return "no answer in time"
    return words(str(deepest)) or type(deepest).__name__
