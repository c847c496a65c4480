"""What processes cost, read from /proc: processor time and memory of a process and all its descendants."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
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


def runs_on(pid: int, core: int) -> bool:
    """Whether the process is there and bound to this core."""
    try:
        return os.sched_getaffinity(pid) == {core}
    except ProcessLookupError:
        return False


def cpu_ns(pids: list[int]) -> int:
    """Processor time of all threads that these processes have, nanoseconds (user and system). Raises BenchError."""
    total = 0
    for pid in pids:
        try:
            for task in (PROC / str(pid) / "task").iterdir():
                with suppress(FileNotFoundError, ProcessLookupError):  # a thread may end meanwhile
                    total += int((task / "schedstat").read_text().split()[0])
        except OSError as gone:
            raise BenchError(f"process {pid} ended during a measurement") from gone
    return total


class Memory(NamedTuple):
    """Bytes of several processes together."""

    pss: int  # each shared page divided by the number of processes that map it
    alone: int  # what `pss` would be if nobody else mapped the same files
    anonymous: int  # heaps, stacks and written pages of files: what grows with work
    resident: int  # shared pages counted once for each process


def memory(pids: list[int]) -> Memory:
    """What the kernel says of these processes now. Raises BenchError when one has ended.

    PSS falls when any other Python process starts, the bench's own included. So growth is read from anonymous memory,
    and `alone` counts the resident pages of each mapped file once, whoever else maps it.
    """
    total: dict[str, int] = defaultdict(int)
    files: dict[str, int] = defaultdict(int)
    for pid in pids:
        of_files: dict[str, int] = defaultdict(int)
        for place, sizes in _mappings(pid):
            for name in ("Pss:", "Anonymous:", "Rss:"):
                total[name] += sizes[name]
            of_files[place] += sizes["Rss:"] - sizes["Anonymous:"]
        for place, size in of_files.items():
            files[place] = max(files[place], size)
    alone = total["Anonymous:"] + sum(files.values())
    return Memory(total["Pss:"], alone, total["Anonymous:"], total["Rss:"])


def _mappings(pid: int) -> Iterator[tuple[str, dict[str, int]]]:
    """Each mapping of a process: the file it maps ("" for none), and its sizes in bytes by their names in smaps."""
    try:
        lines = (PROC / str(pid) / "smaps").read_text().splitlines()
    except OSError as gone:
        raise BenchError(f"process {pid} ended during a measurement") from gone
    place = ""
    sizes: dict[str, int] = {}
    for line in lines:
        words = line.split(maxsplit=5)
        if not words[0].endswith(":"):  # an address range begins a mapping
            place = words[5] if len(words) == 6 else ""
        elif words[0] == "VmFlags:":  # and its flags end it
            yield place, sizes
            sizes = {}
        elif len(words) == 3:
            sizes[words[0]] = int(words[1]) * KIB


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
