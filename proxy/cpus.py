"""How many CPUs this program may really use: `workers: auto`."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")


def usable(cgroups: Path = CGROUPS, membership: Path = Path("/proc/self/cgroup")) -> int:
    """The affinity mask's CPUs, or the tightest quota on the way up our cgroup's path when that is less; at least 1.

    A part of a CPU counts as a whole one: 1.5 CPUs keep two workers busy.
    """
    cpus = float(len(os.sched_getaffinity(0)))
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            cpus = min(cpus, _tightest(cgroups, path, _quota_v2))
        elif "cpu" in controllers.split(","):
            cpus = min(cpus, _tightest(cgroups / controllers, path, _quota_v1))
    return max(1, math.ceil(cpus))


def _tightest(root: Path, path: str, quota: Callable[[Path], float]) -> float:
    """The least quota of the group and its parents; inside a container only the root may be visible."""
    group = root / path.lstrip("/")
    groups = [group, *(parent for parent in group.parents if parent.is_relative_to(root))]
    return min((quota(each) for each in {*groups, root}), default=math.inf)


def _quota_v2(group: Path) -> float:
    quota, _, period = _read(group / "cpu.max").partition(" ")
    return math.inf if quota in ("", "max") else int(quota) / int(period)


def _quota_v1(group: Path) -> float:
    quota, period = _read(group / "cpu.cfs_quota_us"), _read(group / "cpu.cfs_period_us")
    return int(quota) / int(period) if quota and period and int(quota) > 0 else math.inf


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
