"""A real OTLP backend, `@elastic/mockotlpserver` on Node.js, and what it received over HTTP and gRPC.

with otlp_backend() as backend:
    ...                                  # something exports to backend.http or backend.grpc
    spans = backend.wait_spans(3)
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
MODULES = ROOT / ".venv-npm" / "node_modules"
JSON = dict[str, Any]


class SeenSpan(NamedTuple):
    """One span as the backend read it, with whose it is."""

    resource: JSON
    scope: JSON
    said: JSON  # traceId, spanId, parentSpanId, name, kind, …

    @property
    def attributes(self) -> JSON:
        """By name, as `as_told` has them."""
        return as_told(self.said.get("attributes", {}))


def as_told(attributes: JSON) -> JSON:
    """Attributes with whole numbers as texts, which the backend makes of those that come over gRPC."""
    return {name: str(each) if type(each) is int else each for name, each in attributes.items()}


class OtlpBackend:
    """Mutable state: what it received so far, in order."""

    def __init__(self) -> None:
        assert MODULES.is_dir(), "no mockotlpserver: make .venv-npm/stamp (needs Node.js and npm)"
        self.http = self.grpc = ""
        self.received: list[JSON] = []
        self._changed = threading.Condition(threading.RLock())
        self._process = subprocess.Popen(
            ["node", str(ROOT / "tests" / "npm" / "otlp.cjs")],
            env={**os.environ, "NODE_PATH": str(MODULES)}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        listening = self._wait(lambda: next((each["listening"] for each in self.received if "listening" in each), None))
        self.http, self.grpc = listening["http"], listening["grpc"]

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(10)
        self._reader.join(10)
        self._process.stdout.close()

    def spans(self) -> list[SeenSpan]:
        """All spans so far."""
        return [
            SeenSpan(resource["resource"], scope["scope"], span)
            for each in self._told("traces")
            for resource in each["resourceSpans"]
            for scope in resource["scopeSpans"]
            for span in scope["spans"]
        ]

    def metrics(self) -> list[JSON]:
        """All metrics of the last request that held any, each with its resource under `resource`."""
        told = self._told("metrics")
        return [
            {**metric, "resource": resource["resource"]}
            for each in told[-1:]
            for resource in each["resourceMetrics"]
            for scope in resource["scopeMetrics"]
            for metric in scope["metrics"]
        ]

    def requests(self) -> list[JSON]:
        """The heads of requests so far."""
        return self._told("request")

    def wait_spans(self, count: int) -> list[SeenSpan]:
        """The spans, as soon as there are so many."""
        found: list[SeenSpan] = self._wait(lambda: spans if len(spans := self.spans()) >= count else None)
        return found

    def wait_metrics(self, enough: Callable[[list[JSON]], bool]) -> list[JSON]:
        """The metrics of the first request that has enough."""
        found: list[JSON] = self._wait(lambda: metrics if enough(metrics := self.metrics()) else None)
        return found

    def _told(self, kind: str) -> list[JSON]:
        with self._changed:
            return [each[kind] for each in self.received if kind in each]

    def _wait(self, found: Callable[[], Any], within_s: float = 15.0) -> Any:
        with self._changed:
            self._changed.wait_for(lambda: found() is not None, within_s)
            result = found()
        assert result is not None, f"it received only {json.dumps(self.received)[:2000]}"
        return result

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._changed:
                self.received.append(json.loads(line))
                self._changed.notify_all()


@contextmanager
def otlp_backend() -> Iterator[OtlpBackend]:
    """One, ended with the block."""
    backend = OtlpBackend()
    try:
        yield backend
    finally:
        backend.close()
