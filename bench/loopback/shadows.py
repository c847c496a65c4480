"""A mirror of everything to one shadow that may misbehave: peers, and the configuration of both contenders.

Both are given the same: the shadow may have 256 copies at a time, and what a call may take. Envoy has one time limit
for a route, its shadow included; Understudy's holds for copies alone.

All shadows, the healthy one too, run at the lowest priority: they share the load's core, and a shadow that is busy,
above all a flooding one, must not take it from the load and the live backend, which would look like harm.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from .documents import backend, cluster, envoy_document, understudy_document
from .faulty import KINDS
from .peers import Ports, start_plain
from .processes import free_port, python, running
from .told import SHADOW
from .wire import BULK_PATH, MIB, PLAIN_PATH, BenchError

HEALTHY = "healthy"
COPIES = 256  # at a time
CONNECT_S = 0.25
CALMING, CALMING_S = 100, 0.05
LOWEST = ("nice", "-n", "19")
KIB = 1024
SIZES = {"1KiB": KIB, "1MiB": MIB, "8MiB": 8 * MIB, "64MiB": 64 * MIB}
ROUTES = {"plain": PLAIN_PATH, "bulk": BULK_PATH}


def time_limit_s(size: int) -> float:
    """For a copy of so many bytes, from its beginning to its end: generous for a healthy shadow at half of the peak."""
    return 0.5 + size / (32 * MIB)


def budget_bytes(size: int) -> int:
    """What copies that lag may hold together: the default, or four of the largest."""
    return max(64 * MIB, 4 * size)


def documents(
    live: Ports, shadow: int, size: int, limit_s: float | None, port: int, admin: int
) -> dict[str, dict[str, Any]]:
    """The configuration of each contender, for bodies of `size` bytes; `limit_s` absent: the contenders' defaults."""
    return {
        "understudy": _understudy(live, shadow, size, limit_s, port, admin),
        "envoy": _envoy(live, shadow, limit_s, port, admin),
    }


def _understudy(live: Ports, shadow: int, size: int, limit_s: float | None, port: int, admin: int) -> dict[str, Any]:
    to: dict[str, Any] = {"backend": SHADOW, "max_body": f"{max(size, 8 * MIB)}B", "connect_timeout": _ms(CONNECT_S)}
    if limit_s is not None:
        to |= {"first_byte_timeout": _ms(limit_s), "total_timeout": _ms(limit_s)}
    mirror = {"type": "mirror", "to": [to], "budget": {"requests": COPIES, "bytes": f"{budget_bytes(size)}B"}}
    routes = [
        {"name": name, "match": {"path_prefix": path}, "backend": name, "filters": [mirror]}
        for name, path in ROUTES.items()
    ]
    backends = {name: backend(getattr(live, name)) for name in ROUTES} | {SHADOW: backend(shadow)}
    return understudy_document(port, admin, backends, routes)


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f}ms"


def _envoy(live: Ports, shadow: int, limit_s: float | None, port: int, admin: int) -> dict[str, Any]:
    fraction = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
    to = {
        "timeout": f"{limit_s or 0:.3f}s",
        "request_mirror_policies": [{"cluster": SHADOW, "runtime_fraction": fraction}],
    }
    routes = [{"match": {"prefix": path}, "route": {"cluster": name, **to}} for name, path in ROUTES.items()]
    clusters = [cluster(name, getattr(live, name)) for name in ROUTES]
    clusters.append(cluster(SHADOW, shadow, requests=COPIES, connect_timeout=f"{CONNECT_S}s"))
    return envoy_document(port, clusters, routes, admin)


class Shadows:
    """A healthy shadow for each backend, and one of every faulty kind. No mutable state of its own."""

    def __init__(self, stack: contextlib.ExitStack, core: int, folder: Path, before: tuple[str, ...] = LOWEST) -> None:
        """Start them, each with `before` in front of its command, and wait until they listen. Raises BenchError."""
        self.healthy = {"plain": free_port(), "bulk": free_port()}
        self.faulty = {kind: free_port() for kind in KINDS}
        start_plain(stack, "nginx-shadow", [self.healthy["plain"]], core, folder, before=before)
        port = self.healthy["bulk"]
        sink = running("sink-shadow", [*before, *python("bench.loopback.sink", port)], core, folder)
        stack.enter_context(sink).listens(port)
        argv = [*before, *python("bench.loopback.faulty", *(f"{kind}={at}" for kind, at in self.faulty.items()))]
        self._child = stack.enter_context(running("faulty", argv, core, folder, talks=True))
        if (said := self._said()) != "listening":
            raise BenchError(f"faulty: said {said!r}")

    def port(self, kind: str, size: int) -> int:
        """Where a shadow of this kind, or a healthy one for bodies of this size, is reached."""
        return self.healthy["plain" if size < MIB else "bulk"] if kind == HEALTHY else self.faulty[kind]

    def calm(self) -> None:
        """End every connection of the faulty ones, and those that copies still waiting open in their place.

        Raises BenchError when they go on coming.
        """
        assert self._child.popen.stdin is not None
        for _ in range(CALMING):
            self._child.insist()
            self._child.popen.stdin.write("calm\n")
            self._child.popen.stdin.flush()
            if self._said() == "0":
                return
            self._child.pause(CALMING_S)
        raise BenchError(f"copies go on being sent {CALMING * CALMING_S:g} s after the last request")

    def settle(self, seconds: float) -> None:
        """Give a healthy one the time to hear what is still on its way."""
        self._child.pause(seconds)

    def _said(self) -> str:
        assert self._child.popen.stdout is not None
        if line := self._child.popen.stdout.readline().strip():
            return line
        self._child.popen.wait(5)
        raise BenchError(f"faulty: {self._child.complaint()}")
