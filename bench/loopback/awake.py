"""Keeps a core awake: the kernel's idle loop polls, or a process works there whenever nobody else wants to.

A virtual core with nothing to do is given back to the
host, and takes some 50 microseconds, now and then milliseconds, to return when a request comes. At a constant rate that
decides the percentiles of every proxy, and a proxy that works less sleeps more often and looks slower. It is the
machine's latency and not the proxy's; with this on the subject's core, no subject pays it. Not on the load's core too:
where both work without a pause, the host gives neither all of its time, and both stand still for some milliseconds.

`polling` asks the kernel, which needs root and a driver for idle states. Else `python -m bench.loopback.awake` has the
SCHED_IDLE policy, and yields again and again: once it is on the core it would stay until the next tick.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

CPUS = Path("/sys/devices/system/cpu")
STEPS = 500  # some 20 us between two yields


@contextlib.contextmanager
def polling(core: int, cpus: Path = CPUS) -> Iterator[bool]:
    """The core does not sleep during the block, and nobody runs on it for that; False where that is refused.

    pm_qos_resume_latency_us: "n/a" is a latency of none at all (Documentation/ABI/testing/sysfs-devices-power).
    """
    wish = cpus / f"cpu{core}" / "power" / "pm_qos_resume_latency_us"
    try:
        if not (cpus / f"cpu{core}" / "cpuidle").is_dir():
            raise FileNotFoundError
        before = wish.read_text()
        wish.write_text("n/a")
    except OSError:
        yield False
        return
    try:
        yield True
    finally:
        wish.write_text(before)


def main() -> None:
    """Until a signal ends the process, or the bench is gone."""
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    bench = os.getppid()
    while os.getppid() == bench:
        os.sched_yield()
        for _ in range(STEPS):
            pass


if __name__ == "__main__":
    main()
