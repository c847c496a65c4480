"""The SDK's exporters over gRPC, with eyes: they say only whether a request failed.

Imports the SDK and grpcio: only an export over gRPC may import this module.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, ClassVar, Final

os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its C core writes to stderr, past every logger; read at its import

import grpc
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from ....config.environment import Signal
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

    def __init__(self) -> None:
        self.stub: Any = None
        self.outcome = _NOTHING_SENT

    def Export(self, **options: Any) -> Any:
        """As the SDK calls it."""
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


class _Encoded:
    """Sends what is encoded already, in front of an exporter of the SDK that would encode it."""

    _client: Any  # made anew when a connection failed
    _request: ClassVar[Any]

    def __init__(self, target: Target) -> None:
        self._watched = _Watched()
        super().__init__(**_options(target))

    def send(self, request: bytes) -> Outcome:
        """The request and its retries, within the timeout."""
        self._watched.outcome = _NOTHING_SENT
        self._export(request)  # type: ignore[attr-defined]
        return self._watched.outcome

    def _initialize_channel_and_stub(self) -> None:
        super()._initialize_channel_and_stub()  # type: ignore[misc]
        self._watched.stub, self._client = self._client, self._watched

    def _translate_data(self, data: Any) -> Any:
        return self._request.FromString(data)

    def _count_data(self, data: Any) -> int:
        return 0  # for metrics of the SDK's own, which are off


class SpanExporter(_Encoded, OTLPSpanExporter):
    """Of an ExportTraceServiceRequest."""

    _request = ExportTraceServiceRequest


class MetricExporter(_Encoded, OTLPMetricExporter):
    """Of an ExportMetricsServiceRequest."""

    _request = ExportMetricsServiceRequest


EXPORTERS: Final[dict[Signal, type[_Encoded]]] = {"traces": SpanExporter, "metrics": MetricExporter}


def _options(target: Target) -> dict[str, Any]:
    names = (("grpc.ssl_target_name_override", target.server_name),) if target.server_name is not None else None
    return {
        "endpoint": target.endpoint,
        "credentials": _credentials(target) if target.endpoint.lower().startswith("https:") else None,
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
