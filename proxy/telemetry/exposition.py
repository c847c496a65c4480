"""The Prometheus text exposition format, version 0.0.4, of families that are named for OpenTelemetry.

Names are translated as OpenTelemetry says one does ("Prometheus and OpenMetrics Compatibility"): what is no letter or
digit becomes an underscore, the unit is spelled out behind the name, counters end in _total. So a dashboard is the same
over a scrape as over OTLP into a backend that speaks PromQL.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import accumulate
from typing import Final

from .family import Attributes, Distribution, Family, Kind

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


def render(families: Iterable[Family]) -> Iterator[str]:
    """The page, a point at a time, and nothing after each family: there may be other work in between."""
    attributes = Attributes(_label, "")
    for family in families:
        name = prometheus_name(family.name, family.unit, family.kind)
        head = f"# HELP {name} {family.help}\n# TYPE {name} {_TYPES[family.kind]}\n"
        for labels, value in attributes.of(family):
            if isinstance(value, Distribution):
                yield head + _histogram(name, labels, value)
            else:
                yield f"{head}{name}{_set(labels)} {value}\n"
            head = ""
        yield ""


def _label(name: str, value: str) -> str:
    return f',{prometheus_label(name)}="{_escape(value)}"'


def _set(labels: str) -> str:
    return f"{{{labels[1:]}}}" if labels else ""


def _histogram(name: str, labels: str, value: Distribution) -> str:
    upto = tuple(accumulate(value.counts))
    start = f'{name}_bucket{{{f"{labels},le="[1:]}"'
    own = _set(labels)
    buckets = (_buckets(value.bounds) % upto).replace(_START, start)
    return f"{buckets}{name}_sum{own} {value.sum}\n{name}_count{own} {upto[-1]}\n"


@lru_cache(maxsize=2)
def _buckets(bounds: tuple[float, ...]) -> str:
    """The lines of all buckets without their beginnings and counts."""
    return "".join(f'{_START}{bound}"}} %d\n' for bound in (*bounds, "+Inf"))


_START: Final = "\0"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
