"""Families of metrics as the SDK's own data, of which its exporters make OTLP.

Imports the SDK: only an export that is on may import this module.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias, cast

from opentelemetry.sdk.metrics import export as sdk
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from ..family import Distribution, Family
from .senders import Measured
from .spans import Value
from .wire import SCHEMA_URL, SCOPE

CUMULATIVE: Final = sdk.AggregationTemporality.CUMULATIVE
_Data: TypeAlias = sdk.Sum | sdk.Gauge | sdk.Histogram


class MetricsOf:
    """Turns families into the SDK's data. Immutable after construction."""

    def __init__(self, resource: Mapping[str, Value], version: str) -> None:
        self._resource = Resource(dict(resource), SCHEMA_URL)
        self._scope = InstrumentationScope(SCOPE, version, SCHEMA_URL)

    def __call__(self, measured: Measured) -> sdk.MetricsData:
        """All of them, of one resource and scope."""
        metrics = [
            sdk.Metric(family.name, family.help, family.unit, _data(family, measured)) for family in measured.families
        ]
        scope = sdk.ScopeMetrics(self._scope, metrics, SCHEMA_URL)
        return sdk.MetricsData([sdk.ResourceMetrics(self._resource, [scope], SCHEMA_URL)])


def _data(family: Family, measured: Measured) -> _Data:
    if family.kind == "histogram":
        return sdk.Histogram(
            [_distribution(family.told(point), point.value, measured) for point in family.points], CUMULATIVE
        )
    start_ns = 0 if family.kind == "gauge" else measured.start_ns
    points = [
        sdk.NumberDataPoint(family.told(point), start_ns, measured.now_ns, cast(float, point.value))
        for point in family.points
    ]
    if family.kind == "gauge":
        return sdk.Gauge(points)
    return sdk.Sum(points, CUMULATIVE, is_monotonic=family.kind == "counter")


def _distribution(
    attributes: Mapping[str, str], value: float | Distribution, measured: Measured
) -> sdk.HistogramDataPoint:
    assert isinstance(value, Distribution)
    return sdk.HistogramDataPoint(
        attributes=attributes,
        start_time_unix_nano=measured.start_ns,
        time_unix_nano=measured.now_ns,
        count=value.count,
        sum=value.sum,
        bucket_counts=value.counts,
        explicit_bounds=value.bounds,
        min=cast(float, None),  # not known: OTLP leaves them out
        max=cast(float, None),
    )
