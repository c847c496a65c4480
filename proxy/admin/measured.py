"""What control measures, as families of metrics: the same for `GET /metrics` and for the OTLP export."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...config.schema import MetricsPart
from ..telemetry.families import families
from ..telemetry.family import BOUNDS_S, Bounds, Family, Sources
from .views import status_of

if TYPE_CHECKING:
    from ..control import Control


def families_of(control: Control) -> list[Family]:
    """All metrics of this moment. Call it on control's loop."""
    calls = control.totals.calls()
    status = status_of(control, calls)
    return families(
        Sources(
            status=status,
            calls=list(calls.values()),
            copies=list(control.totals.copies().values()),
            rejected=control.configuration.refusals,
            lost=status.losses(),
            bounds=_bounds(control),
        )
    )


def _bounds(control: Control) -> Bounds:
    running = control.configuration.running
    telemetry = running.document.telemetry if running is not None else None
    metrics = telemetry.metrics if telemetry is not None else None
    return Bounds(metrics.buckets if isinstance(metrics, MetricsPart) and metrics.buckets else BOUNDS_S)
