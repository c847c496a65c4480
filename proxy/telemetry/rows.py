"""From what is counted to the points of families: rows that have a name, and what of a row each family tells."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, Generic, Literal, TypeVar

from .family import Point, Points, Sources, Value, Values
from .stats import CallKey, CallStats, Timed

Row = TypeVar("Row")
_CLASSES: Final = {0: ("none",)} | {digit: (f"{digit}xx",) for digit in range(1, 10)}


class Rows(Generic[Row]):
    """What is counted alike, and the values of the attributes that tell one row from the others."""

    def __init__(self, found: Callable[[Sources], Iterable[Row]], name: Callable[[Row], Values]) -> None:
        self._found = found
        self._name = name

    def named(self, sources: Sources) -> Iterator[tuple[Values, Row]]:
        """Each row behind its name."""
        return ((self._name(row), row) for row in self._found(sources))

    def value(self, of: Callable[[Row], Value]) -> Points:
        """One point for each row."""
        return self.values(lambda row: (((), of(row)),))

    def values(self, of: Callable[[Row], Iterable[tuple[Values, Value]]]) -> Points:
        """Several points for each row, with further attributes behind its name."""
        return lambda sources: (
            Point(name, further, value)
            for name, row in self.named(sources)
            for further, value in of(row)
            if value is not None
        )

    def counts(self, of: Callable[[Row], Mapping[int, int] | Mapping[str, int]]) -> Points:
        """One point for each key of a mapping, in their order."""
        return self.values(lambda row: (((key,), count) for key, count in sorted(of(row).items())))


WHOLE: Final = Rows[Sources](lambda sources: (sources,), lambda _: ())
"""The program as a whole: one row without a name."""


class Calls(Rows[CallStats]):
    """The calls of one role."""

    def __init__(self, role: Literal["live", "shadow"], name: Callable[[CallKey], Values]) -> None:
        super().__init__(
            lambda sources: (call for call in sources.calls if call.key.role == role), lambda call: name(call.key)
        )

    def durations(self, of: Callable[[CallStats], Timed]) -> Points:
        """A histogram of each of which there are any."""

        def points(sources: Sources) -> Iterator[Point]:
            for name, call in self.named(sources):
                if (timed := of(call)).sketch:
                    yield Point(name, (), sources.bounds.of(timed))

        return points

    def by_class(self, of: Callable[[CallStats], Mapping[int, Timed]]) -> Points:
        """A histogram for each class of status: 2xx; none, where there was no status."""

        def points(sources: Sources) -> Iterator[Point]:
            for name, call in self.named(sources):
                for digit, timed in sorted(of(call).items()):
                    yield Point(name, _CLASSES[digit], sources.bounds.of(timed))

        return points
