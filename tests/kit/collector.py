"""An OTLP backend that behaves as a test says: over HTTP in plain Python, over gRPC with grpcio's own server."""

from __future__ import annotations

import gzip
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as trace_pb2

PROTOBUF = {"content-type": "application/x-protobuf"}


class Seen(NamedTuple):
    """One request: its path or method, fields, and the message."""

    path: str
    headers: Mapping[str, str]
    message: Any

    @property
    def spans(self) -> int:
        """How many it held; 0 for metrics."""
        return sum(len(scope.spans) for each in getattr(self.message, "resource_spans", ())
                   for scope in each.scope_spans)  # fmt: skip


class Answer(NamedTuple):
    """Over HTTP. `hold` waits for the collector's `release` first; `raw` is sent in place of everything else.

    The body goes on when it is `endless`, a byte every `byte_s` where that is given; `raw` is sent again and again.
    """

    status: int = 200
    headers: Mapping[str, str] = PROTOBUF
    body: bytes = b""
    hold: bool = False
    raw: bytes | None = None
    endless: bool = False
    byte_s: float = 0.0


class Collector:
    """Mutable state: what it saw, and how it answers the next request."""

    def __init__(self) -> None:
        self.url = ""
        self.seen: list[Seen] = []
        self.answer: Callable[[Seen], Answer] = lambda _: Answer()
        self.release = threading.Event()
        self.changed = threading.Condition()

    def turns(self, answer: Callable[[Seen], Answer]) -> None:
        """From now on it answers so, has seen nothing, and holds nobody any more that it held before."""
        with self.changed:
            self.seen.clear()
            self.answer = answer
            held, self.release = self.release, threading.Event()
        held.set()

    def saw(self, seen: Seen) -> None:
        """Called by the server."""
        with self.changed:
            self.seen.append(seen)
            self.changed.notify_all()

    def wait(self, enough: Callable[[], bool], within_s: float = 10.0) -> None:
        """Until what it saw is enough."""
        with self.changed:
            assert self.changed.wait_for(enough, within_s), f"it saw {len(self.seen)} requests"

    @property
    def spans(self) -> int:
        """In all requests, those that it refused too."""
        return sum(each.spans for each in self.seen)

    def span_ids(self) -> set[bytes]:
        """Likewise; what came twice counts once."""
        return {
            span.span_id
            for each in self.seen
            for resource in getattr(each.message, "resource_spans", ())
            for scope in resource.scope_spans
            for span in scope.spans
        }


@contextmanager
def http_collector(tls: ssl.SSLContext | None = None, bound: socket.socket | None = None) -> Iterator[Collector]:
    """It listens at `url`; on `bound`, where one is given that nobody listens on yet."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            kind = (
                trace_pb2.ExportTraceServiceRequest if "trace" in self.path else metrics_pb2.ExportMetricsServiceRequest
            )
            seen = Seen(self.path, {name.lower(): value for name, value in self.headers.items()}, kind.FromString(body))
            collector.saw(seen)
            answer = collector.answer(seen)
            if answer.hold:
                collector.release.wait(30)
            with suppress(OSError):
                self._answer(answer)

        def _answer(self, answer: Answer) -> None:
            if answer.raw is not None:
                self.wfile.write(answer.raw)
                while answer.endless:
                    collector.release.wait(answer.byte_s)
                    self.wfile.write(answer.raw)
                self.close_connection = True
                return
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", "1000000000" if answer.endless else str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)
            while answer.endless:
                self.wfile.write(b"x" if answer.byte_s else b"x" * 8192)
                collector.release.wait(answer.byte_s)

        def log_message(self, format: str, *args: object) -> None:
            """Tests read the exporter's log, not this one's."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A peer that breaks off is what some tests are about."""

    server = Server(("127.0.0.1", 0), Handler, bind_and_activate=bound is None)
    if bound is not None:
        server.socket.close()
        server.socket = bound
        server.server_address = bound.getsockname()
        server.server_activate()
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    collector.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_address[1]}"
    try:
        yield collector
    finally:
        collector.release.set()
        server.shutdown()
        server.server_close()
        thread.join(5)


@contextmanager
def nobody() -> Iterator[str]:
    """A URL where connections are refused: the port is taken, and nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


@contextmanager
def grpc_collector(
    respond: Callable[[Seen, grpc.ServicerContext], Any] = lambda seen, context: None,
    credentials: grpc.ServerCredentials | None = None,
    port: int = 0,
) -> Iterator[Collector]:
    """`respond` may abort, or return an answer, or bytes that are none; for None it is one without a word. On `port`,
    where one is given whose socket shares it (SO_REUSEPORT)."""
    collector = Collector()

    def handler(service: str, request: Any, otherwise: Any) -> grpc.GenericRpcHandler:
        def answered(message: Any, context: grpc.ServicerContext) -> Any:
            headers = {name: str(value) for name, value in context.invocation_metadata()}
            seen = Seen(type(message).__name__, headers, message)
            collector.saw(seen)
            answer = respond(seen, context) or otherwise
            return answer if isinstance(answer, bytes) else answer.SerializeToString()

        export = grpc.unary_unary_rpc_method_handler(answered, request_deserializer=request.FromString)
        return grpc.method_handlers_generic_handler(f"opentelemetry.proto.collector.{service}", {"Export": export})

    server = grpc.server(ThreadPoolExecutor(8))
    traces, metrics = trace_pb2.ExportTraceServiceResponse(), metrics_pb2.ExportMetricsServiceResponse()
    server.add_generic_rpc_handlers(
        (
            handler("trace.v1.TraceService", trace_pb2.ExportTraceServiceRequest, traces),
            handler("metrics.v1.MetricsService", metrics_pb2.ExportMetricsServiceRequest, metrics),
        )
    )
    if credentials is None:
        collector.url = f"http://127.0.0.1:{server.add_insecure_port(f'127.0.0.1:{port}')}"
    else:
        collector.url = f"https://127.0.0.1:{server.add_secure_port(f'127.0.0.1:{port}', credentials)}"
    server.start()
    try:
        yield collector
    finally:
        collector.release.set()
        server.stop(0).wait(5)
