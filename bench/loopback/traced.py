"""The whole chain with one trace in a hundred exported, and what tracing costs those that are not.

All share the subject's core and take turns: Understudy and Envoy with the same share of traces sent to a collector
each, Understudy that traces and draws none, and Understudy without telemetry at all. The last two differ by less than
the machine does from one second to the next: they have many short turns of their own, side by side.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from .chained import FULL_PATH, documents
from .documents import traced_envoy, traced_understudy
from .figures import paired_difference
from .lab import Lab
from .peers import Variants, plain_count, start_variants
from .processes import Child, free_port, python, running
from .subjects import Subject, probe, start_configured
from .wire import REQUEST_BODY, BenchError, ask, connect, request
from .wrk import Counts, Load, measure

CONNECTIONS = 32
USERS = 1000
SAMPLED = 0.01
LEAST_SPANS = 2.0  # of a sampled request: what was asked, and what the backend was asked
EXPORT_S = 10.0  # by which a batch of spans may lag behind the last answer
LOOK_S = 0.2
NONE_DRAWN, UNTRACED = "none drawn", "untraced"

Documents = Callable[[int, int], dict[str, dict[str, Any]]]


@dataclass(frozen=True)
class Collector:
    """Where a contender's spans go."""

    child: Child
    port: int

    def spans(self) -> int:
        """How many it was sent so far. Raises BenchError."""
        with connect(self.port) as sock:
            return int(ask(sock, request("/count", method="GET"))[1])


def start_collector(lab: Lab, stack: contextlib.ExitStack, *words: str) -> Collector:
    """A collector of its own on the load's core; `words` go behind the port on its command line."""
    port = free_port()
    argv = python("bench.loopback.collector", port, *words)
    child = stack.enter_context(running(f"collector-{port}", argv, lab.cores.load, lab.folder))
    child.listens(port)
    return Collector(child, port)


def with_traces(variants: Variants, collector: int, sample: float, port: int, admin: int) -> dict[str, dict[str, Any]]:
    """Both contenders' documents of the whole chain, with this share of traces."""
    made = documents(variants, port, admin)
    return {
        "understudy": traced_understudy(made["understudy"], collector, sample),
        "envoy": traced_envoy(made["envoy"], collector, sample),
    }


def start(lab: Lab, stack: contextlib.ExitStack, name: str, label: str, made: Documents) -> Subject:
    """Start a contender that is told apart by its label."""
    subject = start_configured(stack, name, made, lab.cores.subject, lab.folder)
    lab.say(f"started        {label:11} pids {subject.pids()}")
    return replace(subject, name=label)


def traced(lab: Lab, name: str) -> None:
    """CPU per request of each, in turns; then how many spans the collectors were sent for it. Raises BenchError."""
    with contextlib.ExitStack() as stack:
        variants = start_variants(stack, lab.cores.load, lab.folder)
        counts = Counts(partial(plain_count, variants.stable), partial(plain_count, variants.shadow))
        collectors = {each: start_collector(lab, stack) for each in (*lab.contenders(), NONE_DRAWN)}
        subjects = [
            start(lab, stack, each, each, partial(with_traces, variants, collectors[each].port, SAMPLED))
            for each in lab.contenders()
        ]
        none_drawn = partial(with_traces, variants, collectors[NONE_DRAWN].port, 0.0)
        subjects.append(start(lab, stack, "understudy", NONE_DRAWN, none_drawn))
        subjects.append(start(lab, stack, "understudy", UNTRACED, partial(documents, variants)))
        asked = dict.fromkeys(collectors, 0)
        for _ in range(lab.options.rounds):
            for subject in subjects:
                before = counts.requests()
                lab.add(name, subject.name, _round(lab, subject, counts, lab.options.seconds))
                if subject.name in asked:
                    asked[subject.name] += counts.requests() - before
        lab.add(name, NONE_DRAWN, _over(lab, subjects[-2:], counts))
        for each in lab.contenders():
            drawn = SAMPLED * asked[each]
            lab.add(name, each, {"spans_per_trace": _spans(each, collectors[each], LEAST_SPANS * drawn) / drawn})


def _over(lab: Lab, pair: list[Subject], counts: Counts) -> dict[str, float]:
    """By how much the first needs more processor time for a request than the second; either begins every other turn."""
    costs: dict[str, list[float]] = {each.name: [] for each in pair}
    for turn in range(lab.options.windows):
        for subject in pair[:: -1 if turn % 2 else 1]:
            found = _round(lab, subject, counts, lab.options.window_s)
            costs[subject.name].append(found["cpu_us_per_request"])
    over = paired_difference(costs[pair[0].name], costs[pair[1].name])
    return {"over_untraced_us": over.estimate, "over_untraced_low": over.low, "over_untraced_high": over.high}


def _round(lab: Lab, subject: Subject, counts: Counts, seconds: float) -> dict[str, float]:
    load = Load(FULL_PATH, CONNECTIONS, REQUEST_BODY, answer_size=probe(subject, FULL_PATH), users=USERS)
    times = {"warmup_s": min(lab.options.warmup_s, seconds), "seconds": seconds}
    with lab.watched(subject) as disturbance:
        found = measure(subject, subject.ports.plain, load, counts, lab.cores, lab.folder, **times)
    return found.figures() | disturbance


def _spans(name: str, collector: Collector, least: float) -> int:
    """What arrived when it grows no more. Raises BenchError when it stays under nine tenths of what was drawn."""
    ends = time.monotonic() + EXPORT_S
    while (found := collector.spans()) < 0.9 * least:
        if time.monotonic() > ends:
            raise BenchError(f"{name}: its collector was sent {found} spans where some {least:.0f} are due")
        collector.child.pause(LOOK_S)
    collector.child.pause(EXPORT_S / 2)  # the last batch
    return collector.spans()
