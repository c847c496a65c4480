"""Starts workers, tells them what to serve, replaces the dead, and ends them.

A configuration reaches the workers in two steps: all build it, then all swap to it; one that cannot build it rejects it
for all. A worker that dies is replaced by a fresh interpreter at once, and ever later when it keeps dying young.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from . import messages
from .comparison.epochs import Epochs
from .log import logger
from .telemetry.failures import Failures
from .telemetry.records import Record
from .telemetry.totals import Totals
from .worker_process import WorkerProcess

BUILD_WITHIN_S = 60.0
SILENT_TICKS = 30  # a worker reports every second; one that is silent for so long is hung
YOUNG_S = 10.0
FIRST_DELAY_S = 0.1
MOST_DELAY_S = 10.0
SWAP_WITHIN_S = 10.0  # then those that do not serve yet are left to be replaced
EXIT_WITHIN_S = 5.0  # after the grace period


@dataclass(frozen=True, slots=True)
class Generation:
    """One configuration as workers get it, with the listening sockets that it names."""

    version: int
    document: bytes
    base: str
    secret: bytes
    sockets: Mapping[str, socket.socket]
    fresh: frozenset[str]  # listeners whose socket is not yet with the workers that serve the generation before


class Rejected(Exception):
    """A worker could not build the configuration: nobody serves by it. The message says which and why."""


class Supervisor:
    """Mutable state: the workers by slot, the generation that they serve, and how often each slot died young."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        totals: Totals,
        failures: Failures,
        epochs: Epochs,
        wanted: int,
        silent_ticks: int = SILENT_TICKS,
        told: Callable[[list[Record]], None] = lambda batch: None,
    ) -> None:
        self._loop = loop
        self._totals = totals
        self._failures = failures
        self._epochs = epochs
        self._told = told
        self._silent_ticks = silent_ticks
        self.wanted = wanted
        self.workers: dict[int, WorkerProcess] = {}
        self.restarts = 0
        self._current: Generation | None = None
        self._young_deaths = dict.fromkeys(range(wanted), 0)
        self._deaths_s: deque[float] = deque(maxlen=100)
        self._ending = False
        self._waiting: list[asyncio.Future[None]] = []
        loop.call_later(1.0, self._tick)

    @property
    def serving(self) -> int:
        """How many workers serve the current generation."""
        version = self._current.version if self._current else -1
        return sum(worker.serving_version == version for worker in self.workers.values())

    def deaths_since(self, then_s: float) -> int:
        """How many workers died since then, monotonic seconds; at most 100 are remembered."""
        return sum(death_s >= then_s for death_s in self._deaths_s)

    async def introduce(self, generation: Generation, decided: Callable[[], None] = lambda: None) -> None:
        """Have every worker build the generation, then swap to it. Returns when all serve by it, or die over it.

        `decided` is called when all have built it, before the first one serves by it.

        Raises Rejected when one could not build it, or died while it did; then all serve as before.
        """
        for slot in range(self.wanted):
            if self._current is None:
                self._start(slot)
        workers = list(self.workers.values())
        for worker in workers:
            self._send_build(worker, generation, generation.fresh)
        version = generation.version
        try:
            async with asyncio.timeout(BUILD_WITHIN_S):
                await self._until(lambda: all(worker.answered(version) for worker in workers))
        except TimeoutError:
            logger.error("no answer to configuration v%d within %d s", version, BUILD_WITHIN_S)
        problems = [f"{worker.name}: {worker.why_not(version)}" for worker in workers if worker.why_not(version)]
        if problems:
            for worker in workers:
                worker.send(messages.Discard(version))
            raise Rejected("; ".join(problems))
        first = self._current is None
        self._current = generation
        decided()
        for worker in workers:
            worker.send(messages.Swap(version, list(generation.sockets)))
        try:
            async with asyncio.timeout(SWAP_WITHIN_S):
                await self._until(lambda: self.serving == self.wanted or self._ending)
        except TimeoutError:
            logger.error("only %d of %d workers serve configuration v%d", self.serving, self.wanted, version)
            if first and not self.serving:
                raise Rejected("no worker could serve it; the log above says more") from None

    async def drain(self, grace_s: float) -> None:
        """Let every worker finish within the time and exit; kill what is left after it."""
        self._ending = True
        self._wake()
        for worker in self.workers.values():
            worker.send(messages.Drain(float(grace_s)))
        try:
            async with asyncio.timeout(grace_s + EXIT_WITHIN_S):
                await self.gone()
        except TimeoutError:
            logger.error("%d workers did not exit in time: killed", len(self.workers))
            self.kill()
            await self.gone()

    async def gone(self) -> None:
        """Wait until no worker is left."""
        await self._until(lambda: not self.workers)

    def kill(self) -> None:
        """End every worker at once, and start none any more."""
        self._ending = True
        for worker in self.workers.values():
            worker.kill()
        self._wake()

    def _start(self, slot: int) -> None:
        if self._ending:
            return
        worker = WorkerProcess(self._loop, slot, on_notice=self._on_notice, on_death=self._on_death)
        self.workers[slot] = worker
        generation = self._current
        if generation is not None:  # a replacement: nobody waits for it, so it may swap as soon as it has built
            self._send_build(worker, generation, generation.sockets.keys())
            worker.send(messages.Swap(generation.version, list(generation.sockets)))

    def _send_build(self, worker: WorkerProcess, generation: Generation, sockets: Iterable[str]) -> None:
        for name in sockets:
            worker.send_socket(name, generation.sockets[name])
        each = generation
        worker.send(messages.Build(each.version, each.document, self.wanted, each.base, each.secret))

    def _on_notice(self, worker: WorkerProcess, notice: messages.Notice) -> None:
        match notice:
            case messages.Report():
                self._totals.update(worker.slot, notice)
            case messages.Records():
                self._failures.take(worker.slot, notice)
                self._epochs.take(notice.pairs)
                self._told(notice.batch)
            case messages.Built(error=str(error)) if self._current and notice.version == self._current.version:
                logger.error("%s cannot build the running configuration: %s", worker.name, error)
                worker.kill()
            case messages.Serving():
                logger.info("%s (pid %d) serves configuration v%d", worker.name, worker.pid, notice.version)
        self._wake()

    def _on_death(self, worker: WorkerProcess, how: str) -> None:
        self._totals.retire(worker.slot)
        self._failures.retire(worker.slot)
        if self.workers.get(worker.slot) is worker:
            del self.workers[worker.slot]
        self._wake()
        if self._ending or self._current is None:
            return
        self.restarts += 1
        self._deaths_s.append(time.monotonic())
        delay_s = self._delay_s(worker)
        logger.error(
            "%s (pid %d) %s after %.1f s: replaced %s", worker.name, worker.pid, how, worker.age_s,
            f"in {delay_s:.1f} s" if delay_s else "at once",
        )  # fmt: skip
        if delay_s:
            self._loop.call_later(delay_s, self._start, worker.slot)
        else:
            self._start(worker.slot)

    def _delay_s(self, worker: WorkerProcess) -> float:
        """0 for the first death; doubling while a slot's workers die within `YOUNG_S` of their start."""
        deaths = self._young_deaths[worker.slot] + 1 if worker.age_s < YOUNG_S else 0
        self._young_deaths[worker.slot] = deaths
        return 0.0 if deaths <= 1 else min(FIRST_DELAY_S * 2 ** (deaths - 2), MOST_DELAY_S)

    def _tick(self) -> None:
        self._loop.call_later(1.0, self._tick)
        for worker in list(self.workers.values()):
            worker.silent_ticks += 1
            if worker.silent_ticks == self._silent_ticks and not self._ending:
                logger.error("%s (pid %d) is silent for %d s: killed", worker.name, worker.pid, self._silent_ticks)
                worker.kill()

    async def changed(self) -> None:
        """Wait until a worker says something, dies, or all are to end."""
        woken: asyncio.Future[None] = self._loop.create_future()
        self._waiting.append(woken)
        await woken

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await self.changed()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for woken in waiting:
            if not woken.done():
                woken.set_result(None)
