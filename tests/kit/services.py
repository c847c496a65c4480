"""What a worker lends its filters, in the hands of a test: time stands until it is moved, spawned work is bounded."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine
from random import Random
from typing import Any

from understudy.filters.api import Exchange, Failure, KeyTally, Outcome, Reason, Request

SPAWN_LIMIT = 8


class FakeServices:
    """Services as `filters/api.py` describes them, failing as the worker's do: `spawn` refuses past its bound."""

    def __init__(self, seed: int = 1) -> None:
        self.rng = Random(seed)
        self.time = 1_000.0  # monotonic seconds
        self.secret = b"of the test's own, 32 bytes long"
        self.counters: Counter[str] = Counter()
        self.down: set[str] = set()  # backends without a healthy endpoint
        self.keys: dict[str, KeyTally] = {}
        self.tasks: list[asyncio.Task[None]] = []

    def now(self) -> float:
        return self.time

    def count(self, name: str, by: int = 1) -> None:
        self.counters[name] += by

    def available(self, backend: str) -> bool:
        return backend not in self.down

    def key_use(self, experiment: str) -> KeyTally:
        return self.keys.setdefault(experiment, KeyTally(experiment))

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        self.tasks = [task for task in self.tasks if not task.done()]
        if len(self.tasks) >= SPAWN_LIMIT:
            work.close()
            raise Failure("overloaded", "too much work is under way")
        self.tasks.append(asyncio.get_running_loop().create_task(work, name=name))

    async def settle(self) -> None:
        """Wait for all spawned work, as a worker does when it drains. Raises what the work raised."""
        await asyncio.gather(*self.tasks)


def exchange_of(request: Request, *, trusted: bool = False) -> Exchange:
    """An exchange as a filter meets it."""
    return Exchange(request, route="iris", backend="stable", id=b"0192-rq", client="192.0.2.7", trusted=trusted)


def outcome_of(status: int = 200, reason: Reason | None = None) -> Outcome:
    """How it ended."""
    return Outcome(
        status=status,
        reason=reason,
        backend="stable",
        endpoint="127.0.0.1:9001",
        first_byte_ms=11.0 if status else None,
        total_ms=12.0,
        request_bytes=0,
        response_bytes=0,
    )
