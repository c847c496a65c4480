"""The corpus of requests, by class."""

from __future__ import annotations

from . import chunks, connections, fields, framing, host, request_line, targets
from .case import Case

CLASSES: dict[str, list[Case]] = {
    "request line": request_line.CASES,
    "target": targets.CASES,
    "host": host.CASES,
    "fields": fields.CASES,
    "framing": framing.CASES,
    "chunks": chunks.CASES,
    "connections": connections.CASES,
}
