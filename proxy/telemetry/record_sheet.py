"""What a worker tells control of single exchanges, on its way there, as pairs.py has it of pairs. Compiled."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from librt.strings import BytesWriter

from . import telling
from .account import Account
from .lines import line_of
from .records import FailedExchange, Line, SpanBatch
from .spans import Spans
from .told import ToldExchange

log = logging.getLogger(__name__)

BATCH: Final = 128
"""Of so many exchanges spans and lines are made one after the other, since the first takes several times as long as the
next ones; and a worker hands over so many at once, so that control wakes once for them."""
ROW: Final = 4
"""So many of them in a turn of the loop, which is one of their own: what is done in the turn of a request is done
before its answer leaves, and between two turns requests are served."""
MOST_WAITING: Final = 1000
"""Past it what comes is dropped and counted."""


class RecordSheet:
    """Mutable state: what is not yet handed over, `told` being what nothing was made of yet, and how many records were
    dropped since the start: failures, lines, and exchanges with spans."""

    __slots__ = (
        "_due", "_encoded", "_failures", "_lines", "_spans", "_traced", "_writer", "batch", "dropped", "full", "soon",
        "told",
    )  # fmt: skip

    def __init__(self) -> None:
        self.dropped = 0
        self.full: Callable[[], object] = _nobody  # called when a batch is together
        self.soon: Callable[[Callable[[], None]], object] = _at_once  # has something called in a turn of its own
        self.batch = BATCH
        self.told: list[Account | ToldExchange] = []
        self._due = False  # they will soon be made something of
        self._writer: Spans | None = None  # of what was told last
        self._failures: list[FailedExchange] = []
        self._lines: list[Line] = []
        self._encoded = BytesWriter()
        self._spans = 0  # encoded
        self._traced = 0  # exchanges that they are of

    def __len__(self) -> int:
        """How many records wait."""
        return len(self._failures) + len(self._lines) + self._traced + len(self.told)

    def offer(self, failure: FailedExchange) -> None:
        """Keep it until the next hand-over, or drop and count it. Never blocks, nor does `tell`."""
        if len(self) >= MOST_WAITING:
            self.dropped += 1
        else:
            self._failures.append(failure)
            if len(self._failures) >= BATCH:
                self.full()

    def tell(self, told: Account | ToldExchange, writer: Spans) -> None:
        """Likewise the exchange's spans, which this one makes, and its line of the access log. An account is one that
        nobody changes any more."""
        if len(self) >= MOST_WAITING:
            self.dropped += 1
            return
        if writer is not self._writer:
            self._write(len(self.told))
            self._writer = writer
        self.told.append(told)
        if len(self.told) >= self.batch and not self._due:
            self._due = True
            self.soon(self._make)

    def take(self) -> tuple[list[FailedExchange], list[Line], SpanBatch | None]:
        """All that waits; it waits no more."""
        self._write(len(self.told))
        failures, lines = self._failures, self._lines
        spans = SpanBatch(self._spans, self._encoded.getvalue()) if self._spans else None
        self._failures, self._lines = [], []
        self._encoded.truncate(0)
        self._spans = self._traced = 0
        return failures, lines, spans

    def _make(self) -> None:
        """A row of them, and soon the next one; what has come meanwhile is of the next batch."""
        self._write(ROW)
        self._due = len(self.told) >= ROW
        if self._due:
            self.soon(self._make)
        else:
            self.full()

    def _write(self, count: int) -> None:
        writer = self._writer
        if writer is None:
            return
        epoch_s, encoded = telling.epoch_s(), self._encoded
        for each in self.told[:count]:
            before = len(encoded)
            try:
                told = each if isinstance(each, ToldExchange) else telling.exchange(each, 0.0, epoch_s)
                spans = writer.add(told, encoded)
                if told.logged:
                    self._lines.append(line_of(told))
            except Exception:
                log.exception("route %s: an exchange cannot be told of", _route(each))
                self.dropped += 1
                encoded.truncate(before)
                continue
            self._spans += spans
            self._traced += spans > 0
        del self.told[:count]


def _route(told: Account | ToldExchange) -> str:
    return told.route if isinstance(told, ToldExchange) else told.end.route.name


def _nobody() -> None:
    """Nobody takes a batch before its time."""


def _at_once(work: Callable[[], None]) -> None:
    work()
