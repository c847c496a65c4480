"""The whole program, once for all tests, with a backend and a route of its own for each of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

import pytest

from tests.kit.ask import status, until, worker_pids
from tests.kit.program import Program, running

from .peers import Address, Backend, Client, ok

LISTENERS = {
    "ingress": {"bind": "127.0.0.1:0", "head_timeout": "600ms", "body_timeout": "600ms"},
    "patient": {"bind": "127.0.0.1:0", "half_close": "answer"},
    "narrow": {"bind": "127.0.0.1:0", "max_connections": 2, "idle_timeout": "300ms"},
    "crowded": {"bind": "127.0.0.1:0", "max_connections": 20_000, "head_timeout": "10m", "idle_timeout": "10m"},
}
BACKEND = {"connect_timeout": "300ms", "first_byte_timeout": "800ms", "idle_timeout": "800ms", "keep_alive": "60s"}
_ALARMS = ("Traceback", "failed: request", "exited", "died", "Fatal")
MIB = 1024 * 1024


class Part(NamedTuple):
    """What one test has for itself."""

    name: str
    backends: list[Backend]


class Site:
    """Mutable state: the program, and the parts by the test's id."""

    def __init__(self, program: Program, parts: dict[str, Part]) -> None:
        self.program = program
        self.parts = parts
        self.worker = worker_pids(program)[0]

    def alarms(self) -> list[str]:
        """Lines of the program's log that no traffic may cause."""
        return [line for line in self.program.stderr.splitlines() if any(word in line for word in _ALARMS)]

    def resident_bytes(self) -> int:
        """Anonymous memory of the worker: what grows with work."""
        for line in Path(f"/proc/{self.worker}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("no RssAnon")


class Scene:
    """One test's view of the site. Mutable state: its clients, and the row that goes into the table."""

    def __init__(self, site: Site, part: Part, row: dict[str, Any]) -> None:
        self.site = site
        self.name = part.name
        self.backends = part.backends
        self.backend = part.backends[0]
        self.row = row
        self._clients: list[Client] = []

    @property
    def address(self) -> Address:
        """Where clients connect."""
        return self.site.program.address("ingress")

    def client(self, listener: str = "ingress", *, buffer_bytes: int = 0) -> Client:
        """A new connection of a client."""
        client = Client(self.site.program.address(listener), buffer_bytes=buffer_bytes)
        self._clients.append(client)
        return client

    def head(self, method: str, *fields: str, path: str = "", version: str = "1.1") -> bytes:
        """A request's head for this test's route."""
        lines = [f"{method} /{self.name}{path} HTTP/{version}", "Host: model.local", *fields, "", ""]
        return "\r\n".join(lines).encode()

    def get(self, path: str = "", *fields: str) -> bytes:
        """A whole GET."""
        return self.head("GET", *fields, path=path)

    def post(self, body: bytes = b"x=1", path: str = "") -> bytes:
        """A whole POST with a length."""
        return self.head("POST", f"Content-Length: {len(body)}", path=path) + body

    def warm(self) -> None:
        """Serve one exchange: from then on the proxy keeps a connection to B, unless it must not."""
        client = self.client()
        client.send(self.get("/again"))
        call = self.backend.next_call()
        assert call.request.target == f"/{self.name}/again".encode()
        call.send(ok(b"again"))
        answer = client.answer()
        assert (answer.status, answer.body) == (200, b"again")
        client.close()

    def recovers(self, lost: str = "nothing") -> None:
        """Measure how long a new client waits for a good answer now that the fault is over; `lost` is for the table."""
        begun = monotonic()
        self.warm()
        self.row["recover_ms"] = round((monotonic() - begun) * 1000, 1)
        self.row["lost"] = lost

    def reasons(self) -> dict[str, int]:
        """What the program counted on this test's route, by reason."""
        calls = status(self.site.program)["calls"]
        return next((dict(each["reasons"]) for each in calls if each["route"] == self.name), {})

    def counted(self, reason: str, times: int = 1) -> None:
        """Wait until the program has counted this reason so many times."""
        until(lambda: self.reasons().get(reason, 0) >= times)
        found = self.reasons()
        assert found == {reason: times}, found

    def close(self) -> None:
        """Everything of this test."""
        for client in self._clients:
            client.close()
        for backend in self.backends:
            backend.close()


def _yaml(values: dict[str, Any]) -> str:
    return "{" + ", ".join(f"{name}: {value}" for name, value in values.items()) + "}"


def _config(parts: Sequence[tuple[Part, pytest.Mark]]) -> str:
    lines = ["listeners:", *(f"  {name}: {_yaml(each)}" for name, each in LISTENERS.items())]
    lines += ["admin: {bind: 127.0.0.1:0}", "drain: {grace: 1s}", "backends:"]
    for part, mark in parts:
        endpoints = [f"http://127.0.0.1:{backend.address[1]}" for backend in part.backends]
        values = {"endpoints": f"[{', '.join(endpoints)}]", **BACKEND, **mark.kwargs.get("backend", {})}
        lines.append(f"  {part.name}: {_yaml(values)}")
    lines.append("routes:")
    for part, mark in parts:
        route = mark.kwargs.get("route", {})
        values = {"name": part.name, "match": f"{{path_prefix: /{part.name}}}", "backend": part.name, **route}
        lines.append(f"  - {_yaml(values)}")
    return "\n".join(lines) + "\n"


def _idle(program: Program) -> bool:
    now = status(program)
    return not any(each["in_flight"] for each in now["calls"]) and not any(
        pool["active"] or pool["connecting"] or pool["pending"] for pool in now["pools"]
    )


@contextmanager
def site(items: Sequence[pytest.Item], folder: Path) -> Iterator[Site]:
    """The program, ready, for these tests. At the end nothing may be in flight: every slot was given back."""
    parts: list[tuple[Part, pytest.Mark]] = []
    found: dict[str, Part] = {}
    for item in items:
        mark = item.get_closest_marker("fault")
        if mark is not None:
            name = f"f{mark.args[0]:02d}-{len(parts)}-{re.sub('[^a-z0-9]+', '-', item.name.lower())[:40].strip('-')}"
            listen = mark.kwargs.get("listen", True)
            part = Part(name, [Backend(listen=listen) for _ in range(mark.kwargs.get("endpoints", 1))])
            parts.append((part, mark))
            found[item.nodeid] = part
    try:
        with running(_config(parts), folder) as program:
            yield Site(program, found)
            until(lambda: _idle(program))
    finally:
        for backend in (backend for part, _ in parts for backend in part.backends):
            backend.close()
