"""A running program reads its file again: the good is served at once by every worker, the bad changes nothing."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.ask import get, refused, status, understudy, until, worker_pids
from tests.kit.held import HeldBackend, held_backend
from tests.kit.program import Program, running

CONFIG = """
listeners: {ingress: {bind: 127.0.0.1:0}}
admin: {bind: 127.0.0.1:0}
backends: {stable: {endpoints: [URL], version: "7"}}
routes: [{name: all, match: {path_prefix: /}, backend: stable}]
workers: 2
"""


@pytest.fixture
def backend() -> Iterator[HeldBackend]:
    with held_backend() as each:
        yield each


def write(folder: Path, backend: HeldBackend, old: str = "", new: str = "") -> None:
    (folder / "understudy.yaml").write_text(CONFIG.replace("URL", backend.url).replace(old, new))


def reload(program: Program, folder: Path) -> tuple[int, str, str]:
    done = understudy("reload", "--admin", program.url("admin"), folder=folder)
    return done.returncode, done.stdout, done.stderr


def test_a_changed_route_is_served_by_every_worker(backend: HeldBackend, tmp_path: Path) -> None:
    with running(CONFIG.replace("URL", backend.url), tmp_path) as program:
        pids = worker_pids(program)
        assert get(program.url("ingress") + "/x")[0] == 200
        write(tmp_path, backend, "path_prefix: /", "path_prefix: /only")
        code, said, _ = reload(program, tmp_path)
        assert (code, "version 2" in said) == (0, True)
        answers = [get(program.url("ingress") + "/x")[0] for _ in range(40)]
        assert answers == [404] * 40
        assert get(program.url("ingress") + "/only")[0] == 200
        assert worker_pids(program) == pids
        assert status(program)["config"]["version"] == 2


def test_a_bad_file_is_refused_with_its_mistakes_and_shown(backend: HeldBackend, tmp_path: Path) -> None:
    with running(CONFIG.replace("URL", backend.url), tmp_path) as program:
        write(tmp_path, backend, "backend: stable", "backend: nobody")
        code, _, said = reload(program, tmp_path)
        assert code == 1
        assert "understudy.yaml:5: routes[0].backend: " in said
        assert get(program.url("ingress") + "/x")[0] == 200
        found = status(program)
        assert found["config"]["version"] == 1
        assert "routes[0].backend" in found["config"]["rejected"]["mistakes"][0]
        assert found["warnings"] == ["the configuration file was refused; the one before it serves on"]
        assert 'understudy_config_reloads_total{result="rejected"} 1' in get(program.url("admin") + "/metrics")[1]
        write(tmp_path, backend)
        assert reload(program, tmp_path)[0] == 0
        assert status(program)["warnings"] == []


def test_what_waits_for_the_next_start_is_said_until_it_is_taken_back(backend: HeldBackend, tmp_path: Path) -> None:
    with running(CONFIG.replace("URL", backend.url), tmp_path) as program:
        write(tmp_path, backend, "workers: 2", "workers: 3")
        for version in (2, 3):
            code, said, warned = reload(program, tmp_path)
            assert (code, f"version {version}\n" in said) == (0, True)
            assert warned == "workers: the change takes effect at the next start (warning)\n"
        write(tmp_path, backend)
        assert reload(program, tmp_path)[2] == ""


def test_listeners_come_and_go_and_an_open_connection_finishes(backend: HeldBackend, tmp_path: Path) -> None:
    with running(CONFIG.replace("URL", backend.url), tmp_path) as program:
        first = program.address("ingress")
        with socket.create_connection(first) as held:
            held.sendall(b"GET /hold HTTP/1.1\r\nHost: a\r\n\r\n")
            backend.wait_held()
            write(tmp_path, backend, "ingress: {bind: 127.0.0.1:0}", "second: {bind: 127.0.0.1:0}")
            assert reload(program, tmp_path)[0] == 0
            (listener,) = [each for each in status(program)["listeners"] if each["name"] == "second"]
            assert get(listener["address"] + "/x")[0] == 200
            until(lambda: refused(first))
            backend.release.set()
            assert held.recv(1000).startswith(b"HTTP/1.1 200 ")


def test_an_unchanged_listener_keeps_its_connections(backend: HeldBackend, tmp_path: Path) -> None:
    with (
        running(CONFIG.replace("URL", backend.url), tmp_path) as program,
        socket.create_connection(program.address("ingress")) as kept,
        kept.makefile("rb") as answers,
    ):
        for _ in range(2):
            kept.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert answers.readline() == b"HTTP/1.1 200 OK\r\n"
            assert b"done\n" in iter(answers.readline, b"")
            write(tmp_path, backend, '"7"', '"8"')
            reload(program, tmp_path)
        assert {call["version"] for call in status(program)["calls"]} <= {"7", "8"}


def test_sighup_reloads(backend: HeldBackend, tmp_path: Path) -> None:
    with running(CONFIG.replace("URL", backend.url), tmp_path) as program:
        write(tmp_path, backend, "path_prefix: /", "path_prefix: /only")
        program.signal(signal.SIGHUP)
        program.wait_line("configuration v2")
        assert get(program.url("ingress") + "/x")[0] == 404


def test_a_listener_that_cannot_be_bound_refuses_the_file_with_key_and_line(
    backend: HeldBackend, tmp_path: Path
) -> None:
    with running(CONFIG.replace("URL", backend.url), tmp_path) as program:
        bind = f"unix:{tmp_path}/missing/in.sock"
        write(tmp_path, backend, "{ingress: {bind: 127.0.0.1:0}}", f"{{ingress: {{bind: '{bind}'}}}}")
        code, _, said = reload(program, tmp_path)
        assert code == 1
        assert f"understudy.yaml:2: listeners.ingress.bind: cannot listen on {bind}: No such file or directory" in said
        assert get(program.url("ingress") + "/x")[0] == 200


def test_a_worker_that_is_killed_during_a_reload_refuses_it_and_the_next_one_is_served_by_all(
    backend: HeldBackend, tmp_path: Path
) -> None:
    with running(CONFIG.replace("URL", backend.url), tmp_path) as program:
        held, _ = worker_pids(program)

        def refused_for_a_kill() -> bool:
            for pid in set(worker_pids(program)) - {held}:
                os.kill(pid, signal.SIGKILL)
            return "v1 serves on: worker-1: died while it built the configuration" in program.stderr

        write(tmp_path, backend, "path_prefix: /", "path_prefix: /only")
        os.kill(held, signal.SIGSTOP)
        program.signal(signal.SIGHUP)
        until(refused_for_a_kill)
        os.kill(held, signal.SIGCONT)
        until(lambda: status(program)["workers_serving"] == 2)
        assert "version 2" in reload(program, tmp_path)[1]
        answers = [get(program.url("ingress") + "/x")[0] for _ in range(40)]
        assert answers == [404] * 40


def test_a_configuration_that_workers_build_and_die_of_is_refused_and_shown(
    backend: HeldBackend, tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as no_stream:
        no_stream.bind(str(tmp_path / "no-stream"))
        no_stream.listen()
        config, number = CONFIG.replace("URL", backend.url), no_stream.fileno()
        with running(config, tmp_path, pass_fds=[number]) as program:
            listener = "ingress: {bind: 127.0.0.1:0}"
            write(tmp_path, backend, listener, f"{listener}, extra: {{bind: 'fd:{number}'}}")
            code, _, said = reload(program, tmp_path)
            assert code == 1
            found = status(program)
            assert (found["config"]["version"], found["workers_serving"], found["worker_restarts"]) == (1, 2, 2)
            (mistake,) = found["config"]["rejected"]["mistakes"]
            assert mistake in said and mistake.endswith("died as it swapped to the configuration")
            assert "the configuration file was refused; the one before it serves on" in found["warnings"]
            assert [each["name"] for each in found["listeners"]] == ["ingress"]
            metrics = get(program.url("admin") + "/metrics")[1]
            assert 'understudy_config_reloads_total{result="rejected"} 1' in metrics
            assert 'understudy_config_reloads_total{result="accepted"} 1' in metrics
            assert get(program.url("ingress") + "/x")[0] == 200
            write(tmp_path, backend)
            code, said, _ = reload(program, tmp_path)
            assert (code, "version 2" in said, status(program)["worker_restarts"]) == (0, True, 2)


def test_sigterm_does_not_wait_for_a_reload(backend: HeldBackend, tmp_path: Path) -> None:
    with running(CONFIG.replace("URL", backend.url), tmp_path) as program:
        held, _ = worker_pids(program)
        os.kill(held, signal.SIGSTOP)
        program.signal(signal.SIGHUP)
        program.signal(signal.SIGTERM)
        program.wait_line("draining (SIGTERM)")
        os.kill(held, signal.SIGCONT)
        assert program.wait_exit() == 0
