"""What the SDK's exporters make of what backends answer, over HTTP and gRPC: taken, later, never, in part."""

from __future__ import annotations

import ssl
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as trace_pb2
from understudy.proxy.telemetry.export import over_http
from understudy.proxy.telemetry.export.exporters import sending
from understudy.proxy.telemetry.export.metrics import encoded
from understudy.proxy.telemetry.export.outcome import Outcome
from understudy.proxy.telemetry.export.plan import Target
from understudy.proxy.telemetry.export.wire import Wire

from tests.kit.certificates import Authority
from tests.kit.collector import PROTOBUF, Answer, Collector, Seen, grpc_collector, http_collector, nobody
from tests.proxy.telemetry.test_sender import measured
from tests.proxy.telemetry.test_wire import everything

WIRE = Wire({"service.name": "x"}, "understudy", "1", "")
REQUEST = WIRE.enclosed(everything())
METRICS = encoded(measured(1), WIRE)
COUNT = len(everything())
REFUSED = Outcome("connection refused", again=True)


def target(url: str, protocol: str = "http/protobuf", signal: str = "traces", **changes: Any) -> Target:
    values: dict[str, Any] = {
        "signal": signal, "endpoint": url if protocol == "grpc" else f"{url}/v1/{signal}", "protocol": protocol,
        "headers": (("x-token", "t0k"),), "compression": "none", "timeout_s": 0.6, "ca": None, "server_name": None,
        "certificate": None, "key": None,
    }  # fmt: skip
    return Target(**(values | changes))


def sent(collector: Collector, **changes: Any) -> Outcome:
    """What becomes of one request of spans over HTTP."""
    return sending(target(collector.url, **changes))(REQUEST)


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_spans_and_metrics_over_http(compression: str) -> None:
    with http_collector() as collector:
        assert sent(collector, compression=compression) == Outcome()
        chosen = target(collector.url, signal="metrics", compression=compression)
        assert sending(chosen)(METRICS) == Outcome()
        assert [each.path for each in collector.seen] == ["/v1/traces", "/v1/metrics"]
        assert collector.spans == COUNT
        for each in collector.seen:
            assert each.headers["x-token"] == "t0k"
            assert each.headers.get("content-encoding", "none") == compression


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_spans_and_metrics_over_grpc(compression: str) -> None:
    with grpc_collector() as collector:
        assert sending(target(collector.url, "grpc", compression=compression))(REQUEST) == Outcome()
        chosen = target(collector.url, "grpc", signal="metrics", compression=compression)
        assert sending(chosen)(METRICS) == Outcome()
        assert collector.spans == COUNT
        assert [each.headers["x-token"] for each in collector.seen] == ["t0k", "t0k"]


def test_over_grpc_an_endpoint_without_a_scheme_has_tls_unless_it_is_said_to_have_none() -> None:
    with grpc_collector() as collector:
        bare = collector.url.removeprefix("http://")
        assert sending(target(bare, "grpc", insecure=True))(REQUEST) == Outcome()
        assert not sending(target(bare, "grpc"))(REQUEST).taken
        assert not sending(target(f"https://{bare}", "grpc", insecure=True))(REQUEST).taken
        assert collector.spans == COUNT


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_variables_are_read_in_one_place_and_not_by_the_sdk_again(
    protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would send what we have found no header to hold, fail for a timeout that is none, and try TLS."""
    wrong = {"HEADERS": "x-own=%0As3cret", "TIMEOUT": "soon", "INSECURE": "false", "COMPRESSION": "zstd"}
    for name, text in wrong.items():
        for infix in ("", "TRACES_"):
            monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_{infix}{name}", text)
    opened: AbstractContextManager[Collector] = grpc_collector() if protocol == "grpc" else http_collector()
    with opened as collector:
        assert sending(target(collector.url, protocol, headers=()))(REQUEST) == Outcome()
        assert "x-own" not in collector.seen[0].headers


PARTLY = trace_pb2.ExportTraceServiceResponse(
    partial_success=trace_pb2.ExportTracePartialSuccess(rejected_spans=3, error_message="too many")
)
PARTLY_METRICS = metrics_pb2.ExportMetricsServiceResponse(
    partial_success=metrics_pb2.ExportMetricsPartialSuccess(rejected_data_points=2)
)


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_what_is_taken_in_part_is_said(protocol: str) -> None:
    def partly(seen: Seen) -> Any:
        return PARTLY if seen.spans else PARTLY_METRICS

    opened: AbstractContextManager[Collector] = (
        grpc_collector(lambda seen, _: partly(seen)) if protocol == "grpc" else http_collector()
    )
    with opened as collector:
        collector.answer = lambda seen: Answer(body=partly(seen).SerializeToString())
        assert sending(target(collector.url, protocol))(REQUEST) == Outcome(rejected=3)
        chosen = target(collector.url, protocol, "metrics")
        assert sending(chosen)(METRICS) == Outcome(rejected=2)


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (Answer(400), Outcome("HTTP 400 Bad Request")),
        (Answer(401), Outcome("HTTP 401 Unauthorized")),
        (Answer(404), Outcome("HTTP 404 Not Found")),
        (Answer(500), Outcome("HTTP 500 Internal Server Error")),
        (Answer(302, {"location": "/login"}), Outcome("HTTP 302 Found")),
        (Answer(599), Outcome("HTTP 599")),
        (Answer(503, {"retry-after": "7"}), Outcome("HTTP 503 Service Unavailable", again=True, after_s=7)),
        (Answer(429, {"retry-after": "1e9"}), Outcome("HTTP 429 Too Many Requests", again=True, after_s=60)),
        (Answer(429, {"retry-after": "nonsense"}), Outcome("HTTP 429 Too Many Requests", again=True)),
        (
            Answer(429, {"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}),
            Outcome("HTTP 429 Too Many Requests", again=True, after_s=0),
        ),
        (
            Answer(200, {"content-type": "text/html"}, b"<html>log in"),
            Outcome("HTTP 200 with a page for people: this is no OTLP endpoint"),
        ),
        (Answer(200, PROTOBUF, b"\xff garbage"), Outcome()),
        (Answer(200, {"content-type": "application/json"}, b"{}"), Outcome()),
        (Answer(204, {}), Outcome()),
    ],
)
def test_every_answer_over_http_has_its_consequence(answer: Answer, outcome: Outcome) -> None:
    with http_collector() as collector:
        collector.answer = lambda _: answer
        assert sent(collector) == outcome


def test_the_sdk_tries_again_within_the_timeout() -> None:
    with http_collector() as collector:
        collector.answer = lambda _: Answer() if len(collector.seen) > 1 else Answer(503, {"retry-after": "0"})
        assert sent(collector, timeout_s=5.0) == Outcome()
        assert len(collector.seen) == 2


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer(raw=b"SSH-2.0-OpenSSH_9.2p1\r\n\r\n"), "SSH-2.0-OpenSSH_9.2p1"),
        (Answer(raw=b""), "Remote end closed connection without response"),
        (Answer(hold=True), "no answer in time"),
        (Answer(raw=b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nab"), "IncompleteRead"),
        (Answer(endless=True, byte_s=30.0), "no answer in time"),
    ],
)
def test_what_is_no_answer_may_be_one_later(answer: Answer, reason: str) -> None:
    with http_collector() as collector:
        collector.answer = lambda _: answer
        begun = time.monotonic()
        outcome = sent(collector)
        assert time.monotonic() - begun < 5
        assert outcome.again
        assert reason in outcome.reason


@pytest.mark.parametrize(
    "changes",
    [
        {"headers": (("authorization", "Bearer s3cret\nx"),)},
        {"headers": (("authorization", " s3cret"),)},
        {"endpoint": "user:s3cret@host:4318/v1/traces"},
        {"endpoint": "http://user:s3cret@[host/v1/traces"},
    ],
)
def test_what_cannot_be_asked_is_told_without_what_is_secret(changes: dict[str, Any]) -> None:
    outcome = sending(target("http://127.0.0.1:9", **changes))(REQUEST)
    assert outcome.reason.startswith("the request cannot be made: Invalid")
    assert not outcome.again


def test_nobody_there() -> None:
    with nobody() as url:
        assert sending(target(url))(REQUEST) == REFUSED
        outcome = sending(target(url, "grpc"))(REQUEST)
    assert outcome.again
    assert outcome.reason.startswith("gRPC UNAVAILABLE")


def test_no_more_of_an_answer_is_read_than_is_worth_reading() -> None:
    with http_collector() as collector:
        collector.answer = lambda _: Answer(endless=True)
        send = over_http.SpanExporter(target(collector.url, timeout_s=5.0))
        assert send.send(REQUEST) == Outcome()
        assert len(send._session._body) <= over_http.MOST_ANSWER_BYTES + 8192
        collector.answer = lambda _: Answer()
        assert send.send(REQUEST) == Outcome()


def test_an_answer_that_comes_byte_by_byte_is_read_for_no_longer_than_the_timeout() -> None:
    with http_collector() as collector:
        collector.answer = lambda _: Answer(endless=True, byte_s=0.1)
        begun = time.monotonic()
        assert sent(collector) == Outcome()
        assert time.monotonic() - begun < 5


def test_an_answer_whose_head_never_ends_is_given_up_at_the_timeout() -> None:
    with http_collector() as collector:
        collector.answer = lambda _: Answer(raw=b"HTTP/1.1 200 OK\r\nx: a\r\n", endless=True, byte_s=0.05)
        send = sending(target(collector.url, timeout_s=0.5))
        begun = time.monotonic()
        outcome = send(REQUEST)
        assert time.monotonic() - begun < 5
        collector.answer = lambda _: Answer()
        assert send(REQUEST) == Outcome(), "the next one is in time"
    assert outcome.again, outcome


def test_no_credentials_of_a_netrc_replace_those_that_are_configured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("NETRC", raising=False)
    with http_collector() as collector:
        assert sending(target(collector.url, headers=(("authorization", "Bearer ours"),)))(REQUEST) == Outcome()
        assert collector.seen[0].headers["authorization"] == "Bearer ours"


def test_a_proxy_of_the_environment_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with http_collector() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert sending(target("http://collector.test:4318"))(REQUEST) == Outcome()
        assert proxy.seen[0].path == "http://collector.test:4318/v1/traces"


@pytest.mark.parametrize(
    ("code", "again"),
    [
        (grpc.StatusCode.UNAVAILABLE, True), (grpc.StatusCode.RESOURCE_EXHAUSTED, True),
        (grpc.StatusCode.UNAUTHENTICATED, False), (grpc.StatusCode.UNIMPLEMENTED, False),
    ],
)  # fmt: skip
def test_every_status_over_grpc_has_its_consequence(code: grpc.StatusCode, again: bool) -> None:
    def refuse(_: Seen, context: grpc.ServicerContext) -> None:
        context.abort(code, "two\nlines\x1b[2J" + "x" * 500)

    with grpc_collector(refuse) as collector:
        outcome = sending(target(collector.url, "grpc"))(REQUEST)
    assert outcome.again is again
    assert outcome.reason.startswith(f"gRPC {code.name}: two lines\\x1b[2J")
    assert len(outcome.reason) < 200


def test_a_grpc_connection_that_failed_is_made_anew_and_still_looked_at() -> None:
    """The SDK does so at the first UNAVAILABLE, then tries again."""

    def partly(_: Seen, context: grpc.ServicerContext) -> Any:
        if len(collector.seen) == 1:
            context.abort(grpc.StatusCode.UNAVAILABLE, "later")
        return PARTLY

    with grpc_collector(partly) as collector:
        assert sending(target(collector.url, "grpc", timeout_s=5.0))(REQUEST) == Outcome(rejected=3)
        assert len(collector.seen) == 2


def test_tls_with_a_client_certificate_and_another_name(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server, client = authority.issue("server", "DNS:collector"), authority.issue("client")
    known = {
        "ca": str(authority.ca), "server_name": "collector", "certificate": str(client.certificate),
        "key": str(client.key),
    }  # fmt: skip
    credentials = grpc.ssl_server_credentials(
        [(server.key.read_bytes(), server.certificate.read_bytes())], authority.ca.read_bytes(), True
    )
    openings: dict[str, AbstractContextManager[Collector]] = {
        "http/protobuf": http_collector(authority.server(server, clients=authority)),
        "grpc": grpc_collector(credentials=credentials),
    }
    for protocol, opened in openings.items():
        with opened as collector:
            assert sending(target(collector.url, protocol, timeout_s=5.0, **known))(REQUEST) == Outcome()
            assert collector.spans == COUNT
            for without in ("ca", "server_name", "certificate"):
                refused = known | {without: None} | ({"key": None} if without == "certificate" else {})
                outcome = sending(target(collector.url, protocol, **refused))(REQUEST)
                assert not outcome.taken, f"{protocol} without {without}"
            assert collector.spans == COUNT


def test_a_configured_authority_wins_over_that_of_requests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority, other = Authority(tmp_path), Authority(tmp_path, "other")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(other.ca))
    context: ssl.SSLContext = authority.server(authority.issue("server", "IP:127.0.0.1"))
    with http_collector(context) as collector:
        assert sent(collector, ca=str(authority.ca), timeout_s=5.0) == Outcome()
