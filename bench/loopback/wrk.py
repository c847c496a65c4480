"""Closed-loop load by wrk, and the window of it that is measured."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import usage
from .peers import tool
from .processes import running
from .quiet import Cores
from .subjects import Subject
from .wire import HOST, BenchError

SCRIPT = Path(__file__).with_name("load.lua")
ERRORS = ("wrong", "status", "connect", "read", "write", "timeout")
TAIL_S = 0.3  # wrk goes on a little after the window, so that the window never sees its end
SLACK_BYTES = 16  # by which an answer's head may vary: a millisecond count in it, for example


@dataclass(frozen=True)
class Load:
    """What wrk sends and what must come back."""

    path: str
    connections: int
    body: bytes = b""
    answer: bytes = b""  # compared byte by byte when given
    answer_size: int = 0  # else the mean size of answers on the wire must be this


def window(
    subject: Subject, cores: Cores, count: Callable[[], int], pause: Callable[[float], None], seconds: float
) -> dict[str, float]:
    """What the subject did in the next seconds, under load that already flows and is not about to end.

    Requests are counted at the backend, processor time in /proc, both at the same two moments. Raises BenchError when
    a process of the subject came or went meanwhile.
    """

    def look() -> tuple[int, float, list[int], int, usage.Core]:
        served = count()
        pids = subject.pids()
        now = time.monotonic()
        return served, now, pids, usage.cpu_ns(pids), usage.Core.read(cores.load)

    served, began, pids, cpu_ns, core = look()
    pause(seconds)
    served_after, ended, pids_after, cpu_ns_after, core_after = look()
    if pids != pids_after:
        raise BenchError(f"{subject.name}: its processes changed from {pids} to {pids_after}")
    requests, wall_s, cpu_s = served_after - served - 1, ended - began, (cpu_ns_after - cpu_ns) / 1e9
    if requests <= 0:
        raise BenchError(f"{subject.name}: no request was answered in {seconds} s")
    return {
        "requests_per_s": requests / wall_s,
        "cpu_us_per_request": cpu_s * 1e6 / requests,
        "cpu_share": cpu_s / wall_s,
        "load_core_share": (core_after.busy - core.busy) / wall_s,
    }


def measure(
    subject: Subject,
    port: int,
    load: Load,
    count: Callable[[], int],
    cores: Cores,
    folder: Path,
    *,
    warmup_s: float,
    seconds: float,
) -> dict[str, float]:
    """One round: warm up, measure a window, insist that every answer of the whole run was right. Raises BenchError."""
    lasts_s = math.ceil(round(warmup_s + seconds + TAIL_S, 3))  # wrk takes whole seconds
    argv = _command(port, load, lasts_s, folder)
    with running(f"wrk-{subject.name}", argv, cores.load, folder, talks=True) as wrk:
        wrk.pause(warmup_s)
        figures = window(subject, cores, count, wrk.pause, seconds)
        summary = wrk.result(lasts_s + 10)
    check(subject.name, summary, load)
    return figures


def _command(port: int, load: Load, seconds: int, folder: Path) -> list[str]:
    files = {"body": load.body, "answer": load.answer}
    names = {kind: str(folder / f"wrk.{kind}") if content else "" for kind, content in files.items()}
    for kind, name in names.items():
        if name:
            Path(name).write_bytes(files[kind])
    options = ["-t1", f"-c{load.connections}", f"-d{seconds}s", "--timeout", "8s", "-s", str(SCRIPT)]
    method = "POST" if load.body else "GET"
    return [tool("wrk", "wrk"), *options, f"http://{HOST}:{port}{load.path}", "--", method, *names.values()]


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
