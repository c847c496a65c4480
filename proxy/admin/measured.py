"""What control measures, as families of metrics: the same for `GET /metrics` and for the OTLP export."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...config.schema import MetricsPart
from ..giving_way import Pieces
from ..telemetry.families import families
from ..telemetry.family import BOUNDS_S, Bounds, Family, Sources
from .views import status_of

if TYPE_CHECKING:
    from ..control import Control


def sources_of(control: Control) -> Pieces[Sources]:
    """What all metrics are made of, of the moment of its first piece. Do it on control's loop."""
    rejected, bounds = control.configuration.refusals, _bounds(control)
    ended_cpu_s = dict(control.supervisor.ended_cpu_s)
    status, moment = yield from status_of(control)
    return Sources(
        status=status,
        calls=list(moment.calls.values()),
        copies=list(moment.copies.values()),
        rejected=rejected,
        lost=status.losses(),
        bounds=bounds,
        ended_cpu_s=ended_cpu_s,
    )


def families_of(control: Control) -> Pieces[list[Family]]:
    """All metrics that there are, with their points."""
    found = []
    for family in families((yield from sources_of(control))):
        points = []
        for point in family.points:
            points.append(point)
            yield
        if points:
            found.append(family._replace(points=points))
    return found


def _bounds(control: Control) -> Bounds:
    running = control.configuration.running
    telemetry = running.document.telemetry if running is not None else None
    metrics = telemetry.metrics if telemetry is not None else None
    return Bounds(metrics.buckets if isinstance(metrics, MetricsPart) and metrics.buckets else BOUNDS_S)
