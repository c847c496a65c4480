"""Did the machine stand still? A process on each core, ahead of all others, that notes when it was woken late.

`python -m bench.loopback.hiccups` wakes 1,000 times a second at real-time priority. For each line `now` on its standard
input it prints, as JSON, since the one before: [when it should have been woken, how late it was] for every wake-up that
was `NOTED_NS` late or more, monotonic nanoseconds. No process of this machine can delay it so: when it was late, the
host had the core, or the kernel was busy with interrupts. Without the privilege for that priority it says `refused`.

After a line `of PID ...` it notes as well when the first of these processes was ready to run and was kept from it as
long between two wake-ups, and not by the others: by somebody who has nothing to do with what is measured.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .pace import Pace
from .processes import Child, python, running
from .wire import BenchError

PER_SECOND = 1000  # some 2 % of a core
LATE_NS = 500_000  # so that a standstill of 1.5 ms is always seen
NOTED_NS = 150_000  # likewise for single requests: of 1.15 ms
PRIORITY = 50
KEPT = 100_000
OWN_LOOKS = 10  # more than a turn of anybody's
RECOVERY = 3  # times as long as it stood still, a core needs at half load to be as before


@dataclass
class Standstills:
    """Both cores' watchers, the subject's first. Mutable state: every late wake-up that they have told of so far."""

    watchers: Sequence[Child] = ()
    late: list[tuple[int, int]] = field(default_factory=list)

    def attend(self, pid: int, others: Iterable[int]) -> None:
        """From now on it is known as well when anybody but the others kept this process of the subject's waiting."""
        for each in self.watchers[:1]:
            _say(each, "of", pid, *others)

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
        return any(began_ns - late < due < ended_ns for due, late in self.late if late >= LATE_NS)

    def _ask(self) -> None:
        for each in self.watchers:
            self.late += _asked(each)


def _asked(watcher: Child) -> list[tuple[int, int]]:
    assert watcher.popen.stdout is not None
    _say(watcher, "now")
    return [(due, late) for due, late in json.loads(watcher.popen.stdout.readline())]


def _say(watcher: Child, *words: object) -> None:
    assert watcher.popen.stdin is not None
    watcher.insist()
    watcher.popen.stdin.write(" ".join(map(str, words)) + "\n")
    watcher.popen.stdin.flush()


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


class Waits:
    """How long a process was ready to run and did not (Documentation/scheduler/sched-stats.rst: time on the CPU, time
    waiting to run). Mutable state: as of the last looks."""

    def __init__(self, pids: Sequence[str]) -> None:
        self._fd, *self._others = (os.open(f"/proc/{pid}/schedstat", os.O_RDONLY) for pid in pids)
        self._waited_ns = self._field(self._fd, 1)
        self._ran_ns = deque([self._of_others()], OWN_LOOKS)

    def since(self) -> int:
        """Nanoseconds since the last look, less what the others ran lately: a wait is told when it is over."""
        waited_ns, self._waited_ns = -self._waited_ns, self._field(self._fd, 1)
        self._ran_ns.append(self._of_others())
        return waited_ns + self._waited_ns - (self._ran_ns[-1] - self._ran_ns[0])

    def _of_others(self) -> int:
        return sum(self._field(fd, 0) for fd in self._others)

    def _field(self, fd: int, number: int) -> int:
        return int(os.pread(fd, 64, 0).split()[number])

    def close(self) -> None:
        """Look no more."""
        for fd in (self._fd, *self._others):
            os.close(fd)


def watch() -> None:
    """Until the standard input ends."""
    pace = Pace(PER_SECOND)
    poll = select.poll()
    poll.register(pace.fd, select.POLLIN)
    poll.register(sys.stdin.fileno(), select.POLLIN)
    woken = 0
    late: list[tuple[int, int]] = []
    waits: Waits | None = None
    while True:
        poll.poll()
        if beats := pace.due():
            due_ns, now_ns = pace.beat_ns(woken), time.monotonic_ns()
            woken += beats
            waited_ns = waits.since() if waits is not None else 0
            for each_ns in (now_ns - due_ns, waited_ns):
                if each_ns >= NOTED_NS and len(late) < KEPT:
                    late.append((now_ns - each_ns, each_ns))
            continue
        lines = os.read(sys.stdin.fileno(), 1024).decode().splitlines()
        if not lines:
            return
        for line in lines:
            word, *pids = line.split()
            if word == "of":
                if waits is not None:
                    waits.close()
                waits = Waits(pids)
            else:
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
