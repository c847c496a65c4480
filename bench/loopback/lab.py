"""What every scenario is given: how long and how much, who takes part, and where the figures go."""

from __future__ import annotations

import contextlib
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import usage
from .awake import awake
from .hiccups import Standstills
from .peers import Ports
from .processes import Child, python, running
from .quiet import DISTURBED, SHARES, Cores, watched
from .subjects import Subject, probe, start_subject

CONTENDERS = ("understudy", "envoy")

Figures = dict[str, dict[str, list[float]]]
"""Subject, figure, one value per round or window."""


@dataclass(frozen=True)
class Options:
    """How long and how much."""

    subjects: tuple[str, ...]
    rounds: int = 5
    seconds: float = 3.0
    warmup_s: float = 0.7
    windows: int = 15  # of constant rate, for each subject
    window_s: float = 1.0
    window_warmup_s: float = 0.3
    sizes: tuple[str, ...] = ("1KiB", "1MiB", "64MiB")  # of bodies, where shadows misbehave
    harm_windows: int = 9  # of constant rate, for each kind of shadow, size and subject
    harm_window_s: float = 0.7  # at least: it holds some requests of any size
    harm_peak_s: float = 1.5
    hung_s: float = 20.0  # of load, for each size and subject, while a shadow reads nothing
    streams: int = 1000
    events_per_s: int = 10_000  # over all streams
    bulk_mib: int = 1024
    bulk_rate_mib: int = 256  # what the slow peer reads in a second
    idle: int = 2000  # connections, after as many others that are not counted


@dataclass
class Lab:
    """Everything a scenario needs. Mutable state: the figures so far, and what is said while they come in."""

    options: Options
    cores: Cores
    peers: Ports
    folder: Path
    say: Callable[[str], None]
    standstills: Standstills = field(default_factory=Standstills)
    subjects: dict[str, Subject] = field(default_factory=dict)
    figures: dict[str, Figures] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    )

    def add(self, scenario: str, subject: str, figures: dict[str, float], said: Sequence[str] = ()) -> None:
        """Keep one round's figures, and say them, or those named in `said`."""
        for name, value in figures.items():
            self.figures[scenario][subject][name].append(value)
        shown = {name: figures[name] for name in said or figures}
        self.say(f"{scenario:14} {subject:11} " + "  ".join(f"{name} {value:,.2f}" for name, value in shown.items()))

    def turns(self, names: Sequence[str], rounds: int) -> Iterator[Subject]:
        """All subjects, round after round."""
        for _ in range(rounds):
            for name in names:
                yield self.subjects[name]

    def contenders(self) -> list[str]:
        """Those that do the whole of the work: the others are floors and baselines."""
        return [each for each in self.options.subjects if each in CONTENDERS]

    @contextlib.contextmanager
    def fresh(self, name: str) -> Iterator[Subject]:
        """A subject of its own for the length of a block, warm but without a past."""
        with contextlib.ExitStack() as stack:
            subject = start_subject(stack, name, self.peers, self.cores.subject, self.folder)
            for _ in range(50):
                probe(subject)
            yield subject

    @contextlib.contextmanager
    def awake(self) -> Iterator[None]:
        """The subject's core does not sleep during the block: a subject that works less must not pay for waking it."""
        with awake(self.cores.subject) as is_awake:
            if not is_awake:
                self.say("the subject's core may sleep: what waking it takes is in the latencies")
            yield

    def watched(self, subject: Subject) -> contextlib.AbstractContextManager[dict[str, float]]:
        """Tells afterwards whether the machine was quiet during the block."""
        family = [pid for pid in usage.family(os.getpid()) if pid != os.getpid()]
        return watched(subject.pids(), [pid for pid in family if usage.runs_on(pid, self.cores.load)], self.cores)

    def windows(self, began_ns: float, ended_ns: float, shares: dict[str, float]) -> dict[str, float]:
        """One window, and whether it was disturbed: a core stood still in it, or others took their share of one."""
        disturbed = self.standstills.during(began_ns, ended_ns) or max(shares[each] for each in SHARES) > DISTURBED
        return {"windows": 1.0, "disturbed_windows": float(disturbed)}

    def generate(self, module: str, *args: object, limit_s: float) -> dict[str, Any]:
        """What one of the bench's own generators found. Raises BenchError when it met anything wrong, or is late."""
        with self.generator(module, *args) as client:
            return client.result(limit_s)

    def generator(self, module: str, *args: object) -> contextlib.AbstractContextManager[Child]:
        """One of the bench's own generators, running on the load's core."""
        return running(module, python(f"bench.loopback.{module}", *args), self.cores.load, self.folder, talks=True)
