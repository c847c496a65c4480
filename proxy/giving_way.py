"""Control gives way to its workers, so that what it does for telemetry delays no request where both share a core.

Niceness belongs to a thread on Linux (sched(7)), and a process inherits that of the thread that starts it: workers are
started by a thread that keeps the program's own, since nobody may take back what he gave away. Niceness says who gets
how much. Who comes first is a matter of turns: a worker that wakes takes the core at once only from whoever has longer
turns than it (EEVDF), so workers have the shortest that there are.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import platform
import struct
import subprocess
import threading
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from time import monotonic
from typing import Any, Final, TypeAlias, TypeVar

NICER_BY: Final = 13  # a twentieth of a core that workers could use whole
TURN_NS: Final = 100_000  # the shortest
_SCHED_ATTR: Final = struct.Struct("=IIQiIQQQ")  # size, policy, flags, nice, priority; runtime, deadline, period
_SCHED_SETATTR: Final = {"x86_64": 314, "aarch64": 274, "riscv64": 274}  # the system call's number
PIECE_S: Final = 0.001
"""So long control works at something large before whatever else waits for its loop, or for the core, gets a turn."""

COLLECT_BEYOND: Final = 50_000
"""Containers that are new since the last collection, some 10 MiB."""

Found = TypeVar("Found")
Step = TypeVar("Step")
Pieces: TypeAlias = Generator[None, None, Found]
"""Work that may be interrupted wherever it yields, every tenth of a millisecond or so; it returns what it found."""

_starter: Final = ThreadPoolExecutor(1, thread_name_prefix="starts-workers")


def give_way() -> None:
    """From now on this thread, and those that it starts, are nicer than workers; where that is refused, nothing is."""
    _starter.submit(os.getpid).result()  # its thread begins now, as nice as we are still
    with suppress(OSError):
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + NICER_BY)


def collect_rarely() -> None:
    """Leave what lives now out of all collections, and collect again only where something grows.

    What workers tell waits in many containers and in no cycle: by default the collector looks at them several times a
    second, for 2 to 25 ms, and no worker gets the core meanwhile.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_BEYOND)


def step_aside() -> None:
    """Let a worker that shares the core have it, if it waits: for whoever works for a tenth of a millisecond or more.

    A worker that had more than its share of the core does not take it when it wakes; the scheduler (EEVDF) looks again
    where we yield or sleep, or at its next tick, milliseconds later.
    """
    os.sched_yield()


def stepping_aside(steps: Iterable[Step], every: int) -> Iterator[Step]:
    """All of them; we step aside before each `every` of them."""
    for at, step in enumerate(steps):
        if at % every == 0:
            step_aside()
        yield step


def whole(work: Pieces[Found]) -> Found:
    """Do all of it now."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]


async def in_turns(work: Pieces[Found], clock: Callable[[], float] = monotonic) -> Found:
    """Do it on this loop, in turns with what else it has to do."""
    found: list[Found] = []

    def steps() -> Pieces[None]:
        found.append((yield from work))

    async for _ in turns(steps(), clock):
        pass
    return found[0]


async def turns(steps: Iterable[Step], clock: Callable[[], float] = monotonic) -> AsyncIterator[list[Step]]:
    """All of them, as many at once as a piece has room for, and the loop's other work in between."""
    piece: list[Step] = []
    until_s = clock() + PIECE_S
    for step in steps:
        piece.append(step)
        if clock() >= until_s:
            yield piece
            await asyncio.sleep(0)  # noqa: TID251 - one turn of the loop, no time
            piece = []
            until_s = clock() + PIECE_S
    yield piece


def start(argv: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    """Start a process that gives way to nobody. Blocks until it has begun. Raises OSError, as `Popen` does."""

    def begin() -> subprocess.Popen[bytes]:
        process = subprocess.Popen(argv, **options)
        _have_short_turns(process.pid)
        return process

    return _starter.submit(begin).result()


def _have_short_turns(pid: int) -> None:
    """Ask for turns of `TURN_NS` for a process (sched_setattr(2); since Linux 6.12 its runtime is that of a turn, where
    no policy was chosen). Where that is refused or not known, nothing changes."""
    number = _SCHED_SETATTR.get(platform.machine())
    if number is None:
        return
    with suppress(OSError):
        if os.sched_getscheduler(pid) == os.SCHED_OTHER:
            nice = os.getpriority(os.PRIO_PROCESS, pid)
            wished = _SCHED_ATTR.pack(_SCHED_ATTR.size, os.SCHED_OTHER, 0, nice, 0, TURN_NS, 0, 0)
            ctypes.CDLL(None).syscall(number, pid, wished, 0)
