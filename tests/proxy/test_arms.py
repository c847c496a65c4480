"""A split in the whole program: one key, one arm, whoever serves it and whenever; and what is told of its keys."""

from __future__ import annotations

import http.client
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from understudy.filters.bucketing import Race

from tests.kit.ask import status, understudy, until, worker_pids
from tests.kit.held import HeldBackend, held_backend
from tests.kit.program import Program, running

CONFIG = """
listeners: {ingress: {bind: 127.0.0.1:0, trust: [127.0.0.1/32]}}
admin: {bind: 127.0.0.1:0}
backends: {stable: {endpoints: [URL]}, canary: {endpoints: [URL]}}
routes:
  - name: all
    match: {path_prefix: /}
    backend: stable
    filters:
      - {type: split, experiment: ranker, key: {header: x-user-id}, arms: {stable: 70, canary: 30}}
workers: 2
"""
USERS = [f"u{number}" for number in range(60)]
_RACE = Race("ranker", {"stable": 70, "canary": 30})
DRAWN = {user: _RACE.arms[_RACE.winner(user.encode())] for user in USERS}


@pytest.fixture
def config() -> Iterator[str]:
    backend: HeldBackend
    with held_backend() as backend:
        yield CONFIG.replace("URL", backend.url)


def ask(program: Program, users: list[str]) -> dict[str, str]:
    """Who answers each user, on a connection of his own."""
    found = {}
    for user in users:
        connection = http.client.HTTPConnection(*program.address("ingress"), timeout=10)
        connection.request("GET", "/", headers={"x-user-id": user})
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (200, b"done\n")
        found[user] = str(answer.getheader("x-understudy-backend"))
        connection.close()
    return found


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """The worker takes no connection: the other one has them all."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def asked_in(program: Program, count: int) -> None:
    """Wait until control has heard of so many exchanges."""
    until(lambda: sum(each["requests"] for each in status(program)["calls"]) >= count)


def test_a_key_has_one_arm_in_every_worker_after_a_restart_and_in_every_replica(config: str, tmp_path: Path) -> None:
    with running(config, tmp_path) as program:
        first, second = worker_pids(program)
        for other in (second, first):
            with stopped(other):
                assert ask(program, USERS) == DRAWN
        os.kill(first, signal.SIGKILL)
        until(lambda: status(program)["workers_serving"] == 2 and first not in worker_pids(program))
        with stopped(second):
            assert ask(program, USERS) == DRAWN, "a worker that replaces a dead one"
    again, replica = tmp_path / "again", tmp_path / "replica"
    again.mkdir()
    replica.mkdir()
    with running(config, again) as program, running(config, replica) as other_program:
        assert ask(program, USERS) == DRAWN == ask(other_program, USERS)


def test_the_hottest_key_is_told_where_everybody_has_the_same(config: str, tmp_path: Path) -> None:
    with running(config, tmp_path) as program:
        ask(program, ["constant"] * 110 + USERS[:10])
        asked_in(program, 120)
        done = understudy("status", "--admin", program.url("admin"), folder=tmp_path)
        assert done.returncode == 1
        lines = [line.split() for line in done.stdout.splitlines()]
        at = lines.index(["EXPERIMENT", "WITH", "KEY", "WITHOUT", "ISSUED", "HOTTEST%"])
        assert lines[at + 1] == ["ranker", "120", "0", "0", "91.7"]
        assert "WARN  experiment ranker: 92 % of requests carry one and the same key, in one arm" in done.stdout


def test_an_epoch_counts_nothing_of_the_one_before(config: str, tmp_path: Path) -> None:
    with running(config, tmp_path) as program:
        ask(program, USERS)
        (tmp_path / "understudy.yaml").write_text(config.replace("canary: 30", "canary: 50"))
        assert understudy("reload", "--admin", program.url("admin"), folder=tmp_path).returncode == 0
        ask(program, USERS[:1])
        asked_in(program, len(USERS) + 1)
        got = {each["backend"]: each["got"] for each in status(program)["calls"]}
        assert sorted(got.values()) == [0.0, 1.0], "one answer, of one arm"
