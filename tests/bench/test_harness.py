"""The harness itself: what it refuses, what it counts, and that nothing stays behind."""

from __future__ import annotations

import contextlib
import os
import shutil
from functools import partial
from pathlib import Path

import pytest

from bench.loopback import usage
from bench.loopback.lab import Lab, Options
from bench.loopback.peers import plain_count, start_peers
from bench.loopback.processes import free_port, nothing_left_behind, python, running
from bench.loopback.quiet import Cores
from bench.loopback.report import disturbances, scenario_table
from bench.loopback.run import main
from bench.loopback.scenarios import plain
from bench.loopback.subjects import Subject, start_subject
from bench.loopback.wire import PLAIN_PATH, REQUEST_BODY, BenchError
from bench.loopback.wrk import ERRORS, Counts, Load, check, measure

needs_tools = pytest.mark.skipif(
    shutil.which("wrk") is None or shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin") is None,
    reason="wrk and nginx are not installed",
)
SHARED = Cores(min(os.sched_getaffinity(0)), max(os.sched_getaffinity(0)))
LOAD = Load("/", connections=4, answer_size=1200)
CLEAN = {"requests": 1000, "bytes": 1_200_000, **dict.fromkeys(ERRORS, 0)}


def test_a_clean_summary_passes_and_any_error_fails_by_its_name() -> None:
    check("envoy", CLEAN, LOAD)
    for kind in ERRORS:
        with pytest.raises(BenchError, match=f'envoy: 1000 requests, errors {{"{kind}": 1}}'):
            check("envoy", {**CLEAN, kind: 1}, LOAD)


def test_no_requests_at_all_is_a_failure() -> None:
    with pytest.raises(BenchError, match="0 requests"):
        check("envoy", {**CLEAN, "requests": 0, "bytes": 0}, LOAD)


@pytest.mark.parametrize("size", [1100, 1300])
def test_answers_of_another_size_fail(size: int) -> None:
    with pytest.raises(BenchError, match=f"{size} bytes per answer where 1200 are right"):
        check("envoy", {**CLEAN, "bytes": 1000 * size}, LOAD)


def test_the_share_of_others_is_reported_and_a_quiet_run_is_not() -> None:
    medians = {"plain": {"envoy": {"foreign_share": 0.4}, "splice": {"foreign_share": 0.01, "stolen_share": 0.0}}}
    assert disturbances({"sse": {"envoy": {"foreign_share": 0.05}}}) == {}
    assert disturbances(medians) == {"plain": 0.4}
    assert "| envoy | 40% |  |" in scenario_table("plain", medians["plain"])


def test_a_process_that_ends_early_is_an_error_with_its_last_words(tmp_path: Path) -> None:
    argv = python("bench.loopback.sink", "no port")
    with running("sink", argv, SHARED.load, tmp_path) as child, pytest.raises(BenchError, match="no port"):
        child.listens(free_port())


def test_everything_started_is_ended_children_of_children_included(tmp_path: Path) -> None:
    shell = ["sh", "-c", "sleep 300 & exec sleep 300"]
    with contextlib.suppress(BenchError), running("shell", shell, SHARED.load, tmp_path) as child:
        child.until(lambda: len(child.pids()) == 2, 10)
        family = child.pids()
        raise BenchError("as if a measurement had failed")
    assert all(not Path(f"/proc/{pid}").exists() or _is_zombie(pid) for pid in family)


def test_orphans_are_adopted_and_ended(tmp_path: Path) -> None:
    with nothing_left_behind():
        with running("shell", ["sh", "-c", "sleep 300 & exit 0"], SHARED.load, tmp_path) as child:
            child.popen.wait(10)
        (orphan,) = [pid for pid in usage.family(os.getpid()) if pid != os.getpid() and not _is_zombie(pid)]
    assert not Path(f"/proc/{orphan}").exists() or _is_zombie(orphan)


def _is_zombie(pid: int) -> bool:
    return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] == "Z"


def test_processor_time_and_memory_of_this_very_process() -> None:
    me = [os.getpid()]
    before = usage.cpu_ns(me)
    sum(range(3_000_000))
    assert usage.cpu_ns(me) - before > 1_000_000
    memory = usage.memory(me)
    assert 0 < memory.anonymous <= memory.pss <= memory.alone <= memory.resident


@needs_tools
def test_a_backend_that_answers_500_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    with nothing_left_behind(), contextlib.ExitStack() as stack:
        peers = start_peers(stack, SHARED.load, tmp_path, status=500)
        with pytest.raises(BenchError, match="splice: status 500"):
            start_subject(stack, "splice", peers, SHARED.subject, tmp_path)


@needs_tools
def test_a_backend_that_answers_500_under_load_fails_the_round(tmp_path: Path) -> None:
    with nothing_left_behind(), contextlib.ExitStack() as stack:
        peers = start_peers(stack, SHARED.load, tmp_path, status=500)
        direct = Subject("direct", peers, None)
        load = Load(PLAIN_PATH, 4, REQUEST_BODY, answer_size=1200)
        counts = Counts(partial(plain_count, peers.plain))
        with pytest.raises(BenchError, match=r'errors {"status": \d+}'):
            measure(direct, peers.plain, load, counts, SHARED, tmp_path, warmup_s=0.1, seconds=0.2)


@needs_tools
def test_wrong_bytes_under_load_fail_the_round(tmp_path: Path) -> None:
    with nothing_left_behind(), contextlib.ExitStack() as stack:
        peers = start_peers(stack, SHARED.load, tmp_path)
        load = Load(PLAIN_PATH, 4, REQUEST_BODY, answer=b"something else")
        counts = Counts(partial(plain_count, peers.plain))
        with pytest.raises(BenchError, match=r'errors {"wrong": \d+}'):
            measure(
                Subject("direct", peers, None), peers.plain, load, counts, SHARED, tmp_path, warmup_s=0.1, seconds=0.2
            )


@needs_tools
def test_rounds_go_round_all_subjects_and_give_one_value_each(tmp_path: Path) -> None:
    said: list[str] = []
    options = Options(subjects=("splice", "aiohttp"), rounds=2, seconds=0.3, warmup_s=0.2)
    with nothing_left_behind(), contextlib.ExitStack() as stack:
        peers = start_peers(stack, SHARED.load, tmp_path)
        lab = Lab(options, SHARED, peers, tmp_path, said.append)
        for name in options.subjects:
            lab.subjects[name] = start_subject(stack, name, peers, SHARED.subject, tmp_path)
        plain(lab, "plain", 8)
    assert [line.split()[1] for line in said] == ["splice", "aiohttp", "splice", "aiohttp"]
    for figures in lab.figures["plain"].values():
        assert all(len(values) == 2 for values in figures.values())
        assert min(figures["requests_per_s"]) > 0
        assert min(figures["cpu_us_per_request"]) > 0


@pytest.mark.parametrize("argv", [["--only", "nonsense"], ["--subjects", "traefik"]])
def test_unknown_names_are_refused_with_the_list_of_known_ones(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(argv)
    assert left.value.code == 2
    assert "there is no" in capsys.readouterr().err
