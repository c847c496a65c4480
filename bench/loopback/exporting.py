"""Every trace exported: what it does to latency, while the collector answers and while it hangs, and what is lost.

The plain route, so that an exchange is two spans. Latency at half of the peak of the one that traces everything, the
same rate for all, in turns: without telemetry, with a collector that answers, with one that never does; all of it
on one core, and then with control on the other one, so that the worker is seen alone. Load and backends come before
control and the collector there. Exports come in bursts, so a p99 is that of all the requests of all turns, save those
that met a core which stood still. At that rate control is told of a part (`traces.rate`), and so latency is looked at
once more at the rate at which every exchange is told and exported.
Capacity: a constant rate of 5,000 spans a second must arrive whole; of what the proxy can take at its peak, whatever
does not arrive must be counted.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from functools import partial
from itertools import compress, pairwise
from pathlib import Path
from typing import NamedTuple

from . import usage
from .chained import documents
from .figures import percentile, pooled_ratio
from .lab import Lab
from .peers import plain_count, start_variants
from .processes import coming_first
from .subjects import Subject, probe
from .told import spans_lost
from .traced import EXPORT_S, Collector, start, start_collector, with_traces
from .wire import MIB, PLAIN_PATH, REQUEST_BODY
from .wrk import Counts, Load, measure

ALL, HUNG, UNTRACED = "all traced", "hung", "untraced"
CONNECTIONS = 64
SPANS = 2  # of an exchange: what was asked, and what the backend was asked
SPANS_PER_S = 5000.0
STEADY_S = 10.0
TURN_S = 2.0  # of several exports
WARMUP_S = 0.3
GRACE_S = 20.0
LEFT_S = 0.6  # what is left to be exported must not disturb the next window
LOOKS = 3  # at the backend, each counted by it: two within a measurement, one behind it


def exported(lab: Lab, name: str) -> None:
    """Latency in turns, then capacity. Raises BenchError."""
    with contextlib.ExitStack() as stack:
        with coming_first():
            variants = start_variants(stack, lab.cores.load, lab.folder)
        counts = Counts(partial(plain_count, variants.stable))
        collector, hung = start_collector(lab, stack), start_collector(lab, stack, "hung")
        untraced = start(lab, stack, "understudy", UNTRACED, partial(documents, variants))
        traced = start(lab, stack, "understudy", ALL, partial(with_traces, variants, collector.port, 1.0))
        stuck = start(lab, stack, "understudy", HUNG, partial(with_traces, variants, hung.port, 1.0))
        rate = _peak(lab, traced, counts) / 2
        _latency(lab, name, (untraced, traced, stuck), rate)
        for subject in (untraced, traced):
            _move_control(subject, lab.cores.load)
        _latency(lab, f"{name}-apart", (untraced, traced), rate)
        for subject in (untraced, traced):
            _move_control(subject, lab.cores.subject)
        _latency(lab, f"{name}-whole", (untraced, traced), SPANS_PER_S / SPANS)
        _capacity(lab, name, traced, collector, counts)


def _latency(lab: Lab, name: str, subjects: Sequence[Subject], rate: float) -> None:
    """In turns; each subject but the first is compared with the one before it."""
    resident = {each.name: usage.memory(each.pids()).resident for each in subjects}
    turns: dict[str, list[list[float]]] = {each.name: [] for each in subjects}
    with lab.awake():
        for _ in range(lab.options.windows):
            for subject in subjects:
                turns[subject.name].append(_turn(lab, name, subject, rate))
                if subject.name != UNTRACED and subject.child is not None:
                    subject.child.pause(LEFT_S)
    for subject in subjects:
        latencies_us = [each for turn in turns[subject.name] for each in turn]
        figures = {f"latency_p{percent}_us": percentile(latencies_us, percent) for percent in (50, 99)}
        lab.add(name, subject.name, {"rate_per_s": rate, **figures, "samples": float(len(latencies_us))})
    for before, subject in pairwise(subjects):
        rise = (usage.memory(subject.pids()).resident - resident[subject.name]) / MIB
        ratio = pooled_ratio(turns[subject.name], turns[before.name], 99)
        ratios = {f"p99_ratio_{field}": value for field, value in ratio._asdict().items()}
        lab.add(name, subject.name, {"rise_mib": rise, **ratios})


def _move_control(subject: Subject, core: int) -> None:
    """The control process goes to this core, its worker stays where it is."""
    assert subject.child is not None
    for thread in Path(f"/proc/{subject.child.popen.pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), {core})


def _peak(lab: Lab, subject: Subject, counts: Counts) -> float:
    load = Load(PLAIN_PATH, CONNECTIONS, REQUEST_BODY, answer_size=probe(subject))
    times = {"warmup_s": lab.options.warmup_s, "seconds": lab.options.seconds}
    found = measure(subject, subject.ports.plain, load, counts, lab.cores, lab.folder, **times)
    return found.figures()["requests_per_s"]


def _turn(lab: Lab, name: str, subject: Subject, rate: float) -> list[float]:
    """Latencies, microseconds."""
    seconds = min(TURN_S, lab.options.seconds)
    args = (subject.ports.plain, rate, seconds, WARMUP_S, CONNECTIONS, "samples")
    before_s = usage.cpu_ns(subject.pids()) / 1e9
    with lab.watched(subject) as disturbance, coming_first():
        result = lab.generate("openloop", *args, limit_s=seconds + WARMUP_S + GRACE_S)
    busy = (usage.cpu_ns(subject.pids()) / 1e9 - before_s) / (seconds + WARMUP_S)
    dues_ns, latencies_ns = zip(*result["samples"], strict=True)
    spared = [latency / 1000 for latency in compress(latencies_ns, lab.standstills.spared(dues_ns))]
    figures = {"turn_p99_us": result["latency_p99_us"], "busy_share": busy, "spared": len(spared) / len(dues_ns)}
    lab.add(name, subject.name, {**figures, **disturbance})
    return spared


def _capacity(lab: Lab, name: str, subject: Subject, collector: Collector, counts: Counts) -> None:
    seconds = min(STEADY_S, 4 * lab.options.seconds)
    before = _settled(subject, collector)
    args = (subject.ports.plain, SPANS_PER_S / SPANS, seconds, 0.0, CONNECTIONS)
    made = SPANS * lab.generate("openloop", *args, limit_s=seconds + GRACE_S)["requests"]
    steady = _settled(subject, collector)
    figures = {"steady_spans_per_s": SPANS_PER_S, "steady_lost": made - (steady.arrived - before.arrived)}
    requests = counts.requests()
    peak = _peak(lab, subject, counts)
    over = _settled(subject, collector)
    made = SPANS * (counts.requests() - requests - LOOKS)
    arrived, lost = over.arrived - steady.arrived, over.lost - steady.lost
    figures |= {"peak_spans_per_s": SPANS * peak, "peak_arrived": arrived / made}
    lab.add(name, ALL, {**figures, "peak_uncounted": made - arrived - lost})


class _Sums(NamedTuple):
    """Spans since the start."""

    arrived: int
    lost: int  # as the proxy says


def _settled(subject: Subject, collector: Collector) -> _Sums:
    """When nothing more arrives."""
    arrived = -1
    while arrived != (arrived := collector.spans()):
        collector.child.pause(EXPORT_S / 2)
    return _Sums(arrived, spans_lost(subject, SPANS))
