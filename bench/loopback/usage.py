"""What processes cost, read from /proc: processor time and memory of a process and all its descendants."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from .wire import BenchError

PROC = Path("/proc")
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
KIB = 1024


def family(root: int) -> list[int]:
    """The process and every descendant of it that is alive, in the order of their ids."""
    children = defaultdict(list)
    for folder in PROC.glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):  # it ended while we were reading
            continue
        children[parent].append(int(folder.name))
    found, pending = [], [root]
    while pending:
        pid = pending.pop()
        found.append(pid)
        pending += children[pid]
    return sorted(found)


def cpu_ns(pids: list[int]) -> int:
    """Processor time of all threads of these processes, nanoseconds (user and system). Raises BenchError."""
    total = 0
    for pid in pids:
        try:
            for task in (PROC / str(pid) / "task").iterdir():
                total += int((task / "schedstat").read_text().split()[0])
        except OSError as gone:
            raise BenchError(f"process {pid} ended during a measurement") from gone
    return total


class Memory(NamedTuple):
    """Bytes of several processes together."""

    pss: int  # each shared page divided by the number of processes that map it
    private: int  # pages that nobody else maps
    resident: int  # shared pages counted once for each process


def memory(pids: list[int]) -> Memory:
    """What the kernel says of these processes now. Raises BenchError when one has ended."""
    sums: dict[str, int] = defaultdict(int)
    for pid in pids:
        try:
            lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()[1:]
        except OSError as gone:
            raise BenchError(f"process {pid} ended during a measurement") from gone
        for line in lines:
            name, size, _ = line.split()
            sums[name] += int(size) * KIB
    return Memory(sums["Pss:"], sums["Private_Clean:"] + sums["Private_Dirty:"], sums["Rss:"])


class Core(NamedTuple):
    """Time that a core has spent since the machine started, seconds."""

    busy: float  # whoever it worked for, interrupts included
    stolen: float  # the hypervisor gave it to another machine

    @classmethod
    def read(cls, core: int) -> Core:
        """From /proc/stat, exact to a tick (10 ms)."""
        for line in (PROC / "stat").read_text().splitlines():
            name, *fields = line.split()
            if name == f"cpu{core}":
                user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields[:8])
                return cls((user + nice + system + irq + softirq) / TICKS_PER_SECOND, steal / TICKS_PER_SECOND)
        raise BenchError(f"there is no core {core}")
