"""Every trace exported: what it does to latency, while the collector answers and while it hangs, and what is lost.

The plain route, so that an exchange is two spans. Latency at half of the peak of the one that traces everything, the
same rate for all, in short turns: without telemetry, with a collector that answers, with one that never does; all of it
on one core, and then with control on the other one, so that the worker is seen alone. Load and backends come before
control and the collector there. At that rate control is told of a part (`traces.rate`), and so latency is looked at
once more at the rate at which every exchange is told and exported.
Capacity: a constant rate of 5,000 spans a second must arrive whole; of what the proxy can take at its peak, whatever
does not arrive must be counted.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from . import usage
from .chained import documents
from .figures import paired_ratio
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
WINDOW_S = 0.25  # short: in most of them the machine does not stand still
WARMUP_S = 0.15
WINDOWS = 3  # times as many as other scenarios have
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
    """Windows in turns; each but the first is compared with the one before it."""
    resident = {each.name: usage.memory(each.pids()).resident for each in subjects}
    with lab.awake():
        for _ in range(WINDOWS * lab.options.windows):
            for subject in subjects:
                _window(lab, name, subject, rate)
                if subject.name != UNTRACED and subject.child is not None:
                    subject.child.pause(LEFT_S)
    for before, subject in pairwise(subjects):
        rise = (usage.memory(subject.pids()).resident - resident[subject.name]) / MIB
        lab.add(name, subject.name, {"rise_mib": rise, **_ratio(lab, name, subject, before)})


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


def _window(lab: Lab, name: str, subject: Subject, rate: float) -> None:
    args = (subject.ports.plain, rate, WINDOW_S, WARMUP_S, CONNECTIONS)
    with lab.watched(subject) as disturbance, coming_first():
        result = lab.generate("openloop", *args, limit_s=WINDOW_S + WARMUP_S + GRACE_S)
    figures = {figure: result[figure] for figure in ("latency_p50_us", "latency_p99_us", "max_us")}
    windows = lab.windows(result["began_ns"], result["ended_ns"], disturbance)
    lab.add(name, subject.name, {"rate_per_s": rate, **figures, **windows, **disturbance})


def _ratio(lab: Lab, name: str, subject: Subject, other: Subject) -> dict[str, float]:
    figures = lab.figures[name]
    ratio = paired_ratio(figures[subject.name]["latency_p99_us"], figures[other.name]["latency_p99_us"])
    return {f"p99_ratio_{field}": value for field, value in ratio._asdict().items()}


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
