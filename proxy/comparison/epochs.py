"""Epochs: since when the same versions answer the same exchanges, so that their pairs may be added up.

Only the running epoch is kept. A former one is told to the log when it ends, and what comes late for it is counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal

from ...config.schema import Document
from ...filters.mirror import MirrorConfig, Shadow
from ..telemetry.stats import CallKey, CallStats, CopyStats
from .sums import Book
from .view import Epoch, comparison_of
from .words import sentence

if TYPE_CHECKING:
    from ..telemetry.records import PairsOfKind

MOST_COMPARISONS: Final = 100
"""Some 50 KiB each in practice; where every bucket of every sketch is in use, half a MiB."""
DEFAULT_TOLERANCE: Final = 0.05
MOST_TOLD: Final = 10  # comparisons of an epoch that ends

Why = Literal["start", "configuration", "version", "reset"]


class Epochs:
    """Mutable state: the running epoch, its comparisons, and the sums of calls and copies as they were at its start.

    The baselines are what workers had told by then: up to a second old.
    """

    def __init__(self) -> None:
        self.current: Epoch | None = None
        self.book = Book(MOST_COMPARISONS, 0)
        self.calls_before: Mapping[CallKey, CallStats] = {}
        self.copies_before: Mapping[tuple[str, str], CopyStats] = {}
        self._config = 0
        self._document: Document | None = None

    def take(self, told: Iterable[PairsOfKind]) -> None:
        """Add these pairs to the comparisons."""
        self.book.take(told)

    def configured(self, version: int, document: Document) -> Why | None:
        """All workers swap to this configuration now. Says why a new epoch must begin; None: this one goes on."""
        former, self._document = self._document, document
        self._config = self.book.last_config = version
        return "start" if former is None else why_new(former, document)

    def found(self, document: Document | None) -> Iterator[str]:
        """What the running epoch has found, in lines for the log."""
        if self.current is None:
            return
        most = sorted(self.book.comparisons.items(), key=lambda item: item[1].selected, reverse=True)
        for key, sums in most[:MOST_TOLD]:
            tolerance = tolerance_of(document, key[0], key[3])
            comparison = comparison_of(key, sums, None, tolerance, with_state=False)
            yield f"epoch {self.current.id} ends: {sentence(comparison)}"

    def begin(
        self, why: Why, now: str, calls: Mapping[CallKey, CallStats], copies: Mapping[tuple[str, str], CopyStats]
    ) -> None:
        """Begin anew, with the sums of calls and copies of this moment."""
        number = self.current.id or 0 if self.current else 0
        self.current = Epoch(number + 1, now, why)
        late, refused = self.book.late, self.book.refused
        self.book = Book(MOST_COMPARISONS, self._config, self._config)
        self.book.late, self.book.refused = late, refused
        self.calls_before, self.copies_before = calls, copies


def why_new(former: Document, new: Document) -> Literal["configuration", "version"] | None:
    """Why pairs of these two configurations must not be added up; None: they may be."""
    both = [(former.backends[name], new.backends[name]) for name in former.backends.keys() & new.backends.keys()]
    if any(before.version != after.version for before, after in both):
        return "version"
    same = all((before.endpoints, before.rewrite) == (after.endpoints, after.rewrite) for before, after in both)
    return None if same and _who_answers(former) == _who_answers(new) else "configuration"


def tolerance_of(document: Document | None, route: str, shadow: str) -> float:
    """The share by which a shadow may differ and count as the same."""
    for name, part in shadows(document) if document is not None else ():
        if (name, part.backend) == (route, shadow):
            return part.tolerance / 100
    return DEFAULT_TOLERANCE


def shadows(document: Document) -> Iterator[tuple[str, Shadow]]:
    """Every shadow, with the name of its route."""
    for route in document.routes:
        for config in route.filters:
            if isinstance(config, MirrorConfig):
                for part in config.to:
                    yield route.name, part


def _who_answers(document: Document) -> Any:
    """Which exchanges whom reach: all that a comparison depends on."""
    return [
        (route.name, route.match, route.backend, [part for each in route.filters if (part := each.deciding())])
        for route in document.routes
    ]
