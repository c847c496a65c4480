"""The part of a document that says of which exchanges control is told, compiled for a worker."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..filters.api import FilterConfig
from ..filters.flags import FlagsConfig, Rule
from .schema import AccessLogPart, TelemetryPart
from .snapshot import Flag, Telemetry


def flags(configs: Iterable[FilterConfig]) -> Mapping[str, Flag] | None:
    """The rules of a chain's flags; of several by one name, the first."""
    found: dict[str, Flag] = {}
    for config in configs:
        if isinstance(config, FlagsConfig):
            for rule in config.rules:
                found.setdefault(rule.flag, _flag(rule))
    return found or None


def _flag(rule: Rule) -> Flag:
    backend = "" if rule.backend_from is not None else rule.backend
    others = [f"set {name.lower()}" for name in rule.set_headers] + [f"skip {name}" for name in rule.skip]
    about = {"kind": rule.kind, "owner": rule.owner, "expires": rule.expires and rule.expires.isoformat()}
    given = {name: value for name, value in about.items() if value}
    return Flag(backend, ", ".join(others), "split" if rule.percent < 100 else "targeting_match", given)


def telemetry(part: TelemetryPart | None, workers: int) -> Telemetry | None:
    """For one of so many workers. None where control is told of no exchange. Traces are on where they have a
    destination (environment.py)."""
    if part is None:
        return None
    traces = part.traces if part.otlp is not None and part.traces != "off" else None
    log = part.access_log if isinstance(part.access_log, AccessLogPart) else None
    if traces is None and log is None:
        return None
    settings: dict[str, Any] = {"traces": traces is not None}
    if traces is not None:
        settings |= {"sample": traces.share, "errors": traces.errors, "over_p99": traces.over_p99}
        settings["spans_per_s"] = traces.rate / workers
        settings["link"] = traces.shadow == "link"
        if traces.slow:
            settings["slow"] = float(traces.slow)
    if log is not None:
        settings |= {"log": True, "log_sample": float(log.sample), "log_errors": log.errors}
    traced, logged = (map(str.lower, part.headers if part is not None else ()) for part in (traces, log))
    settings["traced_fields"] = tuple(traced)
    settings["fields"] = tuple(dict.fromkeys((*settings["traced_fields"], *logged)))
    return Telemetry(**settings)
