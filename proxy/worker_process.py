"""One worker as control sees it: the process, the channel to it, and what it said last."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable

import msgspec

from . import giving_way, messages
from .channel import Channel
from .log import logger
from .processes import Usage, usage

REAP_EVERY_S = 0.005
REAP_KILL_AFTER = 200  # a process that closed its channel but lives on after a second is killed


class WorkerProcess:
    """A fresh interpreter in its own process group, so that no terminal's signal reaches it.

    Mutable state: what it was asked last (`asked_version` to build, `told_version` to swap to), what it said
    (`serving_version`, `error`) and owes (`_owed`), the CPU time that it had when last looked (`cpu_s`), and whether it
    is `dead`.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        slot: int,
        *,
        on_notice: Callable[[WorkerProcess, messages.Notice], None],
        on_death: Callable[[WorkerProcess, str], None],
    ) -> None:
        """Start it. Raises OSError when the system gives no process, memory or descriptor more."""
        self.slot = slot
        self.name = f"worker-{slot}"
        self.asked_version = 0
        self.told_version = 0
        self.serving_version = 0
        self._owed = 0  # answers to `build`: a version that was refused has its number again
        self.error: str | None = None
        self.dead = False
        self.silent_ticks = 0
        self.lag_s = 0.0
        self.cpu_s: float | None = None
        self.started_s = time.monotonic()
        self._loop = loop
        self._on_notice = on_notice
        self._on_death = on_death
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                self._process = giving_way.start(
                    [sys.executable, "-P", "-m", "understudy.proxy.worker", str(theirs.fileno()), self.name],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    process_group=0,
                )
            except BaseException:
                ours.close()
                raise
        self._channel = Channel(loop, ours, self._on_frame, self._on_close)

    @property
    def pid(self) -> int:
        """The worker's process id."""
        return self._process.pid

    @property
    def age_s(self) -> float:
        """Since it was started."""
        return time.monotonic() - self.started_s

    def usage(self) -> Usage:
        """What it uses now; the CPU time that it had, where it is gone and its death is not told yet."""
        found = usage(self.pid) if self._process.returncode is None else Usage(None, None)  # its id may be another's
        if found.cpu_s is not None:
            self.cpu_s = found.cpu_s
        return Usage(found.memory_bytes, self.cpu_s)

    @property
    def answered(self) -> bool:
        """Whether it has built what it was asked for last, has said why not, or never will."""
        return self.dead or not self._owed

    def why_not(self) -> str | None:
        """Why it cannot serve what it was asked to build last; None when it can, or has not said so yet."""
        if self.dead:
            return "died while it built the configuration"
        return None if self._owed else self.error

    def build(self, order: messages.Build) -> None:
        """Have it build a version; it serves as before until `swap`."""
        self.asked_version = order.version
        self._owed += 1
        self.send(order)

    def swap(self, version: int, listeners: list[str]) -> None:
        """Have it serve by what it built, on these listeners and no others."""
        self.told_version = version
        self.send(messages.Swap(version, listeners))

    def discard(self, version: int) -> None:
        """Have it forget what it built and what came for it: it is where it said last that it serves."""
        self.asked_version = self.told_version = self.serving_version
        self.send(messages.Discard(version))

    def send(self, order: messages.Order) -> None:
        """Send an order; nothing happens when the worker is dead, for its death is told by `on_death`."""
        self._channel.send(messages.encode(order))

    def send_socket(self, listener: str, sock: socket.socket) -> None:
        """Hand over a listening socket; control keeps its own copy."""
        self._channel.send(messages.encode(messages.Socket(listener)), sock.fileno())

    def kill(self) -> None:
        """End it at once. Its death is told by `on_death`, as any other."""
        self._process.kill()

    def _on_frame(self, payload: memoryview) -> None:
        self.silent_ticks = 0
        try:
            notice = messages.decode_notice(payload)
        except msgspec.DecodeError:
            logger.exception("%s said what nobody understands: killed", self.name)
            self.kill()
            return
        match notice:
            case messages.Built():
                self._owed, self.error = self._owed - 1, notice.error
            case messages.Serving():
                self.serving_version = notice.version
            case messages.Report():
                self.lag_s = notice.lag_s
        self._on_notice(self, notice)
        giving_way.step_aside()  # a read may have brought dozens of notices

    def _on_close(self) -> None:
        self._reap(0)

    def _reap(self, attempt: int) -> None:
        self.usage()  # while it can still be read
        status = self._process.poll()
        if status is None:
            if attempt == REAP_KILL_AFTER:
                self._process.kill()
            self._loop.call_later(REAP_EVERY_S, self._reap, attempt + 1)
            return
        self.dead = True
        self._on_death(self, _how(status))


def _how(status: int) -> str:
    if status >= 0:
        return f"exited with status {status}"
    try:
        return f"was killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"was killed by signal {-status}"
