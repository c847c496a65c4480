"""The whole program: what models were sent as trace context is what a collector is told as spans."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.kit import serving
from tests.kit.ask import status, until
from tests.kit.program import Program, running
from tests.kit.rehearsing import rehearsing

SERVER, CLIENT = 2, 3
FLAGGED = """\
listeners: {ingress: {bind: 127.0.0.1:0}}
backends: {stable: {endpoints: [STABLE]}, next: {endpoints: [NEXT]}}
routes:
  - {name: iris, match: {path_prefix: /}, backend: stable, filters: [{type: flags, rules: [RULE]}]}
telemetry: {traces: {sample: 1}}
"""
WITHIN_S = 15.0
NONE: Mapping[str, str] = {}


class Seen:
    """An HTTP server of any kind. Mutable state: the heads and bodies of the requests that it answered, in order."""

    def __init__(self) -> None:
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.url = ""
        self._more = threading.Condition()

    def take(self, head: dict[str, str], body: bytes) -> None:
        """One more request."""
        with self._more:
            self.requests.append((head, body))
            self._more.notify_all()

    def parents(self) -> set[tuple[str, str, str]]:
        """Trace id, span id and flags of each request."""
        heads = [head["traceparent"].split("-") for head, _ in self.requests]
        return {(trace_id, span_id, flags) for _, trace_id, span_id, flags in heads}

    def spans(self) -> list[Any]:
        """What a collector was sent."""
        with self._more:
            told = [ExportTraceServiceRequest.FromString(body) for head, body in self.requests]
        scopes = [scope for each in told for resource in each.resource_spans for scope in resource.scope_spans]
        return [span for scope in scopes for span in scope.spans]

    def wait_spans(self, count: int) -> None:
        """Return as soon as there are so many."""
        with self._more:
            assert self._more.wait_for(lambda: len(self.spans()) >= count, WITHIN_S), f"only {len(self.spans())} spans"


@contextmanager
def seen(status: int = 200) -> Iterator[Seen]:
    each = Seen()

    class Handler(serving.Handler):
        def do_POST(self) -> None:
            each.take({name.lower(): value for name, value in self.headers.items()}, self.body())
            self.wfile.write(b"HTTP/1.1 %d Fine\r\nContent-Length: 0\r\n\r\n" % status)

    with serving.serving(Handler) as each.url:
        yield each


@contextmanager
def traced(
    folder: Path, live: Seen, shadow: Seen, collector: Seen, variables: Mapping[str, str] = NONE, **traces: float
) -> Iterator[Program]:
    """The program, of two workers, which tells the collector its spans and nothing else."""
    environment = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": collector.url, "OTEL_METRICS_EXPORTER": "none", **variables}
    with rehearsing(
        folder, live.url, shadow.url, environment=environment, workers=2, telemetry={"traces": traces}
    ) as program:
        yield program


def ask(program: Program, count: int) -> None:
    """So many requests, each on a connection of its own, so that every worker has some."""
    for _ in range(count):
        with socket.create_connection(program.address("ingress"), timeout=WITHIN_S) as client:
            client.sendall(b"POST /v2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc")
            with client.makefile("rb") as answer:
                assert answer.read().startswith(b"HTTP/1.1 200")


def test_every_call_is_a_span_of_the_trace_that_its_backend_was_told(tmp_path: Path) -> None:
    with seen() as live, seen() as shadow, seen() as collector:
        with traced(tmp_path, live, shadow, collector, sample=1) as program:
            ask(program, 20)
            collector.wait_spans(60)  # a drain cuts copies that are under way
        spans = collector.spans()
    assert len(spans) == 60, "nothing twice"
    servers = {span.span_id: span for span in spans if span.kind == SERVER}
    clients = [span for span in spans if span.kind == CLIENT]
    assert (len(servers), len(clients)) == (20, 40)
    for span in clients:
        server = servers[span.parent_span_id]
        assert span.trace_id == server.trace_id
        assert server.start_time_unix_nano <= span.start_time_unix_nano <= span.end_time_unix_nano
    told = {(span.trace_id.hex(), span.span_id.hex(), "01") for span in clients}
    assert told == live.parents() | shadow.parents()
    assert len({span.trace_id for span in spans}) == 20


def test_a_flag_that_decided_tells_what_it_is_for_and_whose_it_is(tmp_path: Path) -> None:
    rule = "{flag: dogfood, backend: next, kind: release, owner: ranking, expires: 2031-01-31}"
    with seen() as live, seen() as shadow, seen() as collector:
        text = FLAGGED.replace("STABLE", live.url).replace("NEXT", shadow.url).replace("RULE", rule)
        environment = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": collector.url, "OTEL_METRICS_EXPORTER": "none"}
        with running(text, tmp_path, environment=environment) as program:
            ask(program, 1)
            collector.wait_spans(2)
        (server,) = (span for span in collector.spans() if span.kind == SERVER)
    (evaluation,) = (event for event in server.events if event.name == "feature_flag.evaluation")
    for said in (server, evaluation):
        told = {each.key: each.value.string_value for each in said.attributes if "flag." in each.key}
        assert told.items() >= {
            "feature_flag.key": "dogfood", "feature_flag.result.variant": "next", "understudy.flag.kind": "release",
            "understudy.flag.owner": "ranking", "understudy.flag.expires": "2031-01-31",
        }.items()  # fmt: skip


def test_only_what_befell_is_told_where_nothing_is_sampled(tmp_path: Path) -> None:
    with seen() as live, seen(status=503) as shadow, seen() as collector:
        with traced(tmp_path, live, shadow, collector, sample=0) as program:
            ask(program, 4)
            collector.wait_spans(12)
        spans = collector.spans()
    assert len(spans) == 12, "its shadow answered another status"
    told = {(span.trace_id.hex(), span.span_id.hex(), "00") for span in spans if span.kind == CLIENT}
    assert told == live.parents() | shadow.parents(), "backends were told the truth: it was not sampled"


def test_what_the_rate_has_no_room_for_is_no_trace_anywhere_and_counted(tmp_path: Path) -> None:
    with seen() as live, seen() as shadow, seen() as collector:
        with traced(tmp_path, live, shadow, collector, sample=1, rate=24) as program:
            ask(program, 60)
            sampled = {trace_id for trace_id, _, flags in live.parents() if flags == "01"}
            collector.wait_spans(3 * len(sampled))
            until(lambda: status(program)["lost"].get("spans_beyond_rate") == 3 * (60 - len(sampled)))
        spans = collector.spans()
    # A worker's second has 12 spans, of which a fifth is kept for what befell: three exchanges, and what time adds.
    assert 3 <= len(sampled) < 60, "one worker may have had most of them"
    assert {span.trace_id.hex() for span in spans} == sampled
    assert len(spans) == 3 * len(sampled)


def test_a_variable_that_no_header_may_hold_is_named_and_the_export_goes_on_without_it(tmp_path: Path) -> None:
    wrong = {"OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%0As3cret"}
    with seen() as live, seen() as shadow, seen() as collector:
        with traced(tmp_path, live, shadow, collector, wrong, sample=1) as program:
            ask(program, 4)
            collector.wait_spans(12)
            now = status(program)
            log = program.stderr
    assert "OTEL_EXPORTER_OTLP_HEADERS is ignored; allowed: " in log
    assert "s3cret" not in log
    assert (now["lost"]["spans"], now["warnings"]) == (0, [])
    assert "authorization" not in collector.requests[0][0]
