"""The Prometheus text exposition format, version 0.0.4, of families that are named for OpenTelemetry.

Names are translated as OpenTelemetry says one does ("Prometheus and OpenMetrics Compatibility"): what is no letter or
digit becomes an underscore, the unit is spelled out behind the name, counters end in _total. So a dashboard is the same
over a scrape as over OTLP into a backend that speaks PromQL.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import accumulate, chain
from typing import Final

from .family import Distribution, Family, Kind, Values

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
    """The page, a point at a time, and nothing for a family without any: there may be other work in between."""
    kept: dict[Sequence[str], _Labels] = {}
    for family in families:
        points = iter(family.points)
        first = next(points, None)
        if first is None:
            yield ""
            continue
        name = prometheus_name(family.name, family.unit, family.kind)
        yield f"# HELP {name} {family.help}\n# TYPE {name} {_TYPES[family.kind]}\n"
        own, further = (
            kept.setdefault(names, _Labels(names))
            for names in (family.attributes[: len(first.name)], family.attributes[len(first.name) :])
        )
        for point in chain((first,), points):
            labels = own[point.name] + further[point.further]
            if isinstance(point.value, Distribution):
                yield _histogram(name, labels, point.value)
            else:
                yield f"{name}{_set(labels)} {point.value}\n"


class _Labels(dict[Values, str]):
    """The labels of these names, each with a comma before it, by their values: escaped once for a page."""

    def __init__(self, names: Iterable[str]) -> None:
        super().__init__()
        self._names = [prometheus_label(name) for name in names]

    def __missing__(self, values: Values) -> str:
        pairs = zip(self._names, values, strict=True)
        text = self[values] = "".join(f',{name}="{_escape(str(value))}"' for name, value in pairs)
        return text


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
