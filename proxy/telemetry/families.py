"""All metrics, as one list for whoever tells them: exposition.py for Prometheus, the OTLP export for everybody else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from .family import Family, Sources
from .live_families import LIVE
from .program_families import PROGRAM
from .shadow_families import SHADOWS

TABLE: Final = (*LIVE, *SHADOWS, *PROGRAM)
"""The one table of names: docs/metrics.md and the dashboards of config/examples/ are tested against it."""


def families(sources: Sources) -> Iterator[Family]:
    """Every family, in the order of the table; some have no points now."""
    return (entry.family(sources) for entry in TABLE)
