"""Our bytes of metrics are those of the SDK's own encoder, read back as messages; and they are made in small pieces."""

from __future__ import annotations

from typing import Any, cast

import pytest
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.sdk.metrics import export as sdk
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from understudy.proxy import giving_way
from understudy.proxy.admin.measured import families_of
from understudy.proxy.giving_way import whole
from understudy.proxy.telemetry.export.metrics import POINTS_IN_A_ROW, Measured, encoded
from understudy.proxy.telemetry.export.wire import Wire
from understudy.proxy.telemetry.family import Distribution, Family, Point

from tests.kit.rehearsed import MIRRORED, rehearsed
from tests.proxy.telemetry.test_page import several_workers
from tests.proxy.telemetry.test_wire import RESOURCE, URL

CUMULATIVE = sdk.AggregationTemporality.CUMULATIVE
START_NS, NOW_NS = 1_000_000_000_000_000_001, 1_000_000_060_000_000_002


@pytest.fixture(scope="module")
def measured() -> Measured:
    with rehearsed(MIRRORED) as fed:
        several_workers(fed)
        return Measured(whole(families_of(fed.control)), START_NS, NOW_NS)


def sdk_data(family: Family) -> Any:
    if family.kind == "histogram":
        return sdk.Histogram([sdk_distribution(family, point) for point in family.points], CUMULATIVE)
    start_ns = 0 if family.kind == "gauge" else START_NS
    points = [
        sdk.NumberDataPoint(attributes(family, point), start_ns, NOW_NS, cast(float, point.value))
        for point in family.points
    ]
    return sdk.Gauge(points) if family.kind == "gauge" else sdk.Sum(points, CUMULATIVE, family.kind == "counter")


def sdk_distribution(family: Family, point: Point) -> sdk.HistogramDataPoint:
    value = point.value
    assert isinstance(value, Distribution)
    unknown = cast(float, None)
    return sdk.HistogramDataPoint(
        attributes(family, point),
        START_NS,
        NOW_NS,
        value.count,
        value.sum,
        value.counts,
        value.bounds,
        unknown,
        unknown,
    )


def attributes(family: Family, point: Point) -> dict[str, str]:
    return dict(zip(family.attributes, map(str, (*point.name, *point.further)), strict=True))


def test_the_sdk_would_have_sent_the_same(measured: Measured) -> None:
    ours = ExportMetricsServiceRequest.FromString(encoded(measured, Wire(RESOURCE, "understudy", "1.2", URL)))
    metrics = [sdk.Metric(each.name, each.help, each.unit, sdk_data(each)) for each in measured.families]
    scope = sdk.ScopeMetrics(InstrumentationScope("understudy", "1.2", URL), metrics, URL)
    theirs = encode_metrics(sdk.MetricsData([sdk.ResourceMetrics(Resource(dict(RESOURCE), URL), [scope], URL)]))
    assert len(ours.resource_metrics[0].scope_metrics[0].metrics) == len(measured.families) > 30
    assert {each.kind for each in measured.families} == {"histogram", "counter", "updown", "gauge"}
    assert ours == theirs


def test_we_step_aside_every_few_points(measured: Measured, monkeypatch: pytest.MonkeyPatch) -> None:
    aside = 0

    def step_aside() -> None:
        nonlocal aside
        aside += 1

    monkeypatch.setattr(giving_way, "step_aside", step_aside)
    encoded(measured, Wire({}, "u", "", ""))
    assert aside == sum(-(-len(list(each.points)) // POINTS_IN_A_ROW) for each in measured.families)
