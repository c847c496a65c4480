"""Pairs on their way from a worker to control: every one is told, though what many have in common only once a frame.

A pair is counted where it comes about and added up where it arrives, for every mirrored request: hence compiled, and
its figures packed by `_ROW`, which both ends take from here. Columns stand in the order of `Pair`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from struct import Struct
from typing import Any, Final, TypeAlias, cast

from .count import NEVER
from .records import Pair, PairKind, PairsOfKind

MOST_WAITING: Final = 256  # handed over when so many wait: some 20 us of the worker's loop

Figures: TypeAlias = tuple[float, float, float, float, float, float, int, int, int]
"""Milliseconds, NEVER for what never came: first byte and total of live, of the shadow, and both gaps. Then bytes: of
the request, of both answers."""

_ROW: Final = Struct("6d3q")
_pack: Final = _ROW.pack
_ID_END: Final = b"\n"  # stands in no request id

_Kind: TypeAlias = tuple[str, str, int, str, str, str, str, int, int, str, str, bool, bool, bool, bool]


class _Waiting:
    """Pairs of one kind that wait."""

    __slots__ = ("figures", "request_ids")

    def __init__(self) -> None:
        self.figures: list[bytes] = []
        self.request_ids: list[bytes] = []


class PairSheet:
    """Mutable state: the pairs that were not yet handed over, at most `MOST_WAITING`, by kind, and how many they are;
    `dropped`, how many were lost since the start."""

    __slots__ = ("_kinds", "_waiting", "dropped", "full")

    def __init__(self) -> None:
        self.dropped = 0
        self.full: Callable[[], None] = _nobody  # called when `MOST_WAITING` wait
        self._kinds: dict[_Kind, _Waiting] = {}
        self._waiting = 0

    def offer(
        self, route: str, arm: str, config: int, live: str, live_version: str, shadow: str, shadow_version: str,
        live_status: int, shadow_status: int, live_outcome: str, shadow_outcome: str, sent: bool, censored: bool,
        tainted: bool, calibration: bool, request_id: bytes, live_first_byte_ms: float, live_total_ms: float,
        shadow_first_byte_ms: float, shadow_total_ms: float, live_gap_ms: float, shadow_gap_ms: float,
        request_bytes: int, live_bytes: int, shadow_bytes: int,
    ) -> None:  # fmt: skip
        """Keep a `Pair` until the next hand-over, or drop and count it. Times that never came are NEVER."""
        if self._waiting >= MOST_WAITING:
            self.dropped += 1
            return
        kind: _Kind = (
            route, arm, config, live, live_version, shadow, shadow_version, live_status, shadow_status, live_outcome,
            shadow_outcome, sent, censored, tainted, calibration,
        )  # fmt: skip
        waiting = self._kinds.get(kind)
        if waiting is None:
            waiting = self._kinds[kind] = _Waiting()
        waiting.request_ids.append(request_id)
        waiting.figures.append(
            _pack(
                live_first_byte_ms, live_total_ms, shadow_first_byte_ms, shadow_total_ms, live_gap_ms, shadow_gap_ms,
                request_bytes, live_bytes, shadow_bytes,
            )
        )  # fmt: skip
        self._waiting += 1
        if self._waiting >= MOST_WAITING:
            self.full()

    def take(self) -> list[PairsOfKind]:
        """All that wait; they wait no more."""
        kinds, self._kinds = self._kinds, {}
        self._waiting = 0
        return [
            PairsOfKind(PairKind(*kind), b"".join(waiting.figures), _ID_END.join(waiting.request_ids))
            for kind, waiting in kinds.items()
        ]


def _nobody() -> None:
    """Nobody takes them before their time."""


def count_of(pairs: PairsOfKind) -> int:
    """How many they are."""
    return len(pairs.figures) // _ROW.size


def figures_of(pairs: PairsOfKind) -> Iterator[Figures]:
    """What was measured of each."""
    return cast("Iterator[Figures]", _ROW.iter_unpack(pairs.figures))


def spelled_out(pairs: PairsOfKind) -> Iterator[Pair]:
    """Each by itself."""
    common = [getattr(pairs.kind, name) for name in PairKind.__struct_fields__]
    for request_id, figures in zip(pairs.request_ids.split(_ID_END), figures_of(pairs), strict=True):
        own = [None if each == NEVER else each for each in figures]
        values: list[Any] = [*common, request_id.decode(), *own]
        yield Pair(*values)
