"""What a line of the access log says of an exchange. Compiled; access_line.py, in control, makes the text of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import UNSET

from ..iso_time import time_text
from .records import Line, ShadowLine

if TYPE_CHECKING:
    from .told import ToldCall, ToldExchange


def line_of(told: ToldExchange) -> Line:
    """Numbers are rounded to the microsecond."""
    calls = [call for call in told.calls if call.role == "live"]
    live = calls[-1] if calls else None
    stream = live.stream if live is not None else None
    return Line(
        time=time_text(told.began_s),
        request_id=told.request_id.decode(),
        trace_id=told.trace_id.decode() if told.traced else UNSET,
        method=told.method,
        path=told.path.partition(b"?")[0].decode(),  # a query is told to nobody
        http_version=told.http_version,
        status=told.status,
        reason=told.reason,
        route=told.route,
        flags={flag.key: flag.variant for flag in told.flags} or UNSET,
        experiment=told.experiment or UNSET,
        arm=told.arm or UNSET,
        backend=live.backend if live is not None else "",
        version=live.version if live is not None else "",
        endpoint=live.endpoint if live is not None else "",
        first_byte_ms=_rounded(told.first_byte_ms),
        total_ms=round(told.total_ms, 3),
        request_bytes=told.request_bytes,
        response_bytes=told.response_bytes,
        client=told.client,
        resent=max(live.resent, len(calls) - 1) if live is not None else 0,
        shadows=[_shadow(call) for call in told.calls if call.role == "shadow"] or UNSET,
        time_to_first_token_ms=_rounded(stream.first_token_ms) if stream is not None else UNSET,
        time_per_output_chunk_ms=_rounded(stream.per_chunk_ms) if stream is not None else UNSET,
        output_chunks=stream.chunks if stream is not None else UNSET,
        headers=told.fields or UNSET,
    )


def _shadow(call: ToldCall) -> ShadowLine:
    first_byte_ms = None if call.first_byte_ms is None else round(call.first_byte_ms - call.start_ms, 3)
    total_ms = round(call.end_ms - call.start_ms, 3) if call.span_id and call.outcome != "pending" else None
    return ShadowLine(call.backend, call.version, call.status, call.outcome, first_byte_ms, total_ms)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
