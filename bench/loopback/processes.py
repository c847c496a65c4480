"""Starting processes on a chosen core and ending them, by id, whatever happens."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from . import usage
from .wire import HOST, BenchError

ROOT = Path(__file__).parents[2]
POLL_S = 0.02
STOP_S = 5.0
PR_SET_CHILD_SUBREAPER = 36


def free_port() -> int:
    """A port of the loopback that nobody holds at this moment."""
    with socket.create_server((HOST, 0)) as server:
        return int(server.getsockname()[1])


def python(module: str, *args: object) -> list[str]:
    """The command that runs one of the bench's own modules, or another one of this environment."""
    return [sys.executable, "-m", module, *map(str, args)]


class Child:
    """A running process and its descendants. Mutable state: the process."""

    def __init__(self, name: str, argv: Sequence[str], core: int, folder: Path, *, talks: bool = False) -> None:
        """Start it on `core`, which all its threads and children inherit; `talks` opens pipes to it."""
        self.name = name
        self.log = folder / f"{name}.log"
        pipe = subprocess.PIPE if talks else None
        with self.log.open("ab") as log, _on_core(core):
            self.popen = subprocess.Popen(
                argv, cwd=ROOT, stdin=pipe or subprocess.DEVNULL, stdout=pipe or log, stderr=log, text=True
            )

    def pids(self) -> list[int]:
        """Its own id and those of its descendants."""
        return usage.family(self.popen.pid)

    def complaint(self) -> str:
        """The end of what it wrote to stderr."""
        return self.log.read_text(errors="replace").strip()[-2000:]

    def insist(self) -> None:
        """Raise BenchError when it has ended."""
        if self.popen.poll() is not None:
            raise BenchError(f"{self.name} ended with status {self.popen.returncode}: {self.complaint()}")

    def pause(self, seconds: float) -> None:
        """Let it work for so long. Raises BenchError when it ends before."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.popen.wait(seconds)
            self.insist()

    def until(self, ready: Callable[[], bool], seconds: float) -> None:
        """Wait until it is ready. Raises BenchError when it ends before, or is late."""
        deadline = time.monotonic() + seconds
        while not ready():
            if time.monotonic() > deadline:
                raise BenchError(f"{self.name} was not ready after {seconds} s: {self.complaint()}")
            self.pause(POLL_S)

    def listens(self, port: int, seconds: float = 20.0) -> None:
        """Wait until it accepts connections on the port. Raises BenchError."""
        self.until(lambda: _accepts(port), seconds)

    def result(self, seconds: float) -> dict[str, Any]:
        """Wait for its end and read the JSON on the last line it printed. Raises BenchError unless it succeeded."""
        try:
            out, _ = self.popen.communicate(timeout=seconds)
        except subprocess.TimeoutExpired as late:
            raise BenchError(f"{self.name} did not end within {seconds} s") from late
        if self.popen.returncode != 0:
            raise BenchError(f"{self.name}: {self.complaint()}")
        result: dict[str, Any] = json.loads(out.strip().splitlines()[-1])
        return result

    def stop(self) -> None:
        """SIGTERM, a few seconds of patience, then SIGKILL to it and all that is left of its family."""
        others = [pid for pid in self.pids() if pid != self.popen.pid]
        self.popen.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.popen.wait(STOP_S)
        self.popen.kill()
        kill(others)
        self.popen.wait()
        for stream in (self.popen.stdin, self.popen.stdout):
            if stream is not None:
                stream.close()


def kill(pids: Iterable[int]) -> None:
    """SIGKILL to those that are still there, and wait until they have ended."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            handle = os.pidfd_open(pid)
            try:
                signal.pidfd_send_signal(handle, signal.SIGKILL)
                select.select([handle], [], [], STOP_S)
            finally:
                os.close(handle)


@contextlib.contextmanager
def nothing_left_behind() -> Iterator[None]:
    """Adopt the orphans of every process started inside the block, and end whatever is left after it."""
    prctl = ctypes.CDLL(None).prctl
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        left = [pid for pid in usage.family(os.getpid()) if pid != os.getpid()]
        kill(left)
        for pid in left:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
        prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def _accepts(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=1.0):
        return True
    return False


@contextlib.contextmanager
def _on_core(core: int) -> Iterator[None]:
    """What is started inside inherits this core; the bench itself goes back to where it was."""
    home = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, home)


@contextlib.contextmanager
def coming_first() -> Iterator[None]:
    """What is started inside gets its core at once (SCHED_FIFO, inherited; where the system lets it).

    What measures, and the backends, wait for nobody who happens to be on the core that they share.
    """
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


@contextlib.contextmanager
def running(name: str, argv: Sequence[str], core: int, folder: Path, *, talks: bool = False) -> Iterator[Child]:
    """A child for the length of a block."""
    child = Child(name, argv, core, folder, talks=talks)
    try:
        yield child
    finally:
        child.stop()
