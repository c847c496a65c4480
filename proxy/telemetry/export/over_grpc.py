"""The SDK's exporter over gRPC, with eyes: it says only whether a request failed.

It is the one that the SDK's exporters of each signal are made of. They read variables on their way to it, and give up
for what we ignore (config/environment.py).

Imports the SDK and grpcio: only an export over gRPC may import this module.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, ClassVar, Final

os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its C core writes to stderr, past every logger; read at its import

import grpc
from opentelemetry.exporter.otlp.proto.grpc.exporter import OTLPExporterMixin
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2_grpc import MetricsServiceStub
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub
from opentelemetry.sdk.trace.export import SpanExportResult

from ....config.environment import Signal
from .deadline import Deadline
from .outcome import Outcome, words
from .plan import Target

_AGAIN: Final = frozenset(
    getattr(grpc.StatusCode, name)
    for name in (
        "CANCELLED", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS",
    )
)  # fmt: skip
"""As the OTLP specification has it."""
_NOTHING_SENT: Final = Outcome("the request could not be made")


class _Watched:
    """A stub whose answers are looked at. Mutable state: what the last one said."""

    def __init__(self, deadline: Deadline) -> None:
        self.stub: Any = None
        self.outcome = _NOTHING_SENT
        self._deadline = deadline

    def Export(self, **options: Any) -> Any:
        """As the SDK calls it."""
        options["timeout"] = self._deadline.left_s()
        try:
            answer = self.stub.Export(**options)
        except grpc.RpcError as error:
            code, said = error.code(), error.details()
            self.outcome = Outcome(words(f"gRPC {code.name}: {said}"), again=code in _AGAIN)
            raise
        partial = answer.partial_success
        rejected = getattr(partial, "rejected_spans", 0) or getattr(partial, "rejected_data_points", 0)
        self.outcome = Outcome(rejected=rejected)
        return answer


class _Encoded(OTLPExporterMixin):  # type: ignore[type-arg]
    """Sends what is encoded already."""

    _client: Any  # made anew when a connection failed
    _stub_of: ClassVar[Any]
    _request: ClassVar[Any]

    def __init__(self, target: Target) -> None:
        self._deadline = Deadline(target.timeout_s)
        self._watched = _Watched(self._deadline)
        super().__init__(stub=self._stub_of, result=SpanExportResult, signal=target.signal, **_options(target))
        self._headers = tuple(target.headers)  # without those that it reads itself where there are none
        self._target = target
        self._shutdown_in_progress = self._deadline

    def send(self, request: bytes) -> Outcome:
        """The request and its retries, within the timeout."""
        self._watched.outcome = _NOTHING_SENT
        self._deadline.begin()
        self._export(request)
        return self._watched.outcome

    def _initialize_channel_and_stub(self) -> None:
        super()._initialize_channel_and_stub()  # type: ignore[no-untyped-call]
        self._watched.stub, self._client = self._client, self._watched

    def _translate_data(self, data: Any) -> Any:
        return self._request.FromString(data)

    def _count_data(self, data: Any) -> int:
        return 0  # for metrics of the SDK's own, which are off

    @property
    def _exporting(self) -> str:
        return self._target.signal  # for its log, which is off


class SpanExporter(_Encoded):
    """Of an ExportTraceServiceRequest."""

    _stub_of = TraceServiceStub
    _request = ExportTraceServiceRequest


class MetricExporter(_Encoded):
    """Of an ExportMetricsServiceRequest."""

    _stub_of = MetricsServiceStub
    _request = ExportMetricsServiceRequest


EXPORTERS: Final[dict[Signal, type[_Encoded]]] = {"traces": SpanExporter, "metrics": MetricExporter}


def _options(target: Target) -> dict[str, Any]:
    names = (("grpc.ssl_target_name_override", target.server_name),) if target.server_name is not None else None
    scheme = target.endpoint.lower().partition("//")[0]
    is_plain = scheme == "http:" or (scheme != "https:" and target.insecure)
    return {
        "endpoint": target.endpoint,
        "insecure": is_plain,
        "credentials": None if is_plain else _credentials(target),
        "headers": tuple(target.headers),
        "timeout": target.timeout_s,
        "compression": grpc.Compression.Gzip if target.compression == "gzip" else grpc.Compression.NoCompression,
        "channel_options": names,
    }


def _credentials(target: Target) -> Any:
    def read(path: str | None) -> bytes | None:
        return Path(path).read_bytes() if path is not None else None

    return grpc.ssl_channel_credentials(
        root_certificates=read(target.ca),
        private_key=read(target.key or target.certificate),
        certificate_chain=read(target.certificate),
    )
