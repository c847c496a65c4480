"""Memory while a shadow accepts and reads nothing: how far it rises above idle, and whether it goes on rising.

Each contender fresh, for bodies of 1, 8 and 64 MiB at the same number of bytes a second, with every time limit at its
default, so that copies hang for as long as they may. The bound is what the byte budget allows, and two buffers for
every connection: those of clients, to the live backend, and of copies under way.
"""

from __future__ import annotations

import contextlib
import time
from functools import partial

from . import usage
from .figures import median, slope
from .lab import Lab
from .processes import Child
from .shadows import COPIES, SIZES, Shadows, budget_bytes, documents
from .subjects import Subject, start_configured
from .told import Told, told
from .wire import MIB, BenchError

HUNG = "hung-before"
HUNG_SIZES = ("1MiB", "8MiB", "64MiB")
MIB_PER_S = 128  # of bodies
CLIENTS = 8  # connections of the load
BUFFER_BYTES = 64 * 1024
SAMPLE_S = 0.25
SETTLE_S = 1.5  # what is told of copies may lag so far behind
GRACE_S = 30.0


def hung_shadow_memory(lab: Lab, name: str) -> None:
    """Every size, every contender, each alone."""
    with contextlib.ExitStack() as stack:
        shadows = Shadows(stack, lab.cores.load, lab.folder)
        for size in HUNG_SIZES:
            for contender in lab.contenders():
                made = partial(documents, lab.peers, shadows.port(HUNG, SIZES[size]), SIZES[size], None)
                with contextlib.ExitStack() as own:
                    subject = start_configured(own, contender, made, lab.cores.subject, lab.folder)
                    lab.add(f"{name}-{size}", contender, _under_load(lab, shadows, subject, size))


def _under_load(lab: Lab, shadows: Shadows, subject: Subject, size: str) -> dict[str, float]:
    assert subject.child is not None
    subject.child.pause(SETTLE_S)
    idle = usage.memory(subject.pids()).resident
    rate = MIB_PER_S * MIB / SIZES[size]
    args = (subject.ports.plain, rate, lab.options.hung_s, 0, CLIENTS, SIZES[size], "failures")
    with lab.generator("openloop", *args) as client:
        samples = list(_sampled(subject, client))
        result = client.result(GRACE_S)
    shadows.calm()  # so that no copy is under way: those that hang are counted when they end
    subject.child.pause(SETTLE_S)
    said = told(subject)
    return {
        "idle_mib": idle / MIB,
        **rise(samples, idle),
        "bound_mib": bound_bytes(SIZES[size], said) / MIB,
        "copies_share": said.sent / said.exchanges,
        "unexplained_copies": float(said.exchanges - said.sent - said.dropped),
        "status_changes": result["failures"],
        "samples": result["requests"],
    }


def _sampled(subject: Subject, client: Child) -> list[tuple[float, int]]:
    """(seconds, resident bytes) for as long as the load lasts."""
    samples = []
    began = time.monotonic()
    while client.popen.poll() is None:
        with contextlib.suppress(BenchError):  # it ended: result() says how
            client.pause(SAMPLE_S)
        samples.append((time.monotonic() - began, usage.memory(subject.pids()).resident))
    return samples


def bound_bytes(size: int, said: Told) -> int:
    """What the contender may hold above idle. Each client has a connection of its own to the live backend."""
    connections = 2 * CLIENTS + min(COPIES, said.sent)
    return budget_bytes(size) + connections * 2 * BUFFER_BYTES


def rise(samples: list[tuple[float, int]], idle: int) -> dict[str, float]:
    """How far memory rose above idle, and how it went on in the second half: by quarters, and as a slope."""
    later = samples[len(samples) // 2 :]
    quarter = max(1, len(samples) // 4)
    second = median([size for _, size in samples[quarter : 2 * quarter]] or [samples[0][1]])
    last = median([size for _, size in samples[-quarter:]])
    return {
        "rise_mib": (max(size for _, size in samples) - idle) / MIB,
        "drift_mib": (last - second) / MIB,
        "slope_mib_per_min": slope(later) * 60 / MIB,
    }
