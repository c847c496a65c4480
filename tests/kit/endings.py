"""How live exchanges ended, without any that did."""

from __future__ import annotations

import asyncio
from typing import Any

from understudy.config.snapshot import Backend, Chain, Endpoint, Route
from understudy.proxy.ending import Ending
from understudy.proxy.plane import DataPlane
from understudy.proxy.pool import BackendPool, Target
from understudy.proxy.telemetry.stats import Stats

USUAL: dict[str, Any] = {
    "route": Route("iris", Backend("stable", "7", ()), Chain()), "config": 1, "target": None, "tried": None,
    "started": 100.0, "asked": 101.0, "first_byte": 103.0, "answered": 106.0, "ended": 110.0, "status": 200,
    "reason": None, "refused": False, "received": 3, "sent": 7, "stream": None,
}  # fmt: skip


def ending(**different: Any) -> Ending:
    """A whole answer to a small request, but for what is named."""
    return Ending(**USUAL | different)


def target(host: str, port: int) -> Target:
    """One that nobody is asked at."""
    loop = asyncio.new_event_loop()
    try:
        plane = DataPlane(loop, Stats())
        plane.wheel.stop()
        backend = Backend("stable", "7", ())
        return Target(BackendPool(plane, backend), Endpoint(host, port), "")
    finally:
        loop.close()
