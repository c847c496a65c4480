"""What is measured. Every scenario goes round all subjects before it begins its next round: A B C D, A B C D, …"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial

from . import usage
from .chained import VARIED_PATH, deciding, full
from .exporting import exported
from .figures import median
from .harm import shadow_harm
from .hung import hung_shadow_memory
from .lab import Lab
from .peers import bulk_count, plain_count
from .processes import Child
from .subjects import Subject, probe
from .traced import traced
from .wire import BLOCK, BULK_PATH, MIB, PLAIN_PATH, REQUEST_BODY, BenchError, digest_of_blocks, sink_answer
from .wrk import Counts, Load, measure

KIB = 1024
SAMPLE_S = 0.1  # between two looks at a subject's memory
SETTLE_S = 0.5  # after connections have been opened, before memory is read
GRACE_S = 20.0  # by which a generator may be late before it is ended
OPEN_CONNECTIONS = 64  # of the constant-rate load; a request that finds none free is charged for its wait


def plain(lab: Lab, name: str, connections: int) -> None:
    """1 KiB to 1 KiB, as many requests as the subject can take."""
    for subject in lab.turns(lab.options.subjects, lab.options.rounds):
        load = Load(PLAIN_PATH, connections, REQUEST_BODY, answer_size=probe(subject))
        _closed_loop(lab, name, subject, subject.ports.plain, load, Counts(partial(plain_count, lab.peers.plain)))
        probe(subject)


def mib(lab: Lab, name: str, path: str, answer: bytes, rounds: int = 99) -> None:
    """1 MiB bodies; the backend answers when it has read one whole, and every answer is compared."""
    for subject in lab.turns(lab.options.subjects, min(rounds, lab.options.rounds)):
        load = Load(path, 8, BLOCK, answer=answer)
        _closed_loop(lab, name, subject, subject.ports.bulk, load, Counts(partial(bulk_count, lab.peers.bulk)))


def _closed_loop(lab: Lab, name: str, subject: Subject, port: int, load: Load, counts: Counts) -> None:
    options = lab.options
    times = {"warmup_s": options.warmup_s, "seconds": options.seconds}
    with lab.watched(subject) as disturbance:
        found = measure(subject, port, load, counts, lab.cores, lab.folder, **times)
    lab.add(name, subject.name, found.figures() | disturbance)


def bulk(lab: Lab, name: str) -> None:
    """One very large body with a slow peer: how far the memory of a fresh subject rises above where it was."""
    options = lab.options
    for each in options.subjects:
        with lab.fresh(each) as subject:
            before = peak = usage.memory(subject.pids()).anonymous
            with lab.generator("bulk", name, subject.ports.bulk, options.bulk_mib, options.bulk_rate_mib) as client:
                while client.popen.poll() is None:
                    with contextlib.suppress(BenchError):  # it ended: result() says how
                        client.pause(SAMPLE_S)
                    peak = max(peak, usage.memory(subject.pids()).anonymous)
                seconds = client.result(GRACE_S)["seconds"]
        growth = {"growth_mib": (peak - before) / MIB, "heap_peak_mib": peak / MIB}
        lab.add(name, each, {**growth, "mib_per_s": options.bulk_mib / seconds})


def sse(lab: Lab, name: str) -> None:
    """The delay from the backend's write of an event to its arrival, over many streams; `direct` is without a proxy."""
    options = lab.options
    per_stream = options.events_per_s / options.streams
    warmup, events = round(options.warmup_s * per_stream), round((options.warmup_s + options.seconds) * per_stream)
    with lab.awake():
        for subject in lab.turns(("direct", *options.subjects), options.rounds):
            args = (subject.ports.events, options.streams, events, options.events_per_s, warmup)
            with lab.watched(subject) as disturbance:
                result = lab.generate("watch", *args, limit_s=options.warmup_s + options.seconds + GRACE_S)
            figures = {figure: result[figure] for figure in ("delay_p50_us", "delay_p99_us")}
            lab.add(name, subject.name, figures | disturbance)


def half_load(lab: Lab, name: str) -> None:
    """Latency under a constant rate: the same for all, half of the lowest peak; then half of each one's own.

    The subject's core is kept awake: on a virtual machine a core that sleeps wakes late, now and then by milliseconds,
    and the p99 of a proxy was that of its machine. What remains, a host that stands still or others who take their
    share, moves the p99 of a long window tenfold, whoever is measured; so there are many short windows and the median
    over them. A short window is either spared or not, and the median belongs to those that were spared as long as they
    are the majority: `disturbed_windows` tells how many were not.
    """
    contenders = lab.contenders()
    if not contenders:
        return
    if any(each not in lab.figures["plain"] for each in contenders):
        raise BenchError("half-load needs the peaks of the scenario plain: add it to --only")
    peaks = {each: median(lab.figures["plain"][each]["requests_per_s"]) for each in contenders}
    rate = min(peaks.values()) / 2
    floor = [each for each in ("direct", "splice") if each in lab.subjects]
    with lab.awake():
        for _ in range(lab.options.windows):
            for subject in lab.turns([*floor, *contenders], 1):
                _constant_rate(lab, name, subject, rate)
            for subject in lab.turns(contenders, 1):
                _constant_rate(lab, f"{name}-own", subject, peaks[subject.name] / 2)


def _constant_rate(lab: Lab, name: str, subject: Subject, rate: float) -> None:
    options = lab.options
    args = (subject.ports.plain, rate, options.window_s, options.window_warmup_s, OPEN_CONNECTIONS)
    with lab.watched(subject) as disturbance:
        result = lab.generate("openloop", *args, limit_s=options.window_s + options.window_warmup_s + GRACE_S)
    figures = {figure: result[figure] for figure in ("latency_p50_us", "latency_p99_us", "max_us")}
    windows = lab.windows(result["began_ns"], result["ended_ns"], disturbance)
    lab.add(name, subject.name, {"rate_per_s": rate, **figures, **windows, **disturbance})


def memory(lab: Lab, name: str) -> None:
    """Each subject fresh: memory per idle connection, then memory after load."""
    options = lab.options
    times = {"warmup_s": options.warmup_s, "seconds": min(2.0, options.seconds)}
    for each in options.subjects:
        with lab.fresh(each) as subject:
            started = usage.memory(subject.pids())
            idle_kib = _idle(lab, subject)
            for connections in (1024, 32):
                load = Load(PLAIN_PATH, connections, REQUEST_BODY, answer_size=probe(subject))
                counts = Counts(partial(plain_count, lab.peers.plain))
                measure(subject, subject.ports.plain, load, counts, lab.cores, lab.folder, **times)
            loaded = usage.memory(subject.pids())
        figures = {
            "alone_start_mib": started.alone / MIB,
            "idle_kib_per_connection": idle_kib,
            "pss_after_load_mib": loaded.pss / MIB,
            "alone_after_load_mib": loaded.alone / MIB,
            "rss_after_load_mib": loaded.resident / MIB,
        }
        lab.add(name, each, figures)


def _idle(lab: Lab, subject: Subject) -> float:
    """KiB per idle connection, when twice as many are opened: the first ones fill what was free already."""
    connections = lab.options.idle
    with lab.generator("idle", subject.ports.plain, connections) as client:
        before = _when_open(subject, client)
        assert client.popen.stdin is not None
        client.popen.stdin.write("more\n")
        client.popen.stdin.flush()
        after = _when_open(subject, client)
        client.popen.communicate(timeout=GRACE_S)
        if client.popen.returncode != 0:
            raise BenchError(f"{subject.name}: {client.complaint()}")
    return (after - before) / KIB / connections


def _when_open(subject: Subject, client: Child) -> int:
    assert client.popen.stdout is not None
    if client.popen.stdout.readline().strip() != "open":
        client.popen.wait(GRACE_S)
        raise BenchError(f"{subject.name}: {client.complaint()}")
    client.pause(SETTLE_S)
    return usage.memory(subject.pids()).anonymous


SCENARIOS: dict[str, Callable[[Lab, str], None]] = {
    # Those of FRESH start subjects of their own. The first three one at a time: what earlier load left free would hide
    # their growth.
    "memory": memory,
    "upload": bulk,
    "download": bulk,
    "full": full,
    "full-varied": partial(full, path=VARIED_PATH),
    "traced": traced,
    "exported": exported,
    "deciding": deciding,
    "plain": partial(plain, connections=32),
    "plain-1024": partial(plain, connections=1024),
    "half-load": half_load,
    "mib": partial(mib, path=BULK_PATH, answer=sink_answer(MIB, digest_of_blocks(1))),
    "mib-echo": partial(mib, path=f"{BULK_PATH}?echo=1", answer=BLOCK, rounds=3),  # no target hangs on it
    "sse": sse,
    "shadow-harm": shadow_harm,
    "hung-shadow-memory": hung_shadow_memory,
}
BY_NAME = ("mib-echo", "shadow-harm", "hung-shadow-memory")
"""Not in a run that names no scenario: they take long, or no target hangs on them."""

FRESH = (
    "memory",
    "upload",
    "download",
    "full",
    "full-varied",
    "traced",
    "exported",
    "deciding",
    "shadow-harm",
    "hung-shadow-memory",
)
