"""Keeps its core awake: it works whenever nobody else wants to, and yields at once when somebody does.

`python -m bench.loopback.awake`, with the SCHED_IDLE policy. A virtual core with nothing to do is given back to the
host, and takes some 50 microseconds, now and then milliseconds, to return when a request comes. At a constant rate that
decides the percentiles of every proxy, and a proxy that works less sleeps more often and looks slower. It is the
machine's latency and not the proxy's; with this on the subject's core, no subject pays it. Not on the load's core too:
where both work without a pause, the host gives neither all of its time, and both stand still for some milliseconds.
"""

from __future__ import annotations

import os

ROUNDS = 100_000  # some milliseconds between two looks at whether anybody is left to be awake for


def main() -> None:
    """Until a signal ends the process, or the bench is gone."""
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    bench = os.getppid()
    while os.getppid() == bench:
        for _ in range(ROUNDS):
            pass


if __name__ == "__main__":
    main()
