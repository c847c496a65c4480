"""One command: start everything, measure everything, end everything.

Exit status: 0 all answers were right (targets may be missed: the table says so), 1 a side answered errors or wrong
bytes or did not run, 2 the command line is wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Container
from pathlib import Path
from types import FrameType

from .hiccups import watching
from .lab import Lab, Options
from .machine import describe
from .peers import start_peers
from .processes import ROOT, nothing_left_behind
from .quiet import Cores
from .reach import TARGETS, judge, medians_of
from .report import markdown, save
from .scenarios import FRESH, SCENARIOS
from .subjects import COMMANDS, start_subject
from .wire import BenchError

QUICK = {
    "rounds": 1,
    "seconds": 0.5,
    "warmup_s": 0.2,
    "windows": 2,
    "window_s": 0.4,
    "window_warmup_s": 0.1,
    "streams": 200,
    "events_per_s": 4000,
    "bulk_mib": 64,
    "idle": 500,
}


def arguments(argv: list[str] | None) -> argparse.Namespace:
    """Parse the command line. Exits with status 2 when it is wrong."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Understudy beside Envoy, on pinned cores.")
    parser.add_argument("--quick", action="store_true", help="one short round of everything: proves that it runs")
    parser.add_argument("--only", type=_names(SCENARIOS), default=list(SCENARIOS), help=", ".join(SCENARIOS))
    parser.add_argument("--subjects", type=_names(COMMANDS), default=list(COMMANDS), help=", ".join(COMMANDS))
    parser.add_argument("--rounds", type=int, help="default 5")
    parser.add_argument("--seconds", type=float, help="of each measured window; default 3")
    parser.add_argument("--windows", type=int, help="of constant rate, for each subject; default 15")
    parser.add_argument("--cores", default="", help="subject,load; default: the first two that are allowed")
    parser.add_argument("--name", help="write bench/results/NAME.json; default: loopback for a full run, else nothing")
    return parser.parse_args(argv)


def _names(known: Container[str]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        names = text.split(",")
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(f"there is no {name!r}")
        return names

    return parse


def cores_of(text: str) -> Cores:
    """Two different cores. Raises BenchError when there are not two."""
    allowed = [int(core) for core in text.split(",")] if text else sorted(os.sched_getaffinity(0))[:2]
    if len(set(allowed)) != 2:
        raise BenchError("two cores are needed: one for the proxy, one for load and backends")
    return Cores(*allowed)


def options_of(args: argparse.Namespace) -> Options:
    """What the command line leaves open is as Options says, or short with --quick."""
    values = dict(QUICK) if args.quick else {}
    values |= {
        name: getattr(args, name) for name in ("rounds", "seconds", "windows") if getattr(args, name) is not None
    }
    return Options(subjects=tuple(args.subjects), **values)  # type: ignore[arg-type]


def measure_all(lab: Lab, names: list[str], stack: contextlib.ExitStack) -> None:
    """Run the scenarios in their order. Raises BenchError."""
    for name in SCENARIOS:
        if name not in names:
            continue
        if name not in FRESH and not lab.subjects:
            for each in ("direct", *lab.options.subjects):
                lab.subjects[each] = start_subject(stack, each, lab.peers, lab.cores.subject, lab.folder)
                lab.say(f"started        {each:11} pids {lab.subjects[each].pids()}")
        SCENARIOS[name](lab, name)


def run(args: argparse.Namespace) -> None:
    """Measure and report. Raises BenchError."""
    cores, options = cores_of(args.cores), options_of(args)
    machine = describe()
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        nothing_left_behind(),
        contextlib.ExitStack() as stack,
    ):
        os.sched_setaffinity(0, {cores.load})
        peers = start_peers(stack, cores.load, Path(folder))
        standstills = stack.enter_context(watching((cores.subject, cores.load), Path(folder)))
        if not standstills.watchers:
            _say("real-time priority is refused: windows in which the machine stood still are not told apart")
        lab = Lab(options, cores, peers, Path(folder), _say, standstills)
        measure_all(lab, args.only, stack)
    medians = medians_of(lab.figures)
    verdicts = [judge(target, medians) for target in TARGETS]
    print(f"\n{machine['cpu']}, kernel {machine['kernel']}, Python {machine['python']}\n")
    print(markdown(options, medians, verdicts))
    full = not args.quick and set(args.only) == set(SCENARIOS) and set(args.subjects) == set(COMMANDS)
    if name := args.name or ("loopback" if full else ""):
        save(ROOT / "bench" / "results" / f"{name}.json", machine, options, medians, lab.figures, verdicts)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main(argv: list[str] | None = None) -> int:
    """The command. Returns its exit status."""
    args = arguments(argv)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    signal.signal(signal.SIGTERM, _leave)  # so that what was started is ended on the way out
    began = time.monotonic()
    try:
        run(args)
    except BenchError as mistake:
        print(f"bench: FAILED, no figure of this run counts: {mistake}", file=sys.stderr)
        return 1
    print(f"{time.monotonic() - began:.0f} s", file=sys.stderr)
    return 0


def _leave(signum: int, frame: FrameType | None) -> None:
    sys.exit(128 + signum)
