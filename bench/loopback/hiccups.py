"""Did the machine stand still? A process on each core, ahead of all others, that notes when it was woken late.

`python -m bench.loopback.hiccups` wakes 1,000 times a second at real-time priority. For each line on its standard input
it prints, as JSON, since the line before: [when it should have been woken, how late it was] for every wake-up that was
`LATE_NS` late or more, monotonic nanoseconds. No process of this machine can delay it so: when it was late, the
host had the core, or the kernel was busy with interrupts. Without the privilege for that priority it says `refused`.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .pace import Pace
from .processes import Child, python, running
from .wire import BenchError

PER_SECOND = 1000  # some 2 % of a core
LATE_NS = 500_000  # so that a standstill of 1.5 ms is always seen
PRIORITY = 50
KEPT = 100_000
RECOVERY = 3  # times as long as it stood still, a core needs at half load to be as before


@dataclass
class Standstills:
    """Both cores' watchers. Mutable state: the watchers, and every late wake-up that they have told of so far."""

    watchers: Sequence[Child] = ()
    late: list[tuple[int, int]] = field(default_factory=list)

    def spared(self, due_ns: Sequence[int]) -> list[bool]:
        """Of moments in rising order: whether no core is known to have stood still then, or just before."""
        self._ask()
        touched = sorted((due - late, due + late * (1 + RECOVERY)) for due, late in self.late)
        found, at, until_ns = [], 0, 0
        for moment in due_ns:
            while at < len(touched) and touched[at][0] <= moment:
                until_ns = max(until_ns, touched[at][1])
                at += 1
            found.append(moment >= until_ns)
        return found

    def during(self, began_ns: float, ended_ns: float) -> bool:
        """Whether a core is known to have stood still in this span of time."""
        self._ask()
        return any(began_ns - late < due < ended_ns for due, late in self.late)

    def _ask(self) -> None:
        for each in self.watchers:
            self.late += _asked(each)


def _asked(watcher: Child) -> list[tuple[int, int]]:
    assert watcher.popen.stdin is not None and watcher.popen.stdout is not None
    watcher.insist()
    watcher.popen.stdin.write("now\n")
    watcher.popen.stdin.flush()
    return [(due, late) for due, late in json.loads(watcher.popen.stdout.readline())]


@contextlib.contextmanager
def watching(cores: Sequence[int], folder: Path) -> Iterator[Standstills]:
    """A watcher on each core, for the length of a block; none where the priority is refused."""
    with contextlib.ExitStack() as stack:
        watchers = []
        for core in cores:
            child = running(f"hiccups-{core}", python("bench.loopback.hiccups"), core, folder, talks=True)
            watchers.append(stack.enter_context(child))
        said = [each.popen.stdout.readline().strip() if each.popen.stdout else "" for each in watchers]
        if not set(said) <= {"watching", "refused"}:
            raise BenchError(f"hiccups: {watchers[0].complaint()}")
        yield Standstills(() if "refused" in said else watchers)


def watch() -> None:
    """Until the standard input ends."""
    pace = Pace(PER_SECOND)
    poll = select.poll()
    poll.register(pace.fd, select.POLLIN)
    poll.register(sys.stdin.fileno(), select.POLLIN)
    woken = 0
    late: list[tuple[int, int]] = []
    while True:
        poll.poll()
        if beats := pace.due():
            due_ns = pace.beat_ns(woken)
            late_ns = time.monotonic_ns() - due_ns
            woken += beats
            if late_ns >= LATE_NS and len(late) < KEPT:
                late.append((due_ns, late_ns))
        else:
            if not os.read(sys.stdin.fileno(), 64):
                return
            print(json.dumps(late), flush=True)
            late.clear()


def main() -> None:
    """Take the priority and watch."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
    except PermissionError:
        print("refused", flush=True)
        return
    print("watching", flush=True)
    watch()


if __name__ == "__main__":
    main()
