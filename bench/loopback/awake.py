"""Keeps a core awake: the kernel's idle loop polls there.

A virtual core with nothing to do is given back to the host, and takes some 50 microseconds, now and then milliseconds,
to return when a request comes. At a constant rate that decides the percentiles of every proxy, and a proxy that works
less sleeps more often and looks slower. It is the machine's latency and not the proxy's; with this on the subject's
core, no subject pays it. Not on the load's core too: where both work without a pause, the host gives neither all of its
time, and both stand still for some milliseconds.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

CPUS = Path("/sys/devices/system/cpu")


@contextlib.contextmanager
def awake(core: int, cpus: Path = CPUS) -> Iterator[bool]:
    """The core does not sleep during the block; False where that is refused, or the kernel knows no idle states.

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
