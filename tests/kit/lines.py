"""Exchanges as workers tell of them, for the access log, made by hand."""

from __future__ import annotations

from typing import Any

from understudy.proxy.telemetry.lines import line_of
from understudy.proxy.telemetry.records import Line, StreamTimes
from understudy.proxy.telemetry.told import ToldCall, ToldExchange, ToldFlag

from .told import in_bytes

BEGAN_S = 1_795_228_867.0425  # 2026-11-21T02:41:07.0425Z
STREAM = StreamTimes(first_token_ms=80.12345, per_chunk_ms=9.5, chunks=40)
_LIVE: dict[str, Any] = dict(
    role="live", backend="stable", version="7", endpoint="127.0.0.1:9001", trace_id="", span_id="b7ad6b7169203331",
    start_ms=0.2, first_byte_ms=11.5, end_ms=12.25, status=200, outcome="complete", censored=False, resent=0,
    request_bytes=1024, response_bytes=128, stream=None, pair=None,
)  # fmt: skip
_TOLD: dict[str, Any] = dict(
    traced=False, logged=True, began_s=BEGAN_S, trace_id="0af7651916cd43dd8448eb211c80319c", span_id="00f067aa0ba902b7",
    parent_id="", trace_state="", sampled=False, request_id="r-1", method="POST", path="/v2/models/iris/infer",
    scheme="http", client="10.1.2.3", port=7080, http_version="1.1", route="iris", experiment="", arm="", flags=[],
    config=1, status=200, reason="", first_byte_ms=11.6, total_ms=12.3456789, request_bytes=1024, response_bytes=128,
    fields={},
)  # fmt: skip


def told(**changes: Any) -> ToldExchange:
    """An exchange that went well, but for what is said."""
    return ToldExchange(**in_bytes({**_TOLD, "calls": [live()], **changes}))


def line(**changes: Any) -> Line:
    """Its line of the access log."""
    return line_of(told(**changes))


def live(**changes: Any) -> ToldCall:
    """Its live call, but for what is said."""
    return ToldCall(**in_bytes({**_LIVE, **changes}))


def shadow(**changes: Any) -> ToldCall:
    """A copy of it that was answered whole, but for what is said."""
    times = {"start_ms": 0.3, "first_byte_ms": 15.3, "end_ms": 16.3}
    return ToldCall(**in_bytes({**_LIVE, "role": "shadow", "backend": "next", "version": "9", **times, **changes}))


def rich(**changes: Any) -> ToldExchange:
    """An exchange of which there is everything to tell."""
    flags = [ToldFlag("dogfood", "canary", "targeting_match"), ToldFlag("eu", "skip mirror", "split")]
    dropped = shadow(backend="other", version="", outcome="budget_requests", span_id="", status=0, first_byte_ms=None)
    calls = [live(status=0, outcome="upstream_closed"), live(resent=1, stream=STREAM), shadow(), dropped]
    fields = {"x-user-id": "u1", "x-only-traces": "t"}
    whole = {"traced": True, "experiment": "ranker", "arm": "b", "flags": flags, "calls": calls, "fields": fields}
    return told(**{**whole, **changes})
