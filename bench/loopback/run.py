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

from .harm import minutes
from .hiccups import watching
from .lab import Lab, Options
from .machine import describe
from .peers import start_peers
from .processes import ROOT, nothing_left_behind
from .quiet import Cores
from .reach import BY_NAME as BY_NAME_TARGETS
from .reach import HARM_SIZES, TARGETS, Target, judge, medians_of
from .report import markdown, save
from .scenarios import BY_NAME, FRESH, SCENARIOS
from .subjects import COMMANDS, start_subject
from .wire import BenchError

QUICK: dict[str, object] = {
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
    "sizes": ("1KiB", "1MiB"),  # 64 MiB take long at any length
    "harm_windows": 2,
    "harm_window_s": 0.3,
    "harm_peak_s": 0.4,
    "hung_s": 3.0,
}
FULL_HUNG_S = 600.0
DEFAULT = [each for each in SCENARIOS if each not in BY_NAME]
NAMED = ("shadow-harm", "hung-shadow-memory")


def arguments(argv: list[str] | None) -> argparse.Namespace:
    """Parse the command line. Exits with status 2 when it is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Understudy beside Envoy, on pinned cores.",
        epilog="A whole run writes bench/results/loopback.json, or NAME.json for one of: " + ", ".join(NAMED),
    )
    parser.add_argument("--quick", action="store_true", help="one short round of everything: proves that it runs")
    parser.add_argument("--only", type=_names(SCENARIOS), default=DEFAULT, help=_scenarios())
    parser.add_argument("--sizes", type=_names(HARM_SIZES), help=f"of shadow-harm: {', '.join(HARM_SIZES)}")
    parser.add_argument("--subjects", type=_names(COMMANDS), default=list(COMMANDS), help=", ".join(COMMANDS))
    parser.add_argument("--rounds", type=int, help="default 5")
    parser.add_argument("--seconds", type=float, help="of each measured window; default 3")
    parser.add_argument("--windows", type=int, help="of half-load, default 15; of shadow-harm, default 9")
    parser.add_argument("--cores", default="", help="subject,load; default: the first two that are allowed")
    parser.add_argument("--name", help="write bench/results/NAME.json; default: see below")
    return parser.parse_args(argv)


def _scenarios() -> str:
    """What --only takes."""
    harm = f"about {minutes(Options(())):.0f} minutes, {minutes(Options((), sizes=('1KiB',))):.0f} with --sizes 1KiB"
    hung = "about 3 minutes, LENGTH=full: an hour"
    return f"{', '.join(DEFAULT)}; not by default: mib-echo, shadow-harm ({harm}), hung-shadow-memory ({hung})"


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
    if os.environ.get("LENGTH") == "full" and not args.quick:
        values["hung_s"] = FULL_HUNG_S
    given = {name: getattr(args, name) for name in ("rounds", "seconds", "windows")}
    given["harm_windows"] = args.windows
    given["sizes"] = tuple(args.sizes) if args.sizes else None
    values |= {name: value for name, value in given.items() if value is not None}
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
    verdicts = [judge(target, medians) for target in targets_of(args.only)]
    print(f"\n{machine['cpu']}, kernel {machine['kernel']}, Python {machine['python']}\n")
    print(markdown(options, medians, verdicts))
    if name := args.name or results_name(args):
        save(ROOT / "bench" / "results" / f"{name}.json", machine, options, medians, lab.figures, verdicts)


def targets_of(scenarios: list[str]) -> list[Target]:
    """The targets that a run of these can say something about."""
    named = [target for name in scenarios for target in BY_NAME_TARGETS.get(name, ())]
    return [*(TARGETS if set(scenarios) - set(NAMED) else ()), *named]


def results_name(args: argparse.Namespace) -> str:
    """Where a whole run is kept; "" for any other."""
    if args.quick or set(args.subjects) != set(COMMANDS) or args.sizes:
        return ""
    if set(args.only) >= set(DEFAULT):
        return "loopback"
    return args.only[0] if len(args.only) == 1 and args.only[0] in NAMED else ""


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
