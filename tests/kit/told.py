"""What a worker gathers of exchanges that it tells, made by hand."""

from __future__ import annotations

from typing import Any

from understudy.proxy.telemetry.records import StreamTimes
from understudy.proxy.telemetry.told import ToldCall, ToldExchange, ToldFlag, ToldPair

TRACE = b"0af7651916cd43dd8448eb211c80319c"
SERVER = b"b7ad6b7169203331"
BYTES = {"trace_id", "span_id", "parent_id", "trace_state", "request_id", "path"}
ABOUT = {"kind": "release", "owner": "ranking", "expires": "2031-01-31"}  # of a flag
BEGAN_S = 1_900_000_000.25


def told_call(**changes: Any) -> ToldCall:
    """A live call that was answered whole; `role="shadow"` makes it a copy."""
    is_shadow = changes.get("role") == "shadow"
    values: dict[str, Any] = {
        "role": "live", "backend": "next" if is_shadow else "stable", "version": "9" if is_shadow else "7",
        "endpoint": "127.0.0.1:9003" if is_shadow else "127.0.0.1:9001", "trace_id": b"",
        "span_id": b"00f067aa0ba902b8" if is_shadow else b"00f067aa0ba902b7", "start_ms": 0.5, "first_byte_ms": 10.0,
        "end_ms": 12.0, "status": 200, "outcome": "complete", "censored": False, "resent": 0, "request_bytes": 100,
        "response_bytes": 200, "stream": None, "pair": ToldPair(2.5, 1.25, True) if is_shadow else None,
    }  # fmt: skip
    return ToldCall(**in_bytes(values | changes))


def in_bytes(values: dict[str, Any]) -> dict[str, Any]:
    """What is told as bytes may be given as text."""
    return {
        name: value.encode() if name in BYTES and isinstance(value, str) else value for name, value in values.items()
    }


def told_exchange(**changes: Any) -> ToldExchange:
    """An exchange that a shadow heard; by default all went well."""
    values: dict[str, Any] = {
        "traced": True, "logged": False, "began_s": BEGAN_S, "trace_id": TRACE, "span_id": SERVER, "parent_id": b"",
        "trace_state": b"", "sampled": True, "request_id": b"r1", "method": "POST", "path": b"/v2/models/iris/infer",
        "scheme": "http", "client": "10.0.0.9", "port": 7080, "http_version": "1.1", "route": "iris",
        "experiment": "ranker-v2", "arm": "stable", "flags": [], "config": 3, "status": 200, "reason": "",
        "first_byte_ms": 10.5, "total_ms": 12.5, "request_bytes": 100, "response_bytes": 200,
        "calls": [told_call(), told_call(role="shadow")], "fields": {},
    }  # fmt: skip
    return ToldExchange(**in_bytes(values | changes))


def everything() -> list[ToldExchange]:
    """Records that between them use everything that a span can hold."""
    return [
        told_exchange(
            parent_id=b"00f067aa0ba902aa", trace_state=b"us=1,vendor=a-b",
            flags=[ToldFlag("dogfood", "canary", "split", ABOUT)],
            fields={"x-tenant": "blue\xe9"},
        ),
        told_exchange(method="BREW", status=503, reason="connect_failed", calls=[
            told_call(status=0, outcome="connect_failed", first_byte_ms=None, endpoint="", resent=1),
            told_call(role="shadow", span_id=b"", outcome="budget_requests", status=0),
        ]),
        told_exchange(port=0, arm="", experiment="", calls=[
            told_call(endpoint="unix:/run/model.sock", stream=StreamTimes(8.0, 1.5, 400), status=404),
            told_call(role="shadow", trace_id=b"f" * 32, censored=True, outcome="shadow_timeout"),
        ]),
        told_exchange(live_told=False, calls=[told_call(role="shadow", status=500)]),
    ]  # fmt: skip


def fields_of(of: object) -> dict[str, Any]:
    """All that is told, by name."""
    return {name: getattr(of, name) for name in dir(of) if not name.startswith("_")}
