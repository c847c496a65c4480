"""What a metric is before anybody renders it: /metrics and OTLP say the same numbers because both read these."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import AnyStr, Final, Generic, Literal, NamedTuple, TypeAlias

from ..status import Status
from .sketch import between, counts
from .stats import CallStats, CopyStats, Timed

BOUNDS_S: Final = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 30.0, 60.0, 120.0,
    300.0,
)  # fmt: skip
"""The conventions' buckets of http.server.request.duration, and further both ways: for a cache, for a long answer."""

Kind: TypeAlias = Literal["counter", "updown", "gauge", "histogram"]
"""An OTLP sum that only grows; one that also shrinks; a value that is not to be added up; a histogram."""

Values: TypeAlias = tuple[object, ...]
"""Of attributes, in the order of their names."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """The value of a histogram's point, cumulative since the program started."""

    bounds: tuple[float, ...]  # upper, ascending
    counts: tuple[int, ...]  # one for each bucket, not added up; the last holds what is above all bounds
    sum: float

    @property
    def count(self) -> int:
        """Of all buckets."""
        return sum(self.counts)


Value: TypeAlias = float | Distribution | None
"""Of a point; None: there is none."""


class Point(NamedTuple):
    """One value. Its attributes tell it from the others of its family: the name of a row, and what is further."""

    name: Values
    further: Values
    value: float | Distribution


class Family(NamedTuple):
    """One metric by its OTLP name, with all its points. `unit` is of UCUM, as the conventions write it."""

    name: str
    unit: str
    kind: Kind
    attributes: tuple[str, ...]
    help: str
    points: Iterable[Point]


class Attributes(Generic[AnyStr]):
    """Writes the attributes of points. Mutable state: what is written of rows, each once for all families."""

    def __init__(self, write: Callable[[str, str], AnyStr], none: AnyStr) -> None:
        self._write: Callable[[str, str], AnyStr] = write
        self._none: AnyStr = none
        self._kept: dict[Sequence[str], _Kept[AnyStr]] = {}

    def of(self, family: Family) -> Iterator[tuple[AnyStr, float | Distribution]]:
        """The attributes of each point, one behind the other, and its value."""
        points = iter(family.points)
        first = next(points, None)
        if first is None:
            return
        own = self._named(family.attributes[: len(first.name)])
        further = self._named(family.attributes[len(first.name) :])
        for point in chain((first,), points):
            yield own[point.name] + further[point.further], point.value

    def _named(self, names: Sequence[str]) -> _Kept[AnyStr]:
        return self._kept.setdefault(
            names, _Kept(lambda values: self._none.join(map(self._write, names, map(str, values))))
        )


class _Kept(dict[Values, AnyStr]):
    """What is written of values, by them."""

    def __init__(self, write: Callable[[Values], AnyStr]) -> None:
        super().__init__()
        self._write: Callable[[Values], AnyStr] = write

    def __missing__(self, values: Values) -> AnyStr:
        found: AnyStr = self._write(values)
        self[values] = found
        return found


@dataclass(frozen=True, slots=True)
class Sources:
    """What families are made of: `status` is of now, `calls` and `copies` are sums since the start.

    `lost` says by kind (records, spans, spans_beyond_rate, metrics, logs) what telemetry was dropped, `ended_cpu_s` by
    name what the processes used that are no more.
    """

    status: Status
    calls: Sequence[CallStats]
    copies: Sequence[CopyStats]
    rejected: int  # configurations
    lost: Mapping[str, int] = field(default_factory=dict)
    bounds: Bounds = field(default_factory=lambda: Bounds(BOUNDS_S))
    ended_cpu_s: Mapping[str, float] = field(default_factory=dict)


class Bounds:
    """Upper bounds of buckets in seconds, ascending, and which of a sketch's buckets are between them."""

    def __init__(self, bounds_s: Iterable[float]) -> None:
        self.seconds = tuple(bounds_s)
        self._places = between(self.seconds)

    def of(self, timed: Timed) -> Distribution:
        """The durations in these buckets: exact but for those within 3 % of a bound."""
        return Distribution(self.seconds, tuple(counts(timed.sketch, self._places)), timed.sum_s)


Points: TypeAlias = Callable[[Sources], Iterator[Point]]


class Entry(NamedTuple):
    """One line of a table of families: what is always true of it, and where its points come from.

    The names of attributes come from the code, their values from the code or the configuration: never from a request.
    """

    name: str
    unit: str
    kind: Kind
    attributes: tuple[str, ...]
    help: str
    points: Points

    def family(self, sources: Sources) -> Family:
        """With the points of these sources, each worked out when it is asked for, and once."""
        return Family(self.name, self.unit, self.kind, self.attributes, self.help, self.points(sources))
