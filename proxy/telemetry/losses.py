"""What telemetry was dropped on its way out of control, by kind: a loss that nobody counts looks like health."""

from __future__ import annotations

from threading import Lock


class Losses:
    """Mutable state: counts since the program started. Exporters may count from threads of their own."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._lock = Lock()

    def add(self, kind: str, by: int = 1) -> None:
        """So many items more of this kind (spans, metrics, logs) were lost; by 0 shows the kind before it loses any."""
        with self._lock:
            self._counts[kind] = self._counts.get(kind, 0) + by

    def counts(self) -> dict[str, int]:
        """By kind."""
        with self._lock:
            return dict(self._counts)
