"""The standard OTEL_* variables: what of them becomes part of the document, and what is wrong with them.

The file wins over a variable that says the same thing; OTEL_SDK_DISABLED and OTEL_*_EXPORTER=none, which only turn off,
win over the file. Workers read no environment: they are sent the document that `resolved` returns. Where to export
to, and with which headers, is not put into it: those are control's alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Final, Literal, TypeAlias
from urllib.parse import unquote

import msgspec

from .schema import DEFAULT_SAMPLE, Document, OtlpPart, TelemetryPart, TracesPart

Environ: TypeAlias = Mapping[str, str]
Signal: TypeAlias = Literal["traces", "metrics"]

SIGNALS: Final[tuple[Signal, ...]] = ("traces", "metrics")
DEFAULT_SERVICE_NAME: Final = "understudy"
PROTOCOLS: Final = ("http/protobuf", "grpc")
COMPRESSIONS: Final = ("none", "gzip")
_RATIO_SAMPLERS: Final = ("traceidratio", "parentbased_traceidratio")
_SAMPLERS: Final[Mapping[str, float]] = {
    "always_on": 1.0, "parentbased_always_on": 1.0, "always_off": 0.0, "parentbased_always_off": 0.0,
}  # fmt: skip


def resolved(document: Document, environ: Environ) -> Document:
    """The document with what the environment adds, for workers and for the parts that must agree with them.

    Traces are on where `telemetry.otlp` is there and `telemetry.traces` is not off; metrics are told by `signals`.
    """
    on = signals(document.telemetry, environ)
    former = document.telemetry
    if former is None and not on:
        return document
    part = former or TelemetryPart()
    traces = part.traces
    if traces != "off":
        traces = msgspec.structs.replace(traces, sample=_share(traces, environ)) if "traces" in on else "off"
    telemetry = msgspec.structs.replace(
        part,
        service_name=service_name(part, environ),
        otlp=(part.otlp or OtlpPart()) if on else None,
        traces=traces,
    )
    return msgspec.structs.replace(document, telemetry=telemetry)


def signals(part: TelemetryPart | None, environ: Environ) -> frozenset[Signal]:
    """What is exported."""
    if is_true(environ, "OTEL_SDK_DISABLED"):
        return frozenset()
    return frozenset(
        signal
        for signal in SIGNALS
        if is_sent(part, signal, environ)
        and (part is None or getattr(part, signal) != "off")
        and value(environ, f"OTEL_{signal.upper()}_EXPORTER").lower() != "none"
    )


def is_sent(part: TelemetryPart | None, signal: Signal, environ: Environ) -> bool:
    """Whether the file or a variable says where to, so that it is exported unless it is turned off."""
    return (part is not None and part.otlp is not None) or bool(of_signal(environ, signal, "ENDPOINT"))


def service_name(part: TelemetryPart | None, environ: Environ) -> str:
    """The file's, OTEL_SERVICE_NAME's, that of OTEL_RESOURCE_ATTRIBUTES, or ours."""
    own = part.service_name if part is not None else None
    attributes = pairs(value(environ, "OTEL_RESOURCE_ATTRIBUTES")) or {}
    return own or value(environ, "OTEL_SERVICE_NAME") or attributes.get("service.name") or DEFAULT_SERVICE_NAME


def value(environ: Environ, name: str) -> str:
    """A variable without blanks around it; "" for one that is absent, which the standard makes no difference of."""
    return environ.get(name, "").strip()


def of_signal(environ: Environ, signal: Signal, what: str) -> str:
    """The signal's own OTEL_EXPORTER_OTLP_* variable, else that of all signals; "" for neither."""
    own = value(environ, f"OTEL_EXPORTER_OTLP_{signal.upper()}_{what}")
    return own or value(environ, f"OTEL_EXPORTER_OTLP_{what}")


def is_true(environ: Environ, name: str) -> bool:
    """Only `true`, in any case, is true."""
    return value(environ, name).lower() == "true"


def pairs(text: str) -> dict[str, str] | None:
    """A list such as `key1=value1,key2=value2`, values percent-decoded; None where a member is no such pair."""
    found: dict[str, str] = {}
    for member in text.split(","):
        name, separator, written = member.partition("=")
        if separator and name.strip():
            found[name.strip()] = unquote(written.strip())
        elif member.strip():
            return None
    return found


def timeout_s(text: str) -> float | None:
    """Milliseconds, as the standard has it; None where they are none."""
    try:
        found = float(text) / 1000
    except ValueError:
        return None
    return found if 0 < found < math.inf else None


def environment_warnings(environ: Environ) -> Iterator[str]:
    """What of the standard variables is not understood, and so taken for absent. Values may be secret: none is told."""
    for signal in SIGNALS:
        exporter = f"OTEL_{signal.upper()}_EXPORTER"
        if value(environ, exporter).lower() not in ("", "otlp", "none"):
            yield f"{exporter} is ignored; allowed: otlp or none"
    for what, allowed in (("PROTOCOL", PROTOCOLS), ("COMPRESSION", COMPRESSIONS)):
        for name in _names(environ, what):
            if value(environ, name).lower() not in allowed:
                yield f"{name} is ignored; allowed: {' or '.join(allowed)}"
    for name in _names(environ, "ENDPOINT"):
        if not value(environ, name).startswith(("http://", "https://")):
            yield f"{name} has no scheme; allowed: http://host:4318 or https://host:4318"
    for name in _names(environ, "TIMEOUT"):
        if timeout_s(value(environ, name)) is None:
            yield f"{name} is ignored; allowed: milliseconds above 0"
    for name in (*_names(environ, "HEADERS"), "OTEL_RESOURCE_ATTRIBUTES"):
        if pairs(value(environ, name)) is None:
            yield f"{name} is ignored; allowed: name=value,name=value"
    preference = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"
    if value(environ, preference).lower() not in ("", "cumulative"):
        yield f"{preference} is ignored; allowed: cumulative, as all metrics are"
    yield from _sampler_warnings(environ)


def _names(environ: Environ, what: str) -> list[str]:
    """The variables of this kind that are set."""
    names = [f"OTEL_EXPORTER_OTLP_{infix}{what}" for infix in ("", "TRACES_", "METRICS_")]
    return [name for name in names if value(environ, name)]


def _share(traces: TracesPart, environ: Environ) -> float:
    if traces.sample is not None:
        return traces.sample
    sampler = value(environ, "OTEL_TRACES_SAMPLER").lower()
    if sampler in _RATIO_SAMPLERS:
        written = value(environ, "OTEL_TRACES_SAMPLER_ARG")
        ratio = _ratio(written) if written else 1.0
        return DEFAULT_SAMPLE if ratio is None else ratio
    return _SAMPLERS.get(sampler, DEFAULT_SAMPLE)


def _ratio(text: str) -> float | None:
    try:
        found = float(text)
    except ValueError:
        return None
    return found if 0 <= found <= 1 else None


def _sampler_warnings(environ: Environ) -> Iterator[str]:
    sampler = value(environ, "OTEL_TRACES_SAMPLER").lower()
    if sampler and sampler not in (*_SAMPLERS, *_RATIO_SAMPLERS):
        yield f"OTEL_TRACES_SAMPLER is ignored; allowed: {', '.join((*_SAMPLERS, *_RATIO_SAMPLERS))}"
    written = value(environ, "OTEL_TRACES_SAMPLER_ARG")
    if sampler in _RATIO_SAMPLERS and written and _ratio(written) is None:
        yield "OTEL_TRACES_SAMPLER_ARG is ignored; allowed: a number from 0 to 1"
