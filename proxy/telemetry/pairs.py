"""Pairs on their way from a worker to control: every one is told, though what many have in common only once a frame.

A pair is counted where it comes about and added up where it arrives, for every mirrored request: hence compiled, and
its figures packed by `_ROW`, which both ends take from here. Columns stand in the order of `Pair`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from struct import Struct
from typing import Any, Final, TypeAlias, cast

from .count import NEVER
from .records import Pair, PairKind, PairsOfKind, StreamTimes

MOST_WAITING: Final = 256  # handed over when so many wait: some 20 us of the worker's loop

Kind: TypeAlias = tuple[str, str, int, str, str, str, str, int, int, str, str, bool, bool, bool, bool]
"""What a `PairKind` says, in the order of its fields."""

Figures: TypeAlias = tuple[float, float, float, float, float, float, int, int, int]
"""Milliseconds, NEVER for what never came: first byte and total of live, of the shadow, and both gaps. Then bytes: of
the request, of both answers."""

Streams: TypeAlias = tuple[float, float, int, float, float, int]
"""Milliseconds to the first token and between two, and events with content: of live and of the shadow. -1 such events:
its answer was no stream."""

_ROW: Final = Struct("6d3q")
_pack: Final = _ROW.pack
_STREAMS: Final = Struct("2dq2dq")
_ID_END: Final = b"\n"  # stands in no request id

_NO_STREAM: Final = (NEVER, NEVER, -1)


class _Waiting:
    """Pairs of one kind that wait."""

    __slots__ = ("figures", "request_ids", "streams")

    def __init__(self) -> None:
        self.figures: list[bytes] = []
        self.request_ids: list[bytes] = []
        self.streams: list[bytes] = []


class PairSheet:
    """Mutable state: the pairs that were not yet handed over, at most `MOST_WAITING`, by kind, those with streams of
    events apart, and how many they are; `dropped`, how many were lost since the start."""

    __slots__ = ("_kinds", "_streaming", "_waiting", "dropped", "full")

    def __init__(self) -> None:
        self.dropped = 0
        self.full: Callable[[], None] = _nobody  # called when `MOST_WAITING` wait
        self._kinds: dict[Kind, _Waiting] = {}
        self._streaming: dict[Kind, _Waiting] = {}
        self._waiting = 0

    def offer(self, kind: Kind, figures: Figures, request_id: bytes, streams: bytes | None) -> None:
        """Keep a pair until the next hand-over, or drop and count it. `streams` is of `pack_streams`, None where live's
        answer was no stream of events."""
        if self._waiting >= MOST_WAITING:
            self.dropped += 1
            return
        row = _pack(  # first, for it alone may raise: columns stay of one length. `*figures` would make one more tuple
            figures[0], figures[1], figures[2], figures[3], figures[4], figures[5], figures[6], figures[7], figures[8],
        )  # fmt: skip
        kinds = self._kinds if streams is None else self._streaming
        waiting = kinds.get(kind)
        if waiting is None:
            waiting = kinds[kind] = _Waiting()
        if streams is not None:
            waiting.streams.append(streams)
        waiting.request_ids.append(request_id)
        waiting.figures.append(row)
        self._waiting += 1
        if self._waiting >= MOST_WAITING:
            self.full()

    def take(self) -> list[PairsOfKind]:
        """All that wait; they wait no more."""
        kinds = [*self._kinds.items(), *self._streaming.items()]
        self._kinds, self._streaming = {}, {}
        self._waiting = 0
        return [
            PairsOfKind(
                PairKind(*kind), b"".join(waiting.figures), _ID_END.join(waiting.request_ids), b"".join(waiting.streams)
            )
            for kind, waiting in kinds
        ]


def _nobody() -> None:
    """Nobody takes them before their time."""


def count_of(pairs: PairsOfKind) -> int:
    """How many they are."""
    return len(pairs.figures) // _ROW.size


def figures_of(pairs: PairsOfKind) -> Iterator[Figures]:
    """What was measured of each."""
    return cast("Iterator[Figures]", _ROW.iter_unpack(pairs.figures))


def pack_streams(live: StreamTimes, shadow: StreamTimes | None) -> bytes:
    """What a pair's streams of events add to its figures."""
    return _STREAMS.pack(*_packable(live), *(_NO_STREAM if shadow is None else _packable(shadow)))


def streams_of(pairs: PairsOfKind) -> Iterator[Streams]:
    """What `pack_streams` packed of each; nothing where live's answers were no streams."""
    return cast("Iterator[Streams]", _STREAMS.iter_unpack(pairs.streams))


def _packable(stream: StreamTimes) -> tuple[float, float, int]:
    first_ms, between_ms = stream.first_token_ms, stream.per_chunk_ms
    return NEVER if first_ms is None else first_ms, NEVER if between_ms is None else between_ms, stream.chunks


def _stream_times(first_ms: float, between_ms: float, chunks: int) -> StreamTimes | None:
    if chunks < 0:
        return None
    return StreamTimes(None if first_ms == NEVER else first_ms, None if between_ms == NEVER else between_ms, chunks)


def spelled_out(pairs: PairsOfKind) -> Iterator[Pair]:
    """Each by itself."""
    common = [getattr(pairs.kind, name) for name in PairKind.__struct_fields__]
    streams = list(streams_of(pairs))
    for at, (request_id, figures) in enumerate(zip(pairs.request_ids.split(_ID_END), figures_of(pairs), strict=True)):
        own = [None if each == NEVER else each for each in figures]
        values: list[Any] = [*common, request_id.decode(), *own]
        if streams:
            values += [_stream_times(*streams[at][:3]), _stream_times(*streams[at][3:])]
        yield Pair(*values)
