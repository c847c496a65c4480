"""The program's own secret as a client meets it: a cookie of one worker is good with all, and after a restart."""

from __future__ import annotations

import http.client
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.ask import get, status, understudy, until, worker_pids
from tests.kit.held import HeldBackend, held_backend
from tests.kit.program import Program, running

CONFIG = """
listeners: {ingress: {bind: 127.0.0.1:0}}
admin: {bind: 127.0.0.1:0}
SECRET
backends: {stable: {endpoints: [URL]}, canary: {endpoints: [URL]}}
routes:
  - name: all
    match: {path_prefix: /}
    backend: stable
    filters:
      - {type: split, experiment: e, key: {cookie: sid, issue: true}, arms: {stable: 50, canary: 50}}
workers: 2
"""


@pytest.fixture
def backend() -> Iterator[HeldBackend]:
    with held_backend() as each:
        yield each


def issued(program: Program, cookie: str = "") -> str:
    """The cookie that a request is answered with, on a connection of its own; "" where none is sent."""
    connection = http.client.HTTPConnection(*program.address("ingress"), timeout=10)
    connection.request("GET", "/", headers={"Cookie": cookie} if cookie else {})
    answer = connection.getresponse()
    assert answer.status == 200
    connection.close()
    return (answer.getheader("set-cookie") or "").partition(";")[0]


def known_to_all(program: Program, cookie: str) -> bool:
    return not any(issued(program, cookie) for _ in range(30))


def test_a_file_outlives_the_program_and_the_secret_is_shown_nowhere(backend: HeldBackend, tmp_path: Path) -> None:
    config = CONFIG.replace("URL", backend.url).replace("SECRET", "secret: {file: own.secret}")
    with running(config, tmp_path) as program:
        assert len(worker_pids(program)) == 2
        cookie = issued(program)
        assert cookie.startswith("sid=")
        assert known_to_all(program, cookie)
        secret = (tmp_path / "own.secret").read_text().strip()
        shown = get(program.url("admin") + "/config")[1]
        assert json.loads(shown)["document"]["secret"] == {"file": "own.secret"}
        told = shown + get(program.url("admin") + "/status")[1] + program.stderr
    with running(config, tmp_path) as program:
        assert known_to_all(program, cookie)
        assert secret not in told + program.stderr


def test_a_drawn_secret_is_kept_by_workers_and_reloads_and_ends_with_the_program(
    backend: HeldBackend, tmp_path: Path
) -> None:
    config = CONFIG.replace("URL", backend.url).replace("SECRET", "")
    with running(config, tmp_path) as program:
        cookie = issued(program)
        assert known_to_all(program, cookie)
        (tmp_path / "understudy.yaml").write_text(config.replace("canary: 50", "canary: 60"))
        assert understudy("reload", "--admin", program.url("admin"), folder=tmp_path).returncode == 0
        assert known_to_all(program, cookie)
        former = worker_pids(program)
        os.kill(former[0], signal.SIGKILL)
        until(lambda: len(worker_pids(program)) == 2 and former[0] not in worker_pids(program))
        until(lambda: status(program)["workers_serving"] == 2)
        assert known_to_all(program, cookie)
        asked = (
            "explain",
            "--running",
            "--admin",
            program.url("admin"),
            "GET",
            "/",
            "-H",
            f"cookie: {cookie}",
            "--json",
        )
        first, second = (json.loads(understudy(*asked, folder=tmp_path).stdout) for _ in range(2))
        assert (first["arm"], first["steps"][0]["facts"]["cookie_issued"]) == (second["arm"], False)
        words = understudy("explain", "-c", "understudy.yaml", *asked[4:-1], folder=tmp_path).stdout
        assert "a cookie that it issued is not recognised here; ask --running" in words
    with running(config, tmp_path) as program:
        assert issued(program, cookie) != ""


def test_a_secret_that_is_gone_stops_a_reload_and_changes_nothing(backend: HeldBackend, tmp_path: Path) -> None:
    config = CONFIG.replace("URL", backend.url).replace("SECRET", "secret: {file: own.secret}")
    with running(config, tmp_path) as program:
        cookie = issued(program)
        (tmp_path / "own.secret").write_text("too short")
        done = understudy("reload", "--admin", program.url("admin"), folder=tmp_path)
        assert done.returncode == 1
        assert "secret: the secret has 9 bytes; allowed: 16 or more, random" in done.stderr
        assert known_to_all(program, cookie)
