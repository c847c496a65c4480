"""The SDK's OTLP exporters: which one a target needs, and what it says of a request.

Imports the SDK inside functions, and of the two protocols only the one in use: control without export must not pay for
either, and gRPC costs twice the memory of HTTP.
"""
# ruff: noqa: PLC0415

from __future__ import annotations

import logging
from collections.abc import Callable

from .outcome import Outcome
from .plan import Target


def sending(target: Target) -> Callable[[bytes], Outcome]:
    """What sends an encoded request of this signal: an ExportTraceServiceRequest, or an ExportMetricsServiceRequest.
    Raises what the SDK does for files that cannot be used."""
    if target.problem:
        never = Outcome(target.problem)
        return lambda _: never
    _quiet()
    if target.protocol == "grpc":
        from . import over_grpc

        return over_grpc.EXPORTERS[target.signal](target).send
    from . import over_http

    return over_http.EXPORTERS[target.signal](target).send


def _quiet() -> None:
    """What these would log of every single attempt, `Health` says once for each change."""
    for name in ("opentelemetry", "urllib3", "grpc"):
        library = logging.getLogger(name)
        library.handlers[:] = [logging.NullHandler()]
        library.propagate = False
