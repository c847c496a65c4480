"""What control and its workers say to each other. All times are seconds."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from ..filters.keyuse import KeyUse
from .telemetry.records import FailedExchange, Line, PairsOfKind, SpanBatch
from .telemetry.stats import CallStats, CopyStats, Gauges


class Message(msgspec.Struct, array_like=True):
    """The tag is the first element of the msgpack array."""


class Socket(Message, tag="socket"):
    """Control: the descriptor beside this frame is the listening socket of that name, from the next swap on."""

    listener: str


class Build(Message, tag="build"):
    """Control: compile this document and answer `Built`; serve as before until `Swap`."""

    version: int
    document: bytes
    workers: int
    base: str  # relative paths in the document start here
    secret: bytes = b""  # 32 bytes: the same for every worker


class Swap(Message, tag="swap"):
    """Control: serve by this version from now on, on these listeners and no others; answer `Serving`."""

    version: int
    listeners: list[str]


class Discard(Message, tag="discard"):
    """Control: another worker could not build this version; forget it and the sockets that came for it."""

    version: int


class Drain(Message, tag="drain"):
    """Control: finish what is in flight within this time, answer `Drained` and exit."""

    grace_s: float


class Built(Message, tag="built"):
    """Worker: the version is ready to swap to, or why it is not."""

    version: int
    error: str | None = None


class Serving(Message, tag="serving"):
    """Worker: it accepts connections and serves by this version."""

    version: int


class Report(Message, tag="report"):
    """Worker: every second. Whole and cumulative; calls that did not change since the last report are left out."""

    calls: list[CallStats]
    counters: dict[str, int]
    gauges: Gauges | None  # None: the report before this one had them
    lag_s: float  # how late the loop's timer was: what a request may have waited
    copies: list[CopyStats] = []  # all of them, with the first part of a report in several
    keys: list[KeyUse] = []  # likewise


class Records(Message, tag="records"):
    """Worker: what it tells once and may lose, each in the order in which it came about; pairs by their kinds."""

    failures: list[FailedExchange] = []
    lines: list[Line] = []
    spans: SpanBatch | None = None
    pairs: list[PairsOfKind] = []
    dropped: int = 0  # by this worker since its start: records and pairs


class Drained(Message, tag="drained"):
    """Worker: nothing is in flight any more, or the grace period is over; it exits now."""


Order: TypeAlias = Socket | Build | Swap | Discard | Drain
Notice: TypeAlias = Built | Serving | Report | Records | Drained

encode = msgspec.msgpack.Encoder().encode
encode_into = msgspec.msgpack.Encoder().encode_into
decode_order = msgspec.msgpack.Decoder(Order).decode
decode_notice = msgspec.msgpack.Decoder(Notice).decode
