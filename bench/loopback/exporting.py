"""Every trace exported: what it does to latency, while the collector answers and while it hangs, and what is lost.

The plain route, so that an exchange is two spans. Latency at half load, the constant rate at which a worker without
telemetry has half of its core to do: the same process with and without telemetry, in turns, by reloads (two processes
of the same program differ by more than what is looked for); and one whose collector never answers beside one whose
collector does. All of it on one core, and then with control on the other one, so that the worker is seen alone. Load
and backends come before control and the collector there. Exports come in bursts, so a p99 is that of all the requests
of all turns, save those that met a core which stood still or had gone to somebody else. At that rate control is told of
a part (`traces.rate`), and so latency is looked at once more at the rate at which every exchange is told and exported.
Capacity: a constant rate of 5,000 spans a second must arrive whole; of what the proxy can take at its peak, whatever
does not arrive must be counted.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
from functools import partial
from itertools import compress
from pathlib import Path
from typing import NamedTuple

from . import usage
from .figures import percentile, pooled_ratio
from .lab import Lab
from .peers import plain_count, start_variants
from .processes import coming_first
from .subjects import Subject, probe
from .told import spans_lost, version
from .traced import EXPORT_S, Collector, start, start_collector, with_traces
from .wire import MIB, PLAIN_PATH, REQUEST_BODY, BenchError
from .wrk import Counts, Load, measure

ALL, HUNG, UNTRACED = "all traced", "hung", "untraced"
CONNECTIONS = 64
SPANS = 2  # of an exchange: what was asked, and what the backend was asked
SPANS_PER_S = 5000.0
STEADY_S = 10.0
TURN_S = 2.0  # of several exports
WARMUP_S = 0.3
GRACE_S = 20.0
LEFT_S = 0.8
SETTLE_S = 1.2  # after a reload
RELOAD_S = 5.0
RELOAD_LOOKS = 100
PERCENTS = (50, 99)
FIRST_RATE = 6000.0
MOST_RATE = 30_000.0
TRIES = 4
LOOKS = 3  # at the backend, each counted by it: two within a measurement, one behind it


def exported(lab: Lab, name: str) -> None:
    """Latency in turns, then capacity. Raises BenchError."""
    with contextlib.ExitStack() as stack:
        with coming_first():
            variants = start_variants(stack, lab.cores.load, lab.folder)
        counts = Counts(partial(plain_count, variants.stable))
        collector, hung = start_collector(lab, stack), start_collector(lab, stack, "hung")
        traced = start(lab, stack, "understudy", ALL, partial(with_traces, variants, collector.port, 1.0))
        stuck = start(lab, stack, "understudy", HUNG, partial(with_traces, variants, hung.port, 1.0))
        switch = _Switch(lab, traced)
        rate = _half_load(lab, name, traced, switch)
        _with_and_without(lab, name, traced, switch, rate)
        _side_by_side(lab, name, stuck, traced, rate)
        _move_control(traced, lab.cores.load)
        _with_and_without(lab, f"{name}-apart", traced, switch, rate)
        _move_control(traced, lab.cores.subject)
        _with_and_without(lab, f"{name}-whole", traced, switch, SPANS_PER_S / SPANS)
        _capacity(lab, name, traced, collector, counts)


class _Switch:
    """Turns the telemetry of a proxy off and on by a reload. Mutable state: whether it is on."""

    def __init__(self, lab: Lab, subject: Subject) -> None:
        self._config = lab.folder / f"understudy-{subject.ports.plain}.json"
        self._subject = subject
        self._on = json.loads(self._config.read_text())
        self._is_on = True

    def turn(self, is_on: bool) -> None:
        """Return when it serves so. Raises BenchError when it does not in time."""
        child = self._subject.child
        assert child is not None
        if is_on == self._is_on:
            return
        self._is_on, former = is_on, version(self._subject)
        document = self._on if is_on else {name: part for name, part in self._on.items() if name != "telemetry"}
        self._config.write_text(json.dumps(document))
        child.popen.send_signal(signal.SIGHUP)
        for _ in range(RELOAD_LOOKS):
            child.pause(RELOAD_S / RELOAD_LOOKS)
            if version(self._subject) != former:
                child.pause(SETTLE_S)
                return
        raise BenchError(f"{self._subject.name}: a reload was not carried out within {RELOAD_S:.0f} s")


def _with_and_without(lab: Lab, name: str, subject: Subject, switch: _Switch, rate: float) -> None:
    """A process with its telemetry beside itself without, in turns; either begins every other pair of them."""
    turns: dict[bool, list[list[float]]] = {True: [], False: []}
    with lab.awake():
        for window in range(lab.options.windows):
            for is_on in (True, False) if window % 2 else (False, True):
                switch.turn(is_on)
                turns[is_on].append(_turn(lab, name, subject, rate, subject.name if is_on else UNTRACED))
    switch.turn(True)
    _add_latencies(lab, name, UNTRACED, rate, turns[False])
    _add_latencies(lab, name, subject.name, rate, turns[True])
    _add_ratio(lab, name, subject.name, turns[True], turns[False])


def _side_by_side(lab: Lab, name: str, subject: Subject, other: Subject, rate: float) -> None:
    """One process beside another one, in turns; what memory it grows by meanwhile."""
    turns: dict[str, list[list[float]]] = {subject.name: [], other.name: []}
    resident = usage.memory(subject.pids()).resident
    with lab.awake():
        for _ in range(lab.options.windows):
            for each in (other, subject):
                turns[each.name].append(_turn(lab, f"{name}-hung", each, rate, each.name))
    for each in (other, subject):
        _add_latencies(lab, f"{name}-hung", each.name, rate, turns[each.name])
    _add_ratio(lab, f"{name}-hung", subject.name, turns[subject.name], turns[other.name])
    rise = (usage.memory(subject.pids()).resident - resident) / MIB
    lab.add(f"{name}-hung", subject.name, {"rise_mib": rise})


def _add_latencies(lab: Lab, name: str, label: str, rate: float, turns: list[list[float]]) -> None:
    latencies_us = [each for turn in turns for each in turn]
    figures = {f"latency_p{percent}_us": percentile(latencies_us, percent) for percent in PERCENTS}
    lab.add(name, label, {"rate_per_s": rate, **figures, "samples": float(len(latencies_us))})


def _add_ratio(lab: Lab, name: str, label: str, turns: list[list[float]], others: list[list[float]]) -> None:
    for percent in PERCENTS:
        ratio = pooled_ratio(turns, others, percent)
        lab.add(name, label, {f"p{percent}_ratio_{field}": value for field, value in ratio._asdict().items()})


def _move_control(subject: Subject, core: int) -> None:
    """The control process goes to this core, its worker stays where it is."""
    assert subject.child is not None
    for thread in Path(f"/proc/{subject.child.popen.pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), {core})


def _half_load(lab: Lab, name: str, subject: Subject, switch: _Switch) -> float:
    """Requests a second. Half of the peak of a closed loop is another rate: there requests wait for each other, which
    makes each of them cheaper, and the load's core may be busier than the subject's."""
    switch.turn(False)
    rate = FIRST_RATE
    with lab.awake():
        for _ in range(TRIES):  # a request costs less, the more there are
            _turn(lab, name, subject, rate, UNTRACED)
            rate = min(MOST_RATE, rate * 0.5 / lab.figures[name][UNTRACED]["busy_share"][-1])
    switch.turn(True)
    lab.figures[name].pop(UNTRACED)
    return rate


def _peak(lab: Lab, subject: Subject, counts: Counts) -> float:
    load = Load(PLAIN_PATH, CONNECTIONS, REQUEST_BODY, answer_size=probe(subject))
    times = {"warmup_s": lab.options.warmup_s, "seconds": lab.options.seconds}
    found = measure(subject, subject.ports.plain, load, counts, lab.cores, lab.folder, **times)
    return found.figures()["requests_per_s"]


def _turn(lab: Lab, name: str, subject: Subject, rate: float, label: str) -> list[float]:
    """Latencies, microseconds. What is left to be exported then does not disturb the next turn."""
    assert subject.child is not None
    seconds = min(TURN_S, lab.options.seconds)
    args = (subject.ports.plain, rate, seconds, WARMUP_S, CONNECTIONS, "samples")
    control = subject.child.popen.pid
    (worker,) = (pid for pid in subject.pids() if pid != control)
    lab.standstills.attend(worker, [control])
    before_s = usage.cpu_ns(subject.pids()) / 1e9
    with lab.watched(subject) as disturbance, coming_first():
        result = lab.generate("openloop", *args, limit_s=seconds + WARMUP_S + GRACE_S)
    busy = (usage.cpu_ns(subject.pids()) / 1e9 - before_s) / (seconds + WARMUP_S)
    dues_ns, latencies_ns = zip(*result["samples"], strict=True)
    spared = [latency / 1000 for latency in compress(latencies_ns, lab.standstills.spared(dues_ns))]
    figures = {"turn_p99_us": result["latency_p99_us"], "busy_share": busy, "spared": len(spared) / len(dues_ns)}
    lab.add(name, label, {**figures, **disturbance})
    if label != UNTRACED:
        subject.child.pause(LEFT_S)
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
