"""The access log of the whole program: every exchange of every worker has its line, over reload, signal and end."""

from __future__ import annotations

import http.client
import json
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.kit.ask import get, status, understudy, until
from tests.kit.held import HeldBackend, held_backend
from tests.kit.program import Program, running

CONFIG = """
listeners: {ingress: {bind: 127.0.0.1:0}}
admin: {bind: 127.0.0.1:0}
backends: {stable: {endpoints: [URL], version: "7"}, next: {endpoints: [URL], version: "9"}}
routes:
  - name: iris
    match: {path_prefix: /v2}
    backend: stable
    filters:
      - {type: flags, rules: [{flag: quiet, when: {header: x-quiet, present: true}, skip: [mirror]}]}
      - {type: split, experiment: e, key: {header: x-user-id}, arms: {a: {backend: stable, weight: 1}}}
      - {type: mirror, to: [{backend: next}]}
  - {name: all, match: {path_prefix: /}, backend: stable}
workers: 2
telemetry: {access_log: {to: access.log, headers: [X-User-Id]}}
"""


@pytest.fixture
def backend() -> Iterator[HeldBackend]:
    with held_backend() as each:
        yield each


def ask(program: Program, path: str, headers: dict[str, str] | None = None, body: bytes = b"x" * 10) -> str:
    """The request id of the answer."""
    connection = http.client.HTTPConnection(*program.address("ingress"), timeout=20)
    connection.request("POST", path, body=body, headers=headers or {})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return str(answer.getheader("x-request-id"))


def lines(file: Path) -> dict[str, dict[str, Any]]:
    """By request id; there is one for each."""
    found = [json.loads(line) for line in file.read_bytes().splitlines()] if file.exists() else []
    assert len({each["request_id"] for each in found}) == len(found)
    return {each["request_id"]: each for each in found}


def test_a_line_tells_of_decisions_calls_and_copies(backend: HeldBackend, tmp_path: Path) -> None:
    with running(CONFIG.replace("URL", backend.url), tmp_path) as program:
        file = tmp_path / "access.log"
        mirrored = ask(program, "/v2/a?token=hunter2", {"x-user-id": "u\u00e91"})
        quiet = ask(program, "/v2/b", {"x-quiet": "hunter2"})
        failed = ask(program, "/status/503")
        until(lambda: len(lines(file)) == 3)
        found = lines(file)
        port = backend.url.removeprefix("http://")
        whole, (copy,) = found[mirrored], found[mirrored]["shadows"]
        assert whole.items() >= {
            "method": "POST", "path": "/v2/a", "http_version": "1.1", "status": 200, "reason": "", "route": "iris",
            "experiment": "e", "arm": "a", "backend": "stable", "version": "7", "endpoint": port, "request_bytes": 10,
            "response_bytes": 5, "client": "127.0.0.1", "resent": 0,
        }.items()  # fmt: skip
        assert 0 < whole["first_byte_ms"] <= whole["total_ms"] < 10_000
        assert whole["headers"].keys() == {"x-user-id"}
        assert {name: copy[name] for name in ("backend", "version", "status", "outcome")} == {
            "backend": "next", "version": "9", "status": 200, "outcome": "complete",
        }  # fmt: skip
        assert 0 < copy["first_byte_ms"] <= copy["total_ms"] < 10_000
        assert found[quiet]["flags"].keys() == {"quiet"}
        assert "shadows" not in found[quiet]
        assert (found[failed]["status"], found[failed]["route"]) == (503, "all")
        assert b"hunter2" not in file.read_bytes()


def test_no_line_is_lost_by_two_workers_a_moved_file_a_reload_and_the_end(backend: HeldBackend, tmp_path: Path) -> None:
    config = CONFIG.replace("URL", backend.url)
    file, moved, other = (tmp_path / name for name in ("access.log", "access.log.1", "other.log"))
    with running(config, tmp_path) as program, ThreadPoolExecutor(8) as clients:
        asked = list(clients.map(lambda number: ask(program, "/"), range(100)))
        until(lambda: len(lines(file)) == 100)
        file.rename(moved)
        program.signal(signal.SIGUSR1)
        until(file.exists)
        again = list(clients.map(lambda number: ask(program, "/"), range(20)))
        (tmp_path / "understudy.yaml").write_text(config.replace("to: access.log", "to: other.log"))
        assert understudy("reload", "--admin", program.url("admin"), folder=tmp_path).returncode == 0
        last = list(clients.map(lambda number: ask(program, "/"), range(20)))
        assert program.stop() == 0
    assert lines(moved).keys() == set(asked)
    assert lines(file).keys() | lines(other).keys() == {*again, *last}
    assert lines(other).keys() >= set(last)


def test_of_a_sample_of_none_only_what_failed_has_a_line(backend: HeldBackend, tmp_path: Path) -> None:
    config = CONFIG.replace("URL", backend.url).replace("to: access.log,", "to: access.log, sample: 0.0,")
    with running(config, tmp_path) as program:
        for _ in range(10):
            ask(program, "/")
            ask(program, "/status/404")
        failed = ask(program, "/status/503")
        assert program.stop() == 0
    assert lines(tmp_path / "access.log").keys() == {failed}


def test_off_means_that_workers_tell_nothing(backend: HeldBackend, tmp_path: Path) -> None:
    config = CONFIG.replace("URL", backend.url).replace("{to: access.log, headers: [X-User-Id]}", "off")
    with running(config, tmp_path) as program:
        ask(program, "/")
        assert not (tmp_path / "access.log").exists()
        assert status(program)["lost"]["logs"] == 0
        assert 'understudy_telemetry_dropped_total{kind="logs"} 0' in get(program.url("admin") + "/metrics")[1]


def test_a_folder_that_is_missing_is_said_at_the_start_and_the_log_begins_once_it_is_made(
    backend: HeldBackend, tmp_path: Path
) -> None:
    text = CONFIG.replace("URL", backend.url).replace("to: access.log", "to: logs/access.log")
    with running(text, tmp_path) as program:
        at = "understudy.yaml:15: telemetry.access_log.to: the file logs/access.log cannot be written here: its folder"
        assert program.stderr.count(at) == 1
        why = f"No such file or directory: {tmp_path}/logs/access.log"
        program.wait_line(f"the access log cannot be written: {why}; its lines are dropped and counted")
        assert status(program)["warnings"] == [f"the access log cannot be written: {why}"]
        (tmp_path / "logs").mkdir()
        until(lambda: bool(ask(program, "/")) and bool(lines(tmp_path / "logs" / "access.log")))
        assert status(program)["warnings"] == []
        assert understudy("reload", "--admin", program.url("admin"), folder=tmp_path).stderr == ""
