"""The SDK's OTLP exporters: which one a target needs, and what it says of a request.

Imports the SDK inside functions, and of the two protocols only the one in use: control without export must not pay for
either, and gRPC costs twice the memory of HTTP.
"""
# ruff: noqa: PLC0415

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from .outcome import Outcome
from .plan import Target
from .senders import Measured
from .spans import Value


def span_sending(target: Target) -> Callable[[bytes], Outcome]:
    """What sends an encoded ExportTraceServiceRequest. Raises what the SDK does for files that cannot be used."""
    _quiet()
    if target.protocol == "grpc":
        from . import over_grpc

        return over_grpc.SpanExporter(target).send
    from . import over_http

    return over_http.SpanExporter(target).send


def metric_sending(target: Target, resource: Mapping[str, Value], version: str) -> Callable[[Measured], Outcome]:
    """What sends all metrics. Raises likewise."""
    _quiet()
    from .metrics import MetricsOf

    metrics_of = MetricsOf(resource, version)
    if target.protocol == "grpc":
        from . import over_grpc

        send = over_grpc.MetricExporter(target).send
    else:
        from . import over_http

        send = over_http.MetricExporter(target).send
    return lambda measured: send(metrics_of(measured))


def _quiet() -> None:
    """What these would log of every single attempt, `Health` says once for each change."""
    for name in ("opentelemetry", "urllib3", "grpc"):
        library = logging.getLogger(name)
        library.handlers[:] = [logging.NullHandler()]
        library.propagate = False
