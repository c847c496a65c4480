"""The bench's own clients fail loudly: every wrong answer is an exit status and a sentence, never a figure."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from bench.loopback.processes import ROOT, free_port, nothing_left_behind, python, running

from .peer import GOOD, answering

WRONG = {
    "a 500": (b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n", "500"),
    "one changed byte": (GOOD[:-3] + b'?"}', "body"),
    "one byte too many": (GOOD + b"!", "body"),
}


def generate(module: str, *args: object, said: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", f"bench.loopback.{module}", *map(str, args)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        input=said,
    )


@contextlib.contextmanager
def backend(module: str, folder: Path) -> Iterator[int]:
    port = free_port()
    with nothing_left_behind(), running(module, python(f"bench.loopback.{module}", port), 0, folder) as child:
        child.listens(port)
        yield port


def printed(ran: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert ran.returncode == 0, ran.stderr
    figures: dict[str, Any] = json.loads(ran.stdout)
    return figures


def test_the_constant_rate_load_hears_every_answer_and_counts_only_those_after_its_warm_up() -> None:
    with answering(GOOD) as port:
        figures = printed(generate("openloop", port, 1000, 0.2, 0.1, 8))
    assert figures["requests"] == 200
    assert 0 < figures["latency_p50_us"] <= figures["latency_p99_us"] <= figures["max_us"]


def test_every_latency_is_told_where_it_is_asked_for_in_the_order_in_which_requests_were_due() -> None:
    with answering(GOOD) as port:
        figures = printed(generate("openloop", port, 1000, 0.2, 0.1, 8, "samples"))
    dues_ns, latencies_ns = zip(*figures["samples"], strict=True)
    assert [late - early for early, late in pairwise(dues_ns)] == [1_000_000] * 199
    assert max(latencies_ns) == round(figures["max_us"] * 1000)


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_answers_end_the_constant_rate_load_with_a_sentence(wrong: str) -> None:
    answer, word = WRONG[wrong]
    with answering(answer) as port:
        ran = generate("openloop", port, 500, 0.1, 0, 4)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert word in ran.stderr


def test_a_wrong_answer_ends_the_idle_connections_with_a_sentence() -> None:
    with answering(WRONG["a 500"][0]) as port:
        ran = generate("idle", port, 4)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert "status 500" in ran.stderr


def test_a_request_that_finds_no_free_connection_is_charged_for_its_wait() -> None:
    """One connection and far more requests than it can carry: latency must grow to the length of the run."""
    with answering(GOOD) as port:
        figures = printed(generate("openloop", port, 100_000, 0.1, 0, 1))
    assert figures["requests"] == 10_000
    assert figures["latency_p99_us"] > 50_000


def test_idle_connections_stay_open_or_are_counted() -> None:
    with answering(GOOD) as port:
        kept = generate("idle", port, 3)
        more = generate("idle", port, 3, said="more\n")
    with answering(GOOD, then_close=True) as port:
        closed = generate("idle", port, 3)
    assert (kept.returncode, kept.stdout) == (0, "open\n")
    assert (more.returncode, more.stdout) == (0, "open\nopen\n")
    assert closed.returncode == 1
    assert "of 3 idle connections were closed" in closed.stderr


@pytest.mark.parametrize("direction", ["upload", "download"])
def test_a_large_body_arrives_whole_and_no_faster_than_its_slow_peer_reads(direction: str, tmp_path: Path) -> None:
    with backend("sink", tmp_path) as port:
        figures = printed(generate("bulk", direction, port, 8, 32))
    assert figures["mib"] == 8
    assert figures["seconds"] > 0.2


def test_a_large_body_that_arrives_changed_is_refused() -> None:
    with answering(GOOD) as port:
        assert generate("bulk", "upload", port, 1, 1000).returncode == 1
        ran = generate("bulk", "download", port, 1, 1000)
    assert ran.returncode == 1
    assert "1024 bytes" in ran.stderr


def test_every_event_of_every_stream_is_timed(tmp_path: Path) -> None:
    with backend("events", tmp_path) as port:
        for _ in range(2):  # the backend is ready for a second group
            figures = printed(generate("watch", port, 20, 10, 1000, 4))
            assert figures["events"] == 20 * 6
            assert 0 < figures["delay_p50_us"] <= figures["delay_p99_us"]


@pytest.mark.parametrize(
    "body, complaint",
    [
        (b"2e\r\ndata: 0 1 1 " + b"x" * 32 + b"\n\n\r\n", "where event 0 was due"),
        (b"0\r\n\r\n", "ended after 0 of 10 events"),
    ],
    ids=["an event out of order", "an early end"],
)
def test_a_stream_that_is_not_what_was_sent_fails_the_run(body: bytes, complaint: str) -> None:
    with answering(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + body) as port:
        ran = generate("watch", port, 1, 10, 100, 0)
    assert ran.returncode == 1
    assert complaint in ran.stderr


def test_a_load_that_counts_failures_replaces_what_broke_and_goes_on() -> None:
    with answering(WRONG["a 500"][0]) as port:
        refused = printed(generate("openloop", port, 500, 0.2, 0, 4, 1024, "failures"))
    with answering(GOOD, then_close=True) as port:
        closed = printed(generate("openloop", port, 500, 0.2, 0, 4, 1024, "failures"))
    with answering(GOOD) as port:
        good = printed(generate("openloop", port, 500, 0.2, 0, 4, 1024, "failures"))
    assert (refused["requests"], refused["failures"]) == (100, 100)
    assert closed["requests"] == 100
    assert (good["requests"], good["failures"]) == (100, 0)


def test_a_request_that_nobody_answers_is_a_failure_as_slow_as_the_wait_for_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        figures = printed(generate("openloop", silent.getsockname()[1], 40, 0.1, 0, 2, 1024, "failures"))
    assert (figures["requests"], figures["failures"]) == (4, 4)
    assert figures["latency_p50_us"] > 4_000_000


def test_large_bodies_are_sent_as_they_are_taken(tmp_path: Path) -> None:
    with backend("sink", tmp_path) as port:
        figures = printed(generate("openloop", port, 20, 0.5, 0, 3, 8 * 1024 * 1024))
    assert (figures["requests"], figures["failures"]) == (10, 0)
    assert figures["latency_p50_us"] > 1000
