"""Starts workers, tells them what to serve, replaces the dead, and ends them.

A configuration reaches the workers in two steps: all build it, then all swap to it; one that cannot build it rejects it
for all, and so does one that dies as it swaps: those that serve by it already go back. A worker that dies is replaced
by a fresh interpreter at once, and ever later when it keeps dying young.

Whatever happens, one step looks at what should be and what is, and does what is missing: `Supervisor._reconcile`.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from . import messages
from .comparison.epochs import Epochs
from .log import logger
from .telemetry.failures import Failures
from .telemetry.totals import Totals
from .worker_process import WorkerProcess

START_WITHIN_S = 10.0  # where no worker lives, one must come about so soon to build what is new
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


class Undone(Rejected):
    """A worker died before it served by the configuration that it had built: others may serve by it, until `go_back`
    has them serve by the former one again."""


@dataclass(slots=True)
class Proposal:
    """A generation that is not decided yet. Mutable state: the workers that were asked to build it."""

    generation: Generation
    builders: list[WorkerProcess] = field(default_factory=list)

    @property
    def settled(self) -> bool:
        """Whether one has said why not, or all have built it."""
        return any(self._refusals()) or all(worker.answered for worker in self.builders)

    def problems(self) -> list[str]:
        """Why it cannot be served, by worker; when that was waited for no longer, who said nothing."""
        silent = (f"{worker.name}: did not answer in time" for worker in self.builders if not worker.answered)
        return list(self._refusals()) or list(silent)

    def _refusals(self) -> Iterator[str]:
        return (f"{worker.name}: {why}" for worker in self.builders if (why := worker.why_not()))


class Supervisor:
    """Mutable state: the workers by slot (what each was asked and has said is its own: worker_process.py); the
    generation that they serve, and the one that they build; which empty slots pause before the next try, and how often
    each failed young; those that swap just now (`_swapping`); the CPU time of those that ended, by name; whether
    nothing new is taken any more (`_refusing`), or no worker started (`_ending`).
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        totals: Totals,
        failures: Failures,
        epochs: Epochs,
        wanted: int,
        silent_ticks: int = SILENT_TICKS,
        told: Callable[[messages.Records], None] = lambda records: None,
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
        self.ended_cpu_s: dict[str, float] = {}
        self._current: Generation | None = None
        self._proposed: Proposal | None = None
        self._swapping: list[WorkerProcess] = []
        self._pauses: dict[int, asyncio.TimerHandle] = {}
        self._young_deaths = dict.fromkeys(range(wanted), 0)
        self._deaths_s: deque[float] = deque(maxlen=100)
        self._why_none = ""  # the last worker that could not be started
        self._refusing = False
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

        `decided` is called when all have built it, at least one, before the first one serves by it.

        Raises Rejected when one could not build it, or died while it did, or none could be started, or `refuse_new` was
        called; then all serve as before. Raises Undone when one died while it swapped, unless it is the first
        configuration: then those that die are replaced, and it is Rejected where none serves in time.
        """
        proposal = self._proposed = Proposal(generation)
        self._forget_pauses()  # it may be the remedy of what the workers die of
        try:
            self._reconcile()
            await self._built(proposal)
        except BaseException:
            self._proposed = None
            for worker in proposal.builders:
                worker.discard(generation.version)
            self._reconcile()
            raise
        first = self._current is None
        self._swapping = [] if first else proposal.builders
        self._current, self._proposed = generation, None
        try:
            decided()
            self._reconcile()
            await self._swapped(generation)
            fallen = self._fallen()
        finally:
            self._swapping = []
        if fallen and not self._refusing:
            raise Undone("; ".join(f"{worker.name}: died as it swapped to the configuration" for worker in fallen))
        if first and not self.serving and not self._refusing:
            raise Rejected("no worker could serve it; the log above says more")

    async def go_back(self, generation: Generation) -> None:
        """Have all serve by what they served before one that was `Undone`; `fresh` are the listeners that it did not
        have. Returns when they do, or die over it."""
        self._forget_pauses()
        for worker in self.workers.values():
            worker.serving_version = 0  # one that has not begun to swap yet would count as being back
        self._proposed = Proposal(generation)
        self._reconcile()
        self._current, self._proposed = generation, None  # without waiting: they have served by it before
        self._reconcile()
        await self._swapped(generation)

    async def _built(self, proposal: Proposal) -> None:
        """Wait until all that could be started have built it. Raises Rejected."""
        try:
            async with asyncio.timeout(START_WITHIN_S):
                await self._until(lambda: bool(proposal.builders) or self._refusing)
            async with asyncio.timeout(BUILD_WITHIN_S):
                await self._until(lambda: proposal.settled or self._refusing)
        except TimeoutError:
            logger.error("configuration v%d was not built in time", proposal.generation.version)
        if self._refusing:
            raise Rejected("the program is about to end")
        if not proposal.builders:
            raise Rejected(f"no worker lives, and none could be started: {self._why_none}")
        problems = proposal.problems()
        if problems:
            raise Rejected("; ".join(problems))

    async def _swapped(self, generation: Generation) -> None:
        """Wait until all serve by it, or one of those that swap to it has died, but not for ever."""
        try:
            async with asyncio.timeout(SWAP_WITHIN_S):
                await self._until(lambda: self.serving == self.wanted or self._refusing or bool(self._fallen()))
        except TimeoutError:
            version = generation.version
            logger.error("only %d of %d workers serve configuration v%d", self.serving, self.wanted, version)

    def _fallen(self) -> list[WorkerProcess]:
        """Those that died as they swapped to the current generation."""
        version = self._current.version if self._current else -1
        return [worker for worker in self._swapping if worker.dead and worker.serving_version != version]

    def refuse_new(self) -> None:
        """Take no configuration any more: one that is not decided yet is rejected at once, nobody waits for a swap."""
        self._refusing = True
        self._wake()

    async def drain(self, grace_s: float) -> None:
        """Let every worker finish within the time and exit; kill what is left after it."""
        self._ending = True
        self.refuse_new()
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
        self.refuse_new()

    def _reconcile(self) -> None:
        """Start the workers that are missing, and bring every one to what is proposed, else to what is served."""
        proposal = self._proposed
        goal = proposal.generation if proposal else self._current
        if self._ending or goal is None:
            return
        for slot in range(self.wanted):
            if slot not in self.workers and slot not in self._pauses:
                self._start(slot)
        for worker in list(self.workers.values()):  # one may turn out to be gone
            if worker.asked_version != goal.version:
                self._have_built(worker, goal)
                if proposal is not None:
                    proposal.builders.append(worker)
            if proposal is None and worker.told_version != goal.version:
                worker.swap(goal.version, list(goal.sockets))
        self._wake()

    def _start(self, slot: int) -> None:
        try:
            self.workers[slot] = WorkerProcess(self._loop, slot, on_notice=self._on_notice, on_death=self._on_death)
        except OSError as problem:  # no process, memory or descriptor is left: for now
            self._why_none = str(problem)
            delay_s = max(FIRST_DELAY_S, self._delay_s(slot, 0.0))
            logger.error("worker-%d cannot be started: %s; tried again in %.1f s", slot, problem, delay_s)
            self._pause(slot, delay_s)

    def _have_built(self, worker: WorkerProcess, goal: Generation) -> None:
        follows = self._current is not None and worker.told_version == self._current.version
        for name in goal.fresh if follows else goal.sockets:
            worker.send_socket(name, goal.sockets[name])
        worker.build(messages.Build(goal.version, goal.document, self.wanted, goal.base, goal.secret))

    def _on_notice(self, worker: WorkerProcess, notice: messages.Notice) -> None:
        match notice:
            case messages.Report():
                self._totals.update(worker.slot, notice)
            case messages.Records():
                self._failures.take(worker.slot, notice)
                self._epochs.take(notice.pairs)
                self._told(notice)
            case messages.Built(error=str(error)) if worker.answered and self._is_current(notice.version):
                logger.error("%s cannot build the running configuration: %s", worker.name, error)
                worker.kill()
            case messages.Serving():
                logger.info("%s (pid %d) serves configuration v%d", worker.name, worker.pid, notice.version)
        self._wake()

    def _on_death(self, worker: WorkerProcess, how: str) -> None:
        self._totals.retire(worker.slot)
        self._failures.retire(worker.slot)
        if worker.cpu_s is not None:
            self.ended_cpu_s[worker.name] = self.ended_cpu_s.get(worker.name, 0.0) + worker.cpu_s
        if self.workers.get(worker.slot) is worker:
            del self.workers[worker.slot]
        self._wake()
        if self._ending or self._current is None:
            return
        self.restarts += 1
        self._deaths_s.append(time.monotonic())
        delay_s = self._delay_s(worker.slot, worker.age_s)
        logger.error(
            "%s (pid %d) %s after %.1f s: replaced %s", worker.name, worker.pid, how, worker.age_s,
            f"in {delay_s:.1f} s" if delay_s else "at once",
        )  # fmt: skip
        if delay_s:
            self._pause(worker.slot, delay_s)
        if self._proposed is None and not self._fallen():  # else it is rejected for that, and then they are reconciled
            self._reconcile()

    def _is_current(self, version: int) -> bool:
        return self._proposed is None and self._current is not None and self._current.version == version

    def _delay_s(self, slot: int, age_s: float) -> float:
        """0 for the first death; doubling while a slot's workers die within `YOUNG_S` of their start."""
        deaths = self._young_deaths[slot] + 1 if age_s < YOUNG_S else 0
        self._young_deaths[slot] = deaths
        return 0.0 if deaths <= 1 else min(FIRST_DELAY_S * 2 ** (deaths - 2), MOST_DELAY_S)

    def _pause(self, slot: int, delay_s: float) -> None:
        def over() -> None:
            del self._pauses[slot]
            self._reconcile()

        self._pauses[slot] = self._loop.call_later(delay_s, over)

    def _forget_pauses(self) -> None:
        for pause in self._pauses.values():
            pause.cancel()
        self._pauses.clear()
        self._young_deaths = dict.fromkeys(range(self.wanted), 0)

    def _tick(self) -> None:
        self._loop.call_later(1.0, self._tick)
        for worker in list(self.workers.values()):
            worker.silent_ticks += 1
            if worker.silent_ticks == self._silent_ticks and not self._ending:
                logger.error("%s (pid %d) is silent for %d s: killed", worker.name, worker.pid, self._silent_ticks)
                worker.kill()
        self._reconcile()

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
