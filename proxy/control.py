"""The parent process: owns configuration, listening sockets, workers and the admin API; never sees a request's bytes.

The order of life: bind, start workers, ready, do what the operator asks, drain, end.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Literal

from ..config.load import Loaded
from ..config.schema import Document
from . import cpus
from .admin.measured import families_of
from .admin.server import AdminServer
from .comparison.epochs import Epochs, Why
from .configuration import Configuration, why_not
from .giving_way import collect_rarely, give_way, in_turns
from .iso_time import now_text
from .listening import BindError, Listening
from .log import logger
from .messages import Records
from .supervisor import Rejected, Supervisor
from .telemetry.access_log import FLUSH_S, AccessLog
from .telemetry.export.export import Export
from .telemetry.failures import Failures
from .telemetry.losses import Losses
from .telemetry.recent import Recent
from .telemetry.totals import Totals

TICK_S = 1.0
MOST_RELOADS = 16
EXPORT_WITHIN_S = 2.0  # for telemetry that is left at the end


@dataclass(frozen=True, slots=True)
class Reload:
    """The operator asks for the file to be read again; `done` gets the mistakes, none of them for success."""

    done: asyncio.Future[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Drain:
    """The operator asks for the end."""

    why: str


class Control:
    """Mutable state: the phase of life, what was asked and not yet done, and the parts that it owns."""

    def __init__(self, loop: asyncio.AbstractEventLoop, loaded: Loaded) -> None:
        document = loaded.document
        assert document is not None
        workers = cpus.usable() if document.workers == "auto" else document.workers
        self.state: Literal["starting", "ready", "draining"] = "starting"
        self.started_s = time.monotonic()
        self.lag_s = 0.0
        self.totals = Totals()
        self.failures = Failures()
        self.losses = Losses()
        self.access_log = AccessLog(self.losses)
        self.recent = Recent(self.totals)
        self.epochs = Epochs()
        self.listening = Listening()
        self.export = Export(self.losses, loaded.base, lambda: in_turns(families_of(self)))
        self.supervisor = Supervisor(loop, self.totals, self.failures, self.epochs, workers, told=self._on_told)
        self.configuration = Configuration(loaded.file, self.listening, self.supervisor, self._on_decided)
        self.admin = AdminServer(self, document.admin, loaded.base)
        self._loop = loop
        self._loaded = loaded
        self._asked: asyncio.Queue[Reload | Drain] = asyncio.Queue()
        self._ends = False
        self._at_once = asyncio.Event()
        self._stop_signals: list[signal.Signals] = []
        self._due_s = 0.0
        self._looking: asyncio.Task[None] | None = None

    async def run(self) -> int:
        """Serve until asked to end. Returns the exit status: 0 after a drain, 1 when it could not start or was cut."""
        self._watch_signals()
        try:
            await self.admin.start()
            await self.configuration.introduce(self._loaded)
        except (BindError, Rejected, OSError, ValueError) as problem:
            if not self._at_once.is_set():
                logger.error("cannot start: %s", why_not(self._loaded, problem))
            await self._end()
            return 1
        if not self._at_once.is_set():
            self._become_ready()
            await self._operate()
        await self._end()
        return 1 if self._at_once.is_set() else 0

    async def _operate(self) -> None:
        while isinstance(asked := await self._asked.get(), Reload):
            await self._reload(asked)
        await self._drain(asked.why)

    def ask_reload(self) -> asyncio.Future[Sequence[str]] | None:
        """Have the file read again. The future gets the mistakes, a drain that comes first among them.

        None when many reloads are waiting already.
        """
        if self._asked.qsize() >= MOST_RELOADS:
            return None
        done: asyncio.Future[Sequence[str]] = self._loop.create_future()
        self._asked.put_nowait(Reload(done))
        return done

    def ask_drain(self, why: str) -> None:
        """Begin to end. Asked again, nothing more happens."""
        if not self._ends:
            self._ends = True
            self.supervisor.refuse_new()  # the end waits for no reload
            self._asked.put_nowait(Drain(why))

    def begin_epoch(self, why: Why) -> None:
        """Compare anew from now on; the log tells what the epoch that ends here has found."""
        running = self.configuration.running
        for line in self.epochs.found(running.document if running else None):
            logger.info("%s", line)
        self.epochs.begin(why, now_text(), self.totals.calls(), self.totals.copies())

    def _on_decided(self, version: int, document: Document) -> None:
        """All workers have built it, and swap to it next: nothing may stand in the way any more."""
        for configure in (
            partial(self.access_log.configure, document.telemetry, self._loaded.base),
            partial(self.export.configure, document),
        ):
            try:
                configure()
            except Exception:  # where the system gives no thread more, requests are served all the same
                logger.exception("telemetry does not follow configuration v%d", version)
        why = self.epochs.configured(version, document)
        if why is not None:
            self.begin_epoch(why)

    def _on_told(self, records: Records) -> None:
        self.access_log.take(records.lines)
        if records.spans is not None:
            self.export.take(records.spans)

    def _watch_signals(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._on_stop_signal, number)
        self._loop.add_signal_handler(signal.SIGHUP, self._on_hangup)
        self._loop.add_signal_handler(signal.SIGUSR1, self.access_log.reopen)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)

    def _on_stop_signal(self, number: signal.Signals) -> None:
        self._stop_signals.append(number)
        if len(self._stop_signals) == 1 and self.state != "starting":
            self.ask_drain(signal.Signals(number).name)
            return
        logger.warning("%s: stopping at once", signal.Signals(number).name)
        self._at_once.set()
        self.supervisor.kill()

    def _on_hangup(self) -> None:
        self.ask_reload()

    def _become_ready(self) -> None:
        self.state = "ready"
        self._due_s = time.monotonic()
        self._tick()
        collect_rarely()
        addresses = {name: bound.url for name, bound in (self.listening.bound | self.admin.bound).items()}
        line = " ".join(["understudy ready", *(f"{name}={url}" for name, url in addresses.items())])
        sys.stderr.write(line + "\n")  # in one piece: workers write there too
        sys.stderr.flush()

    async def _reload(self, asked: Reload) -> None:
        mistakes = ["the program is draining"] if self._ends else await self.configuration.reload()
        if not asked.done.done():
            asked.done.set_result(mistakes)

    async def _drain(self, why: str) -> None:
        self.state = "draining"
        running = self.configuration.running
        assert running is not None
        drain = running.document.drain
        logger.info("draining (%s): not ready; delay %s, grace %s", why, drain.delay, drain.grace)
        if drain.delay:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._at_once.wait(), drain.delay)
        self.listening.commit({})
        await self.supervisor.drain(drain.grace)
        logger.info("drained")

    async def _end(self) -> None:
        self.supervisor.kill()
        await self.supervisor.gone()
        self.listening.commit({})
        at_once = self._at_once.is_set()
        await asyncio.gather(
            self.access_log.close(0.1 if at_once else FLUSH_S), self.export.stop(0.0 if at_once else EXPORT_WITHIN_S)
        )
        await self.admin.stop()

    def _tick(self) -> None:
        now_s = time.monotonic()
        self.lag_s, self._due_s = max(0.0, now_s - self._due_s), now_s + TICK_S
        self._loop.call_later(TICK_S, self._tick)
        self._looking = self._loop.create_task(in_turns(self.recent.tick(now_s)))
        self.export.tick(now_s)
        self.admin.tick(now_s)


def run(loaded: Loaded) -> int:
    """Run the program on a configuration without mistakes; returns the exit status."""

    async def main() -> int:
        give_way()
        return await Control(asyncio.get_running_loop(), loaded).run()

    return asyncio.run(main())
