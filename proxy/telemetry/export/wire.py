"""What is around spans or metrics in a request of OTLP: ExportTraceServiceRequest and ExportMetricsServiceRequest have
one shape."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from ..otlp import Value, field, length, pair, text

SCOPE: Final = "understudy"
SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.44.0"
"""The conventions that names are of: the newest that the SDK in use knows."""


class Wire:
    """Around what is sent: whose it is. Immutable after construction."""

    def __init__(self, resource: Mapping[str, Value], scope_name: str, scope_version: str, schema_url: str) -> None:
        scope = text(b"\x0a", scope_name) + text(b"\x12", scope_version)
        self._resource = field(b"\x0a", b"".join(field(b"\x0a", pair(*each)) for each in resource.items()))
        self._scope = field(b"\x0a", scope)
        self._schema_url = text(b"\x1a", schema_url)

    def enclosed(self, items: Iterable[bytes]) -> bytes:
        """The request with these, encoded already and behind their tags."""
        parts = [self._scope, *items, self._schema_url]
        size = sum(map(len, parts))
        scoped = b"\x12" + length(size)
        around = len(self._resource) + len(scoped) + size + len(self._schema_url)
        return b"".join((b"\x0a", length(around), self._resource, scoped, *parts, self._schema_url))
