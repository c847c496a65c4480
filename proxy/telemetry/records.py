"""Droppable records: what a worker tells control once, about single exchanges, and may lose."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec


class FailedExchange(msgspec.Struct, array_like=True, gc=False, tag="failed"):
    """An exchange that ended without the backend's whole answer, save that its client simply left."""

    route: str
    backend: str  # "" when none was asked
    endpoint: str  # that was asked last, reached or not; "" when none was chosen
    status: int  # what the client was told
    reason: str
    request_id: str
    total_ms: float


class StreamTimes(msgspec.Struct, array_like=True, gc=False):
    """What a streamed answer (server-sent events) adds to a call's times."""

    first_token_ms: float | None  # from the call's start to the first event with content; the role's event has none
    per_chunk_ms: float | None  # mean time between two events with content; None where all came at once
    chunks: int  # events with content


class PairKind(msgspec.Struct, array_like=True, gc=False):
    """What pairs of a kind have in common.

    An outcome is "complete" or a reason: of contract.md's table for the live call, of a dropped or failed copy for the
    shadow's. `censored`: the copy was cut short, so that it counts as at least `shadow_total_ms` slow. `tainted`: the
    live answer was held back by its client, so that its total is no measure of the backend.
    """

    route: str
    arm: str
    config: int  # version of the snapshot
    live: str  # backend
    live_version: str
    shadow: str
    shadow_version: str
    live_status: int
    shadow_status: int  # 0: no answer
    live_outcome: str
    shadow_outcome: str
    sent: bool  # False: the copy was dropped before anything was sent
    censored: bool
    tainted: bool
    calibration: bool


class Pair(PairKind, array_like=True, gc=False):
    """The live and the shadow call of one exchange. Times are milliseconds since both were asked for; None: never.

    Control is told of pairs by the kind, as `PairsOfKind`; this is one of them, spelled out.
    """

    request_id: str
    live_first_byte_ms: float | None
    live_total_ms: float | None
    shadow_first_byte_ms: float | None
    shadow_total_ms: float | None
    live_gap_ms: float | None  # the longest silence within the answer's body
    shadow_gap_ms: float | None
    request_bytes: int
    live_bytes: int
    shadow_bytes: int
    live_stream: StreamTimes | None = None  # None: no stream of events, or none that could be read
    shadow_stream: StreamTimes | None = None  # likewise, and where live's is None


class PairsOfKind(msgspec.Struct, array_like=True, gc=False):
    """Pairs of one kind as a worker tells them; pairs.py packs and unpacks what sets them apart."""

    kind: PairKind
    figures: bytes
    request_ids: bytes
    streams: bytes = b""  # where the live answers were streams of events


class ToldFlag(msgspec.Struct, array_like=True, gc=False):
    """A flag that decided something, for feature_flag.*."""

    key: str
    variant: str  # what it decided: a backend, or the effects' names
    reason: str  # targeting_match | split | unknown (of a filter that is none of ours)
    about: dict[str, str] = {}  # its kind, owner and expiry, as the configuration documents them


class ToldPair(msgspec.Struct, array_like=True, gc=False):
    """What a copy's span says of its pair; None where either side has no such figure."""

    latency_delta_ms: float | None
    latency_ratio: float | None
    status_match: bool | None


class ToldCall(msgspec.Struct, array_like=True, gc=False):
    """One call to a backend, live or a copy. Times are milliseconds since the exchange began; None: never."""

    role: Literal["live", "shadow"]
    backend: str
    version: str
    endpoint: str  # Endpoint.label; "" when none was chosen
    trace_id: str  # "": the exchange's own; else that of a copy that has a trace to itself
    span_id: str  # 16 hexadecimal digits, as the backend was told; "" for a copy that was never sent
    start_ms: float
    first_byte_ms: float | None
    end_ms: float
    status: int  # 0: no answer
    outcome: str  # "complete", "pending" (a copy under way: no span is made of it yet), or a reason as in `Pair`
    censored: bool
    resent: int  # how often the call was made again before this one
    request_bytes: int
    response_bytes: int
    stream: StreamTimes | None
    pair: ToldPair | None  # of a copy


class ToldExchange(msgspec.Struct, array_like=True, gc=False, tag="exchange"):
    """One exchange told whole: what its spans and its line of the access log are made of. Sizes are bytes of bodies."""

    traced: bool  # becomes spans
    logged: bool  # becomes a line of the access log
    began_s: float  # wall clock, seconds since 1970
    trace_id: str  # 32 hexadecimal digits
    span_id: str  # 16, of the SERVER span
    parent_id: str  # 16, the caller's; "" where the trace began here
    trace_state: str  # as it is passed on; "" for none
    sampled: bool  # by the draw or by the parent; False: told since something befell it
    request_id: str
    method: str
    path: str  # without its query, cut at `telling.MOST_CHARACTERS`; "" where the head was refused
    scheme: str
    client: str  # the peer's address
    port: int  # that it came to; 0 for a Unix socket
    http_version: str  # "1.1"
    route: str
    experiment: str
    arm: str
    flags: list[ToldFlag]
    config: int  # version of the snapshot
    status: int  # what the client was told; 0: it left before an answer
    reason: str  # "" for a whole answer
    first_byte_ms: float | None
    total_ms: float
    request_bytes: int
    response_bytes: int
    calls: list[ToldCall]  # attempts in their order, the live call's last one before the copies
    fields: dict[str, str]  # request header fields that the configuration names for traces or the access log
    live_told: bool = True  # False: only a late copy is new, the exchange itself was told before


Record: TypeAlias = FailedExchange | ToldExchange
