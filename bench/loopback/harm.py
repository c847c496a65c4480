"""What a shadow that misbehaves does to live requests, against the same mirror with a healthy shadow.

Each kind of shadow has a contender of its own; all of one contender's run side by side, and the load goes round them
window by window: healthy, dead, refused, … and again, each round beginning one further. Live is asked at half of the
peak that the contender has with a healthy shadow and bodies of that size. A window's percentiles are compared with
those of the healthy window of the same round: the ratio's median over the rounds, with a paired bootstrap interval.
The first window is the onset, before time limits and breakers have had their say: its p50 is told apart. Of large
bodies it tells of the machine too: what the kernel buffers for copies that hang is memory whose first use costs a
virtual machine some 2 ms for every MiB (0.14 ms afterwards), in the time of the process that sends.

Of large bodies few fit into a window: `samples` says how many there were in all. Where a window has fewer than a
hundred, its p99 is its slowest request.
"""

from __future__ import annotations

import contextlib
from functools import partial

from .faulty import KINDS
from .figures import median, paired_ratio
from .lab import CONTENDERS, Lab, Options
from .peers import bulk_count, plain_count
from .shadows import HEALTHY, SIZES, Shadows, documents, time_limit_s
from .subjects import Subject, start_configured
from .told import told
from .wire import MIB, errand
from .wrk import Counts, Load, measure

CONNECTIONS = {"1KiB": 32, "1MiB": 8, "64MiB": 3}  # of the load that finds the peak
OPEN_CONNECTIONS = {"1KiB": 64, "1MiB": 32, "64MiB": 8}  # of the constant rate
FEWEST = 8  # requests of a window
PEAK_ROUNDS = 3
PEAK_S = {"64MiB": 2.0}  # at least: few requests end in a second
BEGIN_S = 0.45  # by which starting and ending a load prolongs a window
SETTLE_S = 0.5  # after the peak, whose copies may lag
GRACE_S = 30.0
LATENCIES = {"p50": "latency_p50_us", "p99": "latency_p99_us"}


def minutes(options: Options) -> float:
    """About how long it takes with both contenders: a window of large bodies lasts longer, and each has to begin."""
    each_s = [
        max(options.harm_window_s, 1.3 if size == "64MiB" else 0.0) + options.window_warmup_s + BEGIN_S
        for size in options.sizes
    ]
    rows = len(CONTENDERS) * (len(KINDS) + 1)
    return rows * sum(options.harm_windows * window_s + 1.0 for window_s in each_s) / 60


def shadow_harm(lab: Lab, name: str) -> None:
    """Every kind of shadow, for every size asked for."""
    with contextlib.ExitStack() as stack:
        shadows = Shadows(stack, lab.cores.load, lab.folder)
        for size in lab.options.sizes:
            for contender in lab.contenders():
                with contextlib.ExitStack() as own:
                    _of_one(lab, f"{name}-{size}", contender, size, shadows, own)


def _of_one(lab: Lab, name: str, contender: str, size: str, shadows: Shadows, stack: contextlib.ExitStack) -> None:
    bytes_ = SIZES[size]
    subjects = {}
    for kind in (HEALTHY, *KINDS):
        made = partial(documents, lab.peers, shadows.port(kind, bytes_), bytes_, time_limit_s(bytes_))
        subjects[kind] = start_configured(stack, contender, made, lab.cores.subject, lab.folder)
    rate = _peak(lab, subjects[HEALTHY], size) / 2
    share = _sent(subjects[HEALTHY])
    lab.say(f"{name:14} {contender:11} half of its peak: {rate:,.1f} requests/s; at the peak {share:.1%} were mirrored")
    shadows.settle(SETTLE_S)
    with lab.awake():
        _rounds(lab, name, contender, size, rate, subjects, shadows)
    for kind, subject in subjects.items():
        lab.figures[name][f"{contender} {kind}"]["copies_share"] = [_sent(subject)]
    compare(lab, name, contender)


def _rounds(
    lab: Lab, name: str, contender: str, size: str, rate: float, subjects: dict[str, Subject], shadows: Shadows
) -> None:
    order = list(subjects)
    for turn in range(lab.options.harm_windows):
        first = turn % len(order)
        for kind in order[first:] + order[:first]:
            _window(lab, name, subjects[kind], f"{contender} {kind}", size, rate)
            shadows.calm()


def _sent(subject: Subject) -> float:
    """The share of the requests so far of which the shadow was sent a copy."""
    said = told(subject)
    return said.sent / said.exchanges


def _peak(lab: Lab, subject: Subject, size: str) -> float:
    """Requests a second that it can take with a healthy shadow. Raises BenchError."""
    bytes_ = SIZES[size]
    path, body, answer = errand(bytes_)
    load = Load(path, CONNECTIONS[size], body, answer)
    counts = Counts(partial(bulk_count, lab.peers.bulk) if bytes_ >= MIB else partial(plain_count, lab.peers.plain))
    rates = []
    for _ in range(min(PEAK_ROUNDS, lab.options.rounds)):
        found = measure(
            subject, subject.ports.plain, load, counts, lab.cores, lab.folder,
            warmup_s=lab.options.warmup_s, seconds=max(lab.options.harm_peak_s, PEAK_S.get(size, 0.0)),
        )  # fmt: skip
        rates.append(found.figures()["requests_per_s"])
    return median(rates)


def _window(lab: Lab, name: str, subject: Subject, row: str, size: str, rate: float) -> None:
    options = lab.options
    seconds = max(options.harm_window_s, FEWEST / rate)
    args = (subject.ports.plain, rate, seconds, options.window_warmup_s, OPEN_CONNECTIONS[size], SIZES[size])
    with lab.watched(subject) as disturbance:
        result = lab.generate("openloop", *args, "failures", limit_s=seconds + options.window_warmup_s + GRACE_S)
    figures = {figure: result[figure] for figure in (*LATENCIES.values(), "max_us")}
    counted = {"samples": result["requests"], "status_changes": result["failures"]}
    windows = lab.windows(result["began_ns"], result["ended_ns"], disturbance)
    found = {"rate_per_s": rate, **figures, **counted, **windows, **disturbance}
    lab.add(name, row, found, said=("latency_p50_us", "latency_p99_us", "status_changes"))


def compare(lab: Lab, name: str, contender: str) -> None:
    """Set every faulty kind against the healthy one, round by round."""
    rows = lab.figures[name]
    healthy = rows[f"{contender} {HEALTHY}"]
    usual = median(healthy[LATENCIES["p50"]])
    for kind in KINDS:
        row = rows[f"{contender} {kind}"]
        row["onset_ratio"] = [row[LATENCIES["p50"]][0] / usual]
        for percent, figure in LATENCIES.items():
            ratio = paired_ratio(row[figure], healthy[figure])
            for what, value in ratio._asdict().items():
                row[f"{percent}_ratio_{what}"] = [value]
