"""The Prometheus text exposition format, version 0.0.4."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .sketch import cumulative, edges

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BOUNDS_S = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0,
)  # fmt: skip
_EDGES = edges(BOUNDS_S)
_LE = tuple(f'le="{bound_s!r}"}} ' for bound_s in BOUNDS_S)


class Exposition:
    """Collects families in the order in which they are written. Mutable state: the lines so far."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def family(
        self, name: str, kind: str, help_text: str, samples: Iterable[tuple[Mapping[str, object], float | None]]
    ) -> None:
        """One family of counters or gauges; a sample whose value is None is left out, and an empty family too."""
        lines = [f"{name}{_labels(labels)} {_number(value)}" for labels, value in samples if value is not None]
        if lines:
            self._lines += [f"# HELP {name} {help_text}", f"# TYPE {name} {kind}", *lines]

    def histogram(
        self, name: str, help_text: str, samples: Iterable[tuple[Mapping[str, object], Mapping[int, int], float]]
    ) -> None:
        """One family of histograms from sketches of seconds and their sums."""
        lines: list[str] = []
        for labels, sketch, sum_s in samples:
            count = sum(sketch.values())
            own = _labels(labels)
            start = f"{name}_bucket{own[:-1]}," if own else f"{name}_bucket{{"
            lines += [start + le + str(n) for le, n in zip(_LE, cumulative(sketch, _EDGES), strict=True)]
            lines.append(f'{start}le="+Inf"}} {count}')
            lines.append(f"{name}_sum{own} {_number(sum_s)}")
            lines.append(f"{name}_count{own} {count}")
        if lines:
            self._lines += [f"# HELP {name} {help_text}", f"# TYPE {name} histogram", *lines]

    def text(self) -> str:
        """All of it."""
        return "\n".join(self._lines) + "\n"


def _labels(labels: Mapping[str, object]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escape(str(value))}"' for name, value in labels.items()) + "}"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return repr(float(value)) if isinstance(value, float) else str(int(value))
