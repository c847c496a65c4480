"""What /proc says about a process."""

from __future__ import annotations

import os
from typing import NamedTuple

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Usage(NamedTuple):
    """Resident memory in bytes, CPU time in seconds; None where there is no /proc or no such process."""

    memory_bytes: int | None
    cpu_s: float | None


def usage(pid: int) -> Usage:
    """Read once, now."""
    try:
        with open(f"/proc/{pid}/statm") as statm, open(f"/proc/{pid}/stat") as stat:
            resident_pages = int(statm.read().split()[1])
            fields = stat.read().rpartition(")")[2].split()
    except (OSError, IndexError):
        return Usage(None, None)
    return Usage(resident_pages * _PAGE_BYTES, (int(fields[11]) + int(fields[12])) / _TICKS_PER_S)
