"""What an operator should hear of valid telemetry: what nobody would be told, and what everybody would."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from ..filters.mirror import CREDENTIALS
from . import secrets
from .environment import is_sent
from .paths import Found
from .schema import AccessLogPart, Document, TelemetryPart, TracesPart

_STREAMS = ("stdout", "stderr")


def telemetry_warnings(document: Document, raw: Mapping[str, Any], base: str, environ: Mapping[str, str]) -> Found:
    """Of a document without mistakes; `raw`, `base` and `environ` are those of `warnings.py`."""
    part = document.telemetry
    if part is None:
        return
    yield from _traces_to_nobody(part, raw["telemetry"], environ)
    yield from _told_credentials(part)
    yield from _mixed_ports(part)
    if isinstance(part.access_log, AccessLogPart):
        yield from _unwritable(part.access_log.to, base)


def _traces_to_nobody(part: TelemetryPart, raw: Mapping[str, Any], environ: Mapping[str, str]) -> Found:
    """Only where somebody wrote that there be some: tracing is on by default, for whoever adds an endpoint."""
    written = raw.get("traces")
    if part.traces == "off" or not isinstance(written, Mapping) or is_sent(part, "traces", environ):
        return
    if any(getattr(part.traces, key) for key in written):
        yield (
            ("telemetry", "traces"),
            "has no effect, as traces are sent nowhere; give telemetry.otlp.endpoint, or set"
            " OTEL_EXPORTER_OTLP_ENDPOINT where the program runs",
        )


def _told_credentials(part: TelemetryPart) -> Found:
    for key, whose in (("access_log", "line"), ("traces", "trace")):
        told = getattr(part, key)
        for at, name in enumerate(told.headers if isinstance(told, AccessLogPart | TracesPart) else ()):
            if name.lower().encode() in CREDENTIALS:
                yield ("telemetry", key, "headers", at), f"every {whose} will hold what {name} says: a credential"


def _mixed_ports(part: TelemetryPart) -> Found:
    otlp = part.otlp
    if otlp is None or otlp.endpoint is None:
        return
    protocol = otlp.protocol or "http/protobuf"
    usual = {4317: "grpc", 4318: "http/protobuf"}.get(urlsplit(otlp.endpoint).port or 0, protocol)
    if usual != protocol:
        yield (
            ("telemetry", "otlp", "endpoint"),
            f"is a port where backends speak {usual}, and the protocol is {protocol}",
        )


def _unwritable(to: str, base: str) -> Found:
    """No mistake, as a certificate would be that is missing: the program serves without its log, tries again every
    second, and may run on another machine."""
    reason = None if to in _STREAMS else _why_unwritable(secrets.absolute(to, base))
    if reason is not None:
        yield (
            ("telemetry", "access_log", "to"),
            f"the file {to} cannot be written here: {reason}; until it can be, lines are dropped and counted",
        )


def _why_unwritable(path: str) -> str | None:
    if os.path.isdir(path):
        return "it is a folder"
    if os.path.exists(path):
        return None if _may(path, os.W_OK) else "it is not ours to write"
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        return "its folder is missing"
    return None if _may(folder, os.W_OK | os.X_OK) else "its folder is not ours to write"


def _may(path: str, mode: int) -> bool:
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)
