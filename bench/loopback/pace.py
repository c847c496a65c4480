"""A steady beat kept by the kernel: a periodic timerfd.

libuv's timers, and therefore uvloop's, count whole milliseconds: too coarse to space 13,000 requests a second evenly.
The standard library has no timerfd before Python 3.13, so two functions of libc are called directly.
"""

from __future__ import annotations

import ctypes
import os
import time

TFD_NONBLOCK = 0o4000
TFD_TIMER_ABSTIME = 1
SECOND_NS = 1_000_000_000


class Pace:
    """Beats `per_second` times a second on the monotonic clock, from `lead_s` seconds after its construction.

    `fd` becomes readable at a beat. Mutable state: the kernel's timer, and nothing else.
    """

    def __init__(self, per_second: float, *, lead_s: float = 0.01) -> None:
        self.interval_ns = max(1, round(SECOND_NS / per_second))
        self.start_ns = time.monotonic_ns() + round(lead_s * SECOND_NS)
        libc = ctypes.CDLL(None, use_errno=True)
        self.fd: int = libc.timerfd_create(time.CLOCK_MONOTONIC, TFD_NONBLOCK)
        interval, first = divmod(self.interval_ns, SECOND_NS), divmod(self.start_ns, SECOND_NS)
        spec = (ctypes.c_long * 4)(*interval, *first)
        if self.fd < 0 or libc.timerfd_settime(self.fd, TFD_TIMER_ABSTIME, ctypes.byref(spec), None) != 0:
            raise OSError(ctypes.get_errno(), "no timerfd")

    def due(self) -> int:
        """How many beats have passed since the last call; 0 when woken for nothing."""
        try:
            return int.from_bytes(os.read(self.fd, 8), "little")
        except BlockingIOError:
            return 0

    def beat_ns(self, index: int) -> int:
        """When beat `index`, counted from 0, was due: monotonic nanoseconds."""
        return self.start_ns + index * self.interval_ns

    def close(self) -> None:
        """Stop the beat."""
        os.close(self.fd)
