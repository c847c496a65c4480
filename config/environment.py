"""The standard OTEL_* variables: what of them becomes part of the document, and what is wrong with them.

The file wins over a variable that says the same thing; OTEL_SDK_DISABLED and OTEL_*_EXPORTER=none, which only turn off,
win over the file. Workers read no environment: they are sent the document that `resolved` returns. Where to export
to, and with which headers, is not put into it: those are control's alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Final, Literal, TypeAlias
from urllib.parse import unquote

import msgspec

from .otlp import PROTOCOLS, is_endpoint, name_texts, value_text
from .schema import DEFAULT_SAMPLE, Document, OtlpPart, TelemetryPart, TracesPart

Environ: TypeAlias = Mapping[str, str]
Signal: TypeAlias = Literal["traces", "metrics"]

SIGNALS: Final[tuple[Signal, ...]] = ("traces", "metrics")
DEFAULT_SERVICE_NAME: Final = "understudy"
COMPRESSIONS: Final = ("none", "gzip")
_EXPORTER: Final = "OTEL_EXPORTER_OTLP_"
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
    otlp = part.otlp if part is not None else None
    return otlp is not None or bool(of_signal(environ, signal, "ENDPOINT", protocol(otlp, signal, environ)))


def protocol(otlp: OtlpPart | None, signal: Signal, environ: Environ) -> str:
    """The file's, the variable's, or http/protobuf."""
    own = otlp.protocol if otlp is not None else None
    return own or of_signal(environ, signal, "PROTOCOL").lower() or PROTOCOLS[0]


def service_name(part: TelemetryPart | None, environ: Environ) -> str:
    """The file's, OTEL_SERVICE_NAME's, that of OTEL_RESOURCE_ATTRIBUTES, or ours."""
    own = part.service_name if part is not None else None
    attributes = pairs(value(environ, "OTEL_RESOURCE_ATTRIBUTES")) or {}
    return own or value(environ, "OTEL_SERVICE_NAME") or attributes.get("service.name") or DEFAULT_SERVICE_NAME


def value(environ: Environ, name: str) -> str:
    """A variable without blanks around it; "" for one that is absent, which the standard makes no difference of."""
    return environ.get(name, "").strip()


def of_signal(environ: Environ, signal: Signal, what: str, protocol: str = "") -> str:
    """The signal's own OTEL_EXPORTER_OTLP_* variable, else that of all signals; "" where neither is there to be
    understood. What may be said by ENDPOINT and HEADERS depends on the protocol."""
    own = understood(environ, f"{signal.upper()}_{what}", what, protocol)
    return own or understood(environ, what, what, protocol)


def understood(environ: Environ, rest: str, what: str, protocol: str = "") -> str:
    """The variable OTEL_EXPORTER_OTLP_ with this rest of its name; "" where it is absent, or not understood."""
    found = value(environ, _EXPORTER + rest)
    is_known = _FORMS[what][0] if what in _FORMS else None
    return found if is_known is None or is_known(found, protocol) else ""


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


def headers(text: str, protocol: str) -> dict[str, str] | None:
    """Such a list of header fields; None where one of them cannot be sent."""
    found = pairs(text)
    if found is None or any(name_texts(name, protocol) or value_text(each.strip()) for name, each in found.items()):
        return None
    return {name: each.strip() for name, each in found.items()}


def timeout_s(text: str) -> float | None:
    """Milliseconds, as the standard has it; None where they are none."""
    try:
        found = float(text) / 1000
    except ValueError:
        return None
    return found if 0 < found < math.inf else None


def metric_interval_s(environ: Environ) -> float | None:
    """How often metrics leave, where a variable says so."""
    return timeout_s(value(environ, "OTEL_METRIC_EXPORT_INTERVAL"))


_FORMS: Final[Mapping[str, tuple[Callable[[str, str], bool], str]]] = {
    "PROTOCOL": (lambda text, _: text.lower() in PROTOCOLS, " or ".join(PROTOCOLS)),
    "COMPRESSION": (lambda text, _: text.lower() in COMPRESSIONS, " or ".join(COMPRESSIONS)),
    "ENDPOINT": (is_endpoint, "http://host:4318 or https://host:4318, no user; over gRPC host:4317 too, no query"),
    "TIMEOUT": (lambda text, _: timeout_s(text) is not None, "milliseconds above 0"),
    "INSECURE": (lambda text, _: text.lower() in ("true", "false"), "true or false"),
    "HEADERS": (
        lambda text, protocol: headers(text, protocol) is not None,
        "name=value,name=value, percent-encoded, of names and visible ASCII that a header may hold",
    ),
}
"""By the end of its name, whether a variable is understood (its text, the protocol), and what is allowed."""


def environment_warnings(environ: Environ, part: TelemetryPart | None = None) -> Iterator[str]:
    """What of the standard variables is not understood, and so taken for absent. Values may be secret: none is told."""
    for signal in SIGNALS:
        exporter = f"OTEL_{signal.upper()}_EXPORTER"
        if value(environ, exporter).lower() not in ("", "otlp", "none"):
            yield f"{exporter} is ignored; allowed: otlp or none"
    protocols = {signal: protocol(part.otlp if part is not None else None, signal, environ) for signal in SIGNALS}
    for what, (_, allowed) in _FORMS.items():
        for rest, of in ((what, SIGNALS), *((f"{signal.upper()}_{what}", (signal,)) for signal in SIGNALS)):
            is_set = value(environ, _EXPORTER + rest)
            if is_set and not all(understood(environ, rest, what, protocols[signal]) for signal in of):
                yield f"{_EXPORTER}{rest} is ignored; allowed: {allowed}"
    if pairs(value(environ, "OTEL_RESOURCE_ATTRIBUTES")) is None:
        yield "OTEL_RESOURCE_ATTRIBUTES is ignored; allowed: name=value,name=value"
    interval = "OTEL_METRIC_EXPORT_INTERVAL"
    if value(environ, interval) and metric_interval_s(environ) is None:
        yield f"{interval} is ignored; allowed: milliseconds above 0"
    preference = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"
    if value(environ, preference).lower() not in ("", "cumulative"):
        yield f"{preference} is ignored; allowed: cumulative, as all metrics are"
    yield from _sampler_warnings(environ)


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
