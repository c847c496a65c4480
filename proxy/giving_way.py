"""Control gives way to its workers, so that what it does for telemetry delays no request where both share a core.

Niceness belongs to a thread on Linux (sched(7)), and a process inherits that of the thread that starts it: workers are
started by a thread that keeps the program's own, since nobody may take back what he gave away.
"""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Final

NICER_BY: Final = 10  # a tenth of a core that workers could use whole
_starter: Final = ThreadPoolExecutor(1, thread_name_prefix="starts-workers")


def give_way() -> None:
    """From now on this thread, and those that it starts, are nicer than workers; where that is refused, nothing is."""
    _starter.submit(os.getpid).result()  # its thread begins now, as nice as we are still
    with suppress(OSError):
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + NICER_BY)


def step_aside() -> None:
    """Let a worker that shares the core have it, if it waits: for whoever works for a tenth of a millisecond or more.

    A kernel that preempts lazily takes a core away only where it is entered, or at its next tick, milliseconds later.
    """
    os.sched_yield()


def start(argv: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    """Start a process that gives way to nobody. Blocks until it has begun. Raises OSError, as `Popen` does."""

    def begin() -> subprocess.Popen[bytes]:
        return subprocess.Popen(argv, **options)

    return _starter.submit(begin).result()
