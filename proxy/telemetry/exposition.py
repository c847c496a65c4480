"""The Prometheus text exposition format, version 0.0.4, of families that are named for OpenTelemetry.

Names are translated as OpenTelemetry says one does ("Prometheus and OpenMetrics Compatibility"): what is no letter or
digit becomes an underscore, the unit is spelled out behind the name, counters end in _total. So a dashboard is the same
over a scrape as over OTLP into a backend that speaks PromQL.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import accumulate
from typing import Final

from .family import Distribution, Family, Kind

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_UNITS: Final = {"s": "seconds", "By": "bytes"}
_TYPES: Final = {"counter": "counter", "updown": "gauge", "gauge": "gauge", "histogram": "histogram"}
_FOREIGN: Final = re.compile(r"[^a-zA-Z0-9_]")  # noqa: TID251 - over our own names


def prometheus_name(name: str, unit: str, kind: Kind) -> str:
    """The name of a family in Prometheus; a histogram's series add _bucket, _sum and _count."""
    found = _FOREIGN.sub("_", name)
    suffix = _UNITS.get(unit) or ("ratio" if unit == "1" and kind == "gauge" else None)
    if suffix is not None and not found.endswith(f"_{suffix}"):
        found = f"{found}_{suffix}"
    return f"{found}_total" if kind == "counter" else found


def prometheus_label(attribute: str) -> str:
    """The name of a label."""
    return _FOREIGN.sub("_", attribute)


def render(families: Iterable[Family]) -> str:
    """The whole page."""
    lines: list[str] = []
    for family in families:
        name = prometheus_name(family.name, family.unit, family.kind)
        lines += [f"# HELP {name} {family.help}", f"# TYPE {name} {_TYPES[family.kind]}"]
        for attributes, value in family.points:
            if isinstance(value, Distribution):
                lines += _histogram(name, attributes, value)
            else:
                lines.append(f"{name}{_labels(attributes)} {_number(value)}")
    return "\n".join(lines) + "\n"


def _histogram(name: str, attributes: Mapping[str, str], value: Distribution) -> list[str]:
    own = _labels(attributes)
    start = f"{name}_bucket{own[:-1]}," if own else f"{name}_bucket{{"
    upto = list(accumulate(value.counts))
    lines = [f'{start}le="{bound!r}"}} {count}' for bound, count in zip(value.bounds, upto, strict=False)]
    return [
        *lines,
        f'{start}le="+Inf"}} {upto[-1]}',
        f"{name}_sum{own} {_number(value.sum)}",
        f"{name}_count{own} {upto[-1]}",
    ]


def _labels(attributes: Mapping[str, str]) -> str:
    if not attributes:
        return ""
    return "{" + ",".join(f'{prometheus_label(name)}="{_escape(value)}"' for name, value in attributes.items()) + "}"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return repr(value) if isinstance(value, float) else str(value)
