"""A core is kept awake by the kernel, or by a process that gives way to everybody and goes when the bench goes."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest

from bench.loopback import awake, lab, usage
from bench.loopback.lab import Lab, Options
from bench.loopback.processes import nothing_left_behind, python, running

from .test_chained import SHARED


def test_the_kernel_is_asked_for_the_length_of_a_block(tmp_path: Path) -> None:
    wish = tmp_path / "cpu3" / "power" / "pm_qos_resume_latency_us"
    wish.parent.mkdir(parents=True)
    wish.write_text("0\n")
    with awake.polling(3, tmp_path) as polls:
        assert (polls, wish.read_text()) == (False, "0\n"), "no idle states, nobody who would listen"
    (tmp_path / "cpu3" / "cpuidle").mkdir()
    with awake.polling(3, tmp_path) as polls:
        assert (polls, wish.read_text()) == (True, "n/a")
    assert wish.read_text() == "0\n"
    with awake.polling(4, tmp_path) as polls:
        assert not polls


def test_where_the_kernel_is_not_to_be_asked_a_process_keeps_the_core_awake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lab, "polling", lambda _: contextlib.nullcontext(False))
    ours = Lab(Options(()), SHARED, None, tmp_path, print)  # type: ignore[arg-type]
    with nothing_left_behind():
        with ours.awake():
            (idler,) = ours.idlers
            assert usage.runs_on(idler, SHARED.subject)
            with running("wait", ["sleep", "20"], SHARED.load, tmp_path) as patience:
                patience.until(lambda: os.sched_getscheduler(idler) == os.SCHED_IDLE, 10)
                before = usage.cpu_ns([idler])
                patience.until(lambda: usage.cpu_ns([idler]) > before + 10_000_000, 10)
        assert ours.idlers == []
        assert usage.family(os.getpid()) == [os.getpid()]


def test_nobody_is_kept_awake_for_a_bench_that_is_gone(tmp_path: Path) -> None:
    argv = ["sh", "-c", '"$@" & wait', "sh", *python("bench.loopback.awake")]
    with nothing_left_behind():
        with running("bench", argv, SHARED.load, tmp_path) as bench:
            bench.until(lambda: bool(idlers()), 20)
            bench.popen.kill()
        with running("wait", ["sleep", "40"], SHARED.load, tmp_path) as patience:
            patience.until(lambda: not idlers(), 30)


def idlers() -> list[int]:
    """Descendants of this process that are alive and work only when nobody else does."""
    return [pid for pid in usage.family(os.getpid()) if is_idler(pid)]


def is_idler(pid: int) -> bool:
    try:
        state = (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0]
        return state != "Z" and os.sched_getscheduler(pid) == os.SCHED_IDLE
    except (FileNotFoundError, ProcessLookupError):
        return False
