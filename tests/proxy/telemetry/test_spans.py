"""What spans say of exchanges: identity, names, times, attributes, and what counts as an error."""

from __future__ import annotations

from typing import Any

import pytest
from understudy.config.schema import Document, convert
from understudy.proxy.rescue import RESCUES
from understudy.proxy.telemetry.records import StreamTimes
from understudy.proxy.telemetry.spans import CLIENT, SERVER
from understudy.proxy.telemetry.told import ToldExchange, ToldFlag, ToldPair

from tests.kit import told
from tests.kit.spans import Span, encoded, read, spans_by
from tests.kit.told import told_call, told_exchange

BEGAN_NS = int(told.BEGAN_S * 1e9)


def document() -> Document:
    return convert({
        "listeners": {"ingress": {"bind": "127.0.0.1:0"}},
        "backends": {
            "stable": {"endpoints": ["http://127.0.0.1:9001", "unix:/run/model.sock"]},
            "next": {
                "endpoints": ["https://127.0.0.1:9003", "https://[::1]:9003"],
                "rewrite": {"path": {"prefix": "/v2/models/iris", "to": "/v2/models/iris-9"}},
            },
        },
        "routes": [
            {"name": "iris", "match": {"path_prefix": "/v2/"}, "backend": "stable", "filters": [
                {"type": "mirror", "to": [{"backend": "next", "rewrite": {"path": {"prefix": "/v2", "to": "/v3"}}}]},
            ]},
            {"name": "one", "match": {"path": "/one"}, "backend": "next"},
            {"name": "odd", "match": {"path_regex": "/[0-9]+"}, "backend": "stable"},
            {"name": "any", "match": {"methods": ["GET"]}, "backend": "stable"},
        ],
    })  # fmt: skip


SPANS = spans_by(document(), ["X-Tenant"])


def spans_of(record: ToldExchange) -> list[Span]:
    return read(encoded(SPANS, record))


def one(**changes: Any) -> Span:
    """The SERVER span of an exchange."""
    return spans_of(told_exchange(**changes))[0]


def call(**changes: Any) -> Span:
    """The CLIENT span of its only call."""
    (_, span) = spans_of(told_exchange(calls=[told_call(**changes)]))
    return span


def test_an_exchange_is_one_trace_of_a_server_span_and_one_client_span_per_call() -> None:
    server, live, shadow = spans_of(told_exchange(parent_id="00f067aa0ba902aa", trace_state="a=b"))
    assert {span.trace_id.hex() for span in (server, live, shadow)} == {told.TRACE.decode()}
    assert {span.trace_state for span in (server, live, shadow)} == {"a=b"}
    assert (server.kind, live.kind, shadow.kind) == (SERVER, CLIENT, CLIENT)
    assert (server.parent_id.hex(), server.is_remote) == ("00f067aa0ba902aa", True)
    for span, own in ((live, "00f067aa0ba902b7"), (shadow, "00f067aa0ba902b8")):
        assert (span.span_id.hex(), span.parent_id, span.is_remote) == (own, server.span_id, False)
    assert [span.link for span in (server, live, shadow)] == [None] * 3
    assert one().parent_id == b""


def test_a_shadow_may_have_a_trace_of_its_own_that_is_linked() -> None:
    record = told_exchange(trace_state="a=b", calls=[told_call(), told_call(role="shadow", trace_id="f" * 32)])
    server, _, shadow = spans_of(record)
    assert (shadow.trace_id.hex(), shadow.parent_id, shadow.trace_state) == ("f" * 32, b"", "")
    assert shadow.link == (server.trace_id, server.span_id)


def test_times_are_those_of_the_calls() -> None:
    server, live, _ = spans_of(told_exchange())
    assert (server.start_ns, server.end_ns) == (BEGAN_NS, BEGAN_NS + 12_500_000)
    assert (live.start_ns, live.end_ns) == (BEGAN_NS + 500_000, BEGAN_NS + 12_000_000)
    assert [(event.name, event.time_ns - BEGAN_NS) for event in server.events] == [
        ("understudy.first_byte", 10_500_000), ("understudy.last_byte", 12_500_000),
    ]  # fmt: skip
    assert [(event.name, event.time_ns - BEGAN_NS) for event in live.events] == [
        ("understudy.first_byte", 10_000_000), ("understudy.last_byte", 12_000_000),
    ]  # fmt: skip
    assert [event.name for event in call(outcome="truncated").events] == ["understudy.first_byte"]
    assert call(outcome="connect_failed", first_byte_ms=None, status=0).events == []


def test_what_a_server_span_says() -> None:
    span = one(fields={"x-tenant": "blue", "x-logged": "for the access log alone"})
    assert span.name == "POST /v2/*"
    assert span.attributes == {
        "http.request.method": "POST", "url.scheme": "http", "url.path": "/v2/models/iris/infer",
        "client.address": "10.0.0.9", "network.protocol.version": "1.1", "network.local.port": 7080,
        "http.route": "/v2/*", "http.response.status_code": 200, "http.request.body.size": 100,
        "http.response.body.size": 200, "http.request.header.x-tenant": ("blue",), "understudy.request_id": "r1",
        "understudy.route": "iris", "understudy.role": "live", "understudy.backend": "stable",
        "understudy.version": "7", "understudy.arm": "stable", "understudy.experiment": "ranker-v2",
        "understudy.outcome": "complete", "understudy.sampled": True, "understudy.config.version": 3,
    }  # fmt: skip


def test_what_a_client_span_says() -> None:
    _, live, shadow = spans_of(told_exchange())
    assert live.name == "POST stable"
    assert live.attributes == {
        "http.request.method": "POST", "url.full": "http://127.0.0.1:9001/v2/models/iris/infer",
        "server.address": "127.0.0.1", "server.port": 9001, "network.protocol.version": "1.1",
        "http.response.status_code": 200, "http.request.body.size": 100, "http.response.body.size": 200,
        "understudy.route": "iris", "understudy.role": "live", "understudy.backend": "stable",
        "understudy.version": "7", "understudy.arm": "stable", "understudy.experiment": "ranker-v2",
        "understudy.outcome": "complete",
    }  # fmt: skip
    assert shadow.name == "POST next"
    rewritten = "https://127.0.0.1:9003/v3/models/iris-9/infer"
    assert (shadow.attributes["url.full"], shadow.attributes["understudy.role"]) == (rewritten, "shadow")
    assert "understudy.arm" not in shadow.attributes
    pair = {name: value for name, value in shadow.attributes.items() if "pair" in name}
    assert pair == {
        "understudy.pair.latency_delta_ms": 2.5, "understudy.pair.latency_ratio": 1.25,
        "understudy.pair.status_match": True,
    }  # fmt: skip
    unknown = call(role="shadow", pair=ToldPair(None, None, None), censored=True)
    assert not [name for name in unknown.attributes if "pair" in name]
    assert unknown.attributes["understudy.censored"] is True


@pytest.mark.parametrize(
    ("route", "name"),
    [("iris", "POST /v2/*"), ("one", "POST /one"), ("odd", "POST /[0-9]+"), ("any", "POST"), ("gone", "POST")],
)
def test_a_span_has_the_name_of_its_route_and_never_of_its_path(route: str, name: str) -> None:
    assert one(route=route).name == name


def test_a_method_that_nobody_knows_is_no_name() -> None:
    span = one(method="BREW")
    assert span.name == "HTTP /v2/*"
    assert span.attributes["http.request.method"] == "_OTHER"
    assert span.attributes["http.request.method_original"] == "BREW"


def test_a_request_that_could_not_be_read_is_a_span_without_what_it_was() -> None:
    span = one(method="", path="", route="", status=400, reason="bad_request", calls=[])
    assert span.name == "HTTP"
    assert span.attributes["http.request.method"] == "_OTHER"
    absent = {"url.path", "http.route", "understudy.route", "understudy.backend", "http.request.method_original"}
    assert not absent & set(span.attributes)


def test_endpoints() -> None:
    unix = call(endpoint="unix:/run/model.sock").attributes
    assert (unix["server.address"], unix["network.transport"]) == ("/run/model.sock", "unix")
    assert not {"server.port", "url.full"} & set(unix)
    six = call(endpoint="[::1]:9003", backend="next").attributes
    assert (six["server.address"], six["server.port"]) == ("::1", 9003)
    assert six["url.full"] == "https://[::1]:9003/v2/models/iris-9/infer"
    assert "server.address" not in call(endpoint="gone:1").attributes


def test_an_answer_that_streams_has_the_times_of_its_chunks() -> None:
    said = call(stream=StreamTimes(80.0, 12.5, 40)).attributes
    assert said["gen_ai.response.time_to_first_chunk"] == 0.08
    assert said["understudy.stream.time_per_output_chunk"] == 0.0125
    assert said["understudy.stream.chunks"] == 40
    silent = call(stream=StreamTimes(None, None, 0)).attributes
    assert not {"gen_ai.response.time_to_first_chunk", "understudy.stream.time_per_output_chunk"} & set(silent)


def test_every_flag_is_an_event_and_the_first_one_an_attribute() -> None:
    documented = ToldFlag("dogfood", "canary", "targeting_match", told.ABOUT)
    span = one(flags=[documented, ToldFlag("eu", "x", "split")])
    events = [event for event in span.events if event.name == "feature_flag.evaluation"]
    assert [event.attributes["feature_flag.key"] for event in events] == ["dogfood", "eu"]
    assert events[1].attributes == {
        "feature_flag.key": "eu", "feature_flag.result.variant": "x", "feature_flag.result.reason": "split",
        "feature_flag.provider.name": "understudy", "feature_flag.set.id": "iris", "feature_flag.version": "3",
    }  # fmt: skip
    assert span.attributes["feature_flag.key"] == "dogfood"
    assert span.attributes["feature_flag.result.reason"] == "targeting_match"
    for said in (events[0].attributes, span.attributes):
        about = {name: value for name, value in said.items() if name.startswith("understudy.flag.")}
        assert about == {
            "understudy.flag.kind": "release", "understudy.flag.owner": "ranking",
            "understudy.flag.expires": "2031-01-31",
        }  # fmt: skip


@pytest.mark.parametrize(
    ("status", "reason", "error"),
    [
        (200, "", None), (404, "", None), (404, "no_route", None), (413, "body_too_large", None), (500, "", "500"),
        (504, "upstream_timeout", "upstream_timeout"), (200, "truncated", "truncated"), (200, "client_gone", None),
        (0, "client_gone", None), (500, "filter_failed", "filter_failed"), (403, "shadow_refused", None),
    ],
)  # fmt: skip
def test_what_is_an_error_of_a_server_span(status: int, reason: str, error: str | None) -> None:
    span = one(status=status, reason=reason)
    assert span.error == error == span.attributes.get("error.type")
    assert span.attributes.get("http.response.status_code", 0) == status
    assert span.attributes["understudy.outcome"] == (reason or "complete")


@pytest.mark.parametrize(
    ("status", "outcome", "error"),
    [
        (200, "complete", None), (404, "complete", "404"), (503, "complete", "503"),
        (0, "connect_failed", "connect_failed"),
        (200, "truncated", "truncated"), (0, "client_gone", None), (200, "client_gone", None), (200, "replaced", None),
    ],
)  # fmt: skip
def test_what_is_an_error_of_a_client_span(status: int, outcome: str, error: str | None) -> None:
    span = call(status=status, outcome=outcome)
    assert span.error == error == span.attributes.get("error.type")


@pytest.mark.parametrize("outcome", ["complete", *RESCUES, "shadow_timeout", "shadow_error", "slow_shadow"])
@pytest.mark.parametrize("status", [0, 200, 404, 503])
def test_nothing_that_befalls_a_shadow_is_an_error(outcome: str, status: int) -> None:
    span = call(role="shadow", outcome=outcome, status=status)
    assert span.error is None
    assert "error.type" not in span.attributes
    assert span.attributes["understudy.outcome"] == outcome


def test_a_copy_that_was_not_sent_is_an_event_and_one_under_way_comes_later() -> None:
    unsent = told_call(role="shadow", span_id="", outcome="budget_requests", start_ms=0.25)
    under_way = told_call(role="shadow", outcome="pending")
    waiting = told_call(role="shadow", span_id="", outcome="pending")
    server, live = spans_of(told_exchange(calls=[told_call(), unsent, under_way, waiting]))
    (event,) = (event for event in server.events if event.name == "understudy.copy.dropped")
    assert event.attributes == {"understudy.backend": "next", "understudy.outcome": "budget_requests"}
    assert event.time_ns == BEGAN_NS + 250_000
    assert live.attributes["understudy.role"] == "live"
    (late,) = spans_of(told_exchange(live_told=False, calls=[told_call(), told_call(role="shadow")]))
    assert late.attributes["understudy.role"] == "shadow"


def test_what_is_only_logged_has_no_spans() -> None:
    assert spans_of(told_exchange(traced=False, logged=True)) == []
