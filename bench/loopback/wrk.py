"""Closed-loop load by wrk, and the window of it that is measured."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from . import usage
from .peers import tool
from .processes import running
from .quiet import Cores
from .subjects import Subject
from .wire import HOST, BenchError

SCRIPT = Path(__file__).with_name("load.lua")
ERRORS = ("wrong", "status", "connect", "read", "write", "timeout")
TAIL_S = 0.5  # wrk goes on a little after the window, which must not see its end, however busy this core is
SLACK_BYTES = 16  # by which an answer's head may vary: a millisecond count in it, for example


@dataclass(frozen=True)
class Load:
    """What wrk sends and what must come back."""

    path: str
    connections: int
    body: bytes = b""
    answer: bytes = b""  # compared byte by byte when given
    answer_size: int = 0  # else the mean size of answers on the wire must be this
    users: int = 0  # who ask in turn, with the headers that flags and splits decide by


class Window(NamedTuple):
    """What happened between two moments."""

    requests: int  # counted at the backends
    copies: int  # counted at the shadow; 0 where none is counted
    wall_s: float
    cpu_ns: dict[int, int]  # of each process of the subject
    load_core_s: float

    def figures(self) -> dict[str, float]:
        """As the tables show them."""
        cpu_ns = sum(self.cpu_ns.values())
        return {
            "requests_per_s": self.requests / self.wall_s,
            "cpu_us_per_request": cpu_ns / 1e3 / self.requests,
            "cpu_share": cpu_ns / 1e9 / self.wall_s,
            "load_core_share": self.load_core_s / self.wall_s,
        }


class Counts(NamedTuple):
    """How to ask the backends, and a shadow, how many requests they have had; asking counts as one."""

    requests: Callable[[], int]
    copies: Callable[[], int] | None = None


class _Moment(NamedTuple):
    requests: int
    copies: int
    at_s: float
    cpu_ns: dict[int, int]
    load_core_s: float


def _look(subject: Subject, cores: Cores, counts: Counts) -> _Moment:
    requests, copies = counts.requests(), counts.copies() if counts.copies is not None else 0
    pids = subject.pids()
    now_s = time.monotonic()
    return _Moment(
        requests, copies, now_s, {pid: usage.cpu_ns([pid]) for pid in pids}, usage.Core.read(cores.load).busy
    )


def window(subject: Subject, cores: Cores, counts: Counts, pause: Callable[[float], None], seconds: float) -> Window:
    """What the subject did in the next seconds, under load that already flows and is not about to end.

    Requests are counted at the backend, processor time in /proc, both at the same two moments. Raises BenchError when
    a process of the subject came or went meanwhile.
    """
    began = _look(subject, cores, counts)
    pause(seconds)
    ended = _look(subject, cores, counts)
    if began.cpu_ns.keys() != ended.cpu_ns.keys():
        raise BenchError(f"{subject.name}: its processes changed from {list(began.cpu_ns)} to {list(ended.cpu_ns)}")
    found = Window(
        requests=ended.requests - began.requests - 1,
        copies=max(0, ended.copies - began.copies - 1),
        wall_s=ended.at_s - began.at_s,
        cpu_ns={pid: spent - began.cpu_ns[pid] for pid, spent in ended.cpu_ns.items()},
        load_core_s=ended.load_core_s - began.load_core_s,
    )
    if found.requests <= 0:
        raise BenchError(f"{subject.name}: no request was answered in {seconds} s")
    return found


def measure(
    subject: Subject,
    port: int,
    load: Load,
    counts: Counts,
    cores: Cores,
    folder: Path,
    *,
    warmup_s: float,
    seconds: float,
) -> Window:
    """One round: warm up, measure a window, insist that every answer of the whole run was right. Raises BenchError."""
    lasts_s = math.ceil(round(warmup_s + seconds + TAIL_S, 3))  # wrk takes whole seconds
    argv = _command(port, load, lasts_s, folder)
    with running(f"wrk-{subject.name}", argv, cores.load, folder, talks=True) as wrk:
        wrk.pause(warmup_s)
        found = window(subject, cores, counts, wrk.pause, seconds)
        summary = wrk.result(lasts_s + 10)
    check(subject.name, summary, load)
    return found


def _command(port: int, load: Load, seconds: int, folder: Path) -> list[str]:
    files = {"body": load.body, "answer": load.answer}
    names = {kind: str(folder / f"wrk.{kind}") if content else "" for kind, content in files.items()}
    for kind, name in names.items():
        if name:
            Path(name).write_bytes(files[kind])
    options = ["-t1", f"-c{load.connections}", f"-d{seconds}s", "--timeout", "8s", "-s", str(SCRIPT)]
    method = "POST" if load.body else "GET"
    return [
        tool("wrk", "wrk"),
        *options,
        f"http://{HOST}:{port}{load.path}",
        "--",
        method,
        *names.values(),
        str(load.users),
    ]


def check(name: str, summary: dict[str, Any], load: Load) -> None:
    """Raise BenchError if any request failed, or if the answers were not of the size they must have."""
    failed = {kind: summary[kind] for kind in ERRORS if summary[kind]}
    requests = summary["requests"]
    if failed or not requests:
        raise BenchError(f"{name}: {requests} requests, errors {json.dumps(failed)}")
    if load.answer_size:
        # The last answer of each connection may be cut by wrk's own end: those bytes are counted, the request is not.
        low = requests * (load.answer_size - SLACK_BYTES)
        high = (requests + load.connections) * (load.answer_size + SLACK_BYTES)
        if not low <= summary["bytes"] <= high:
            mean = summary["bytes"] / requests
            raise BenchError(f"{name}: {mean:.0f} bytes per answer where {load.answer_size} are right")
