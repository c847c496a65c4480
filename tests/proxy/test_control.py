"""The whole program from outside: workers die, signals come, control dies; what callers and operators see."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest

from tests.kit.ask import exists, get, refused, status, understudy, until, worker_pids
from tests.kit.held import HeldBackend, held_backend
from tests.kit.program import Program, running

CONFIG = """
listeners: {ingress: {bind: 127.0.0.1:0}}
admin: {bind: 127.0.0.1:0, probes: {bind: 127.0.0.1:0}}
backends: {stable: {endpoints: [URL], version: "7"}}
routes: [{name: all, match: {path_prefix: /}, backend: stable}]
drain: {delay: 0s, grace: GRACE}
workers: WORKERS
"""


def config(backend: HeldBackend, *, workers: int = 1, grace: str = "10s") -> str:
    return CONFIG.replace("URL", backend.url).replace("WORKERS", str(workers)).replace("GRACE", grace)


@pytest.fixture
def backend() -> Iterator[HeldBackend]:
    with held_backend() as each:
        yield each


def test_a_killed_worker_is_replaced_within_a_second_and_no_connection_is_refused(
    backend: HeldBackend, tmp_path: Path
) -> None:
    """Beside other work it may take longer, but not three times."""
    assert any(killed_and_replaced_s(backend, tmp_path) < 1.0 for _ in range(3))


def killed_and_replaced_s(backend: HeldBackend, folder: Path) -> float:
    """Seconds from the kill of a program's only worker to the answer of the next one."""
    with running(config(backend), folder) as program:
        (before,) = worker_pids(program)
        os.kill(before, signal.SIGKILL)
        killed_at = monotonic()
        answers = [get(program.url("ingress") + "/during")]
        took_s = monotonic() - killed_at
        answers += [get(program.url("ingress") + "/after") for _ in range(20)]
        assert answers == [(200, "done\n")] * 21
        (after,) = worker_pids(program)
        assert after != before
        assert "was killed by SIGKILL" in program.wait_line("replaced at once")
        found = status(program)
        assert (found["worker_restarts"], found["workers_serving"]) == (1, 1)
        assert found["warnings"] == ["1 worker died in the last 10 minutes"]
    return took_s


class Crowd:
    """Callers that connect, ask and leave without a pause, each in a thread of its own; `met` counts what they met."""

    def __init__(self, address: tuple[str, int], callers: int) -> None:
        self.met: Counter[str] = Counter()
        self._address = address
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(callers)]
        for thread in self._threads:
            thread.start()

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                with socket.create_connection(self._address, timeout=10) as connection:
                    connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                    self.met["answered" if connection.recv(1000).startswith(b"HTTP/1.1 200 ") else "cut"] += 1
            except ConnectionRefusedError:
                self.met["refused"] += 1
            except ConnectionError:
                self.met["cut"] += 1

    def leave(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()


def test_under_a_crowd_a_killed_worker_costs_only_what_it_had_in_flight(backend: HeldBackend, tmp_path: Path) -> None:
    callers, kills = 4, 3
    with running(config(backend, workers=2), tmp_path) as program:
        crowd = Crowd(program.address("ingress"), callers)
        for number in range(kills):
            os.kill(worker_pids(program)[0], signal.SIGKILL)
            until(lambda: status(program)["worker_restarts"] == number + 1)  # noqa: B023 - it is asked at once
            until(lambda: status(program)["workers_serving"] == 2)
        crowd.leave()
        assert crowd.met["refused"] == 0
        assert crowd.met["cut"] <= callers * kills
        assert crowd.met["answered"] > 100


def test_totals_never_go_backwards_when_a_worker_dies(backend: HeldBackend, tmp_path: Path) -> None:
    def requests() -> int:
        return sum(call["requests"] for call in status(program)["calls"])

    with running(config(backend), tmp_path) as program:
        for _ in range(7):
            get(program.url("ingress") + "/")
        until(lambda: requests() == 7)
        os.kill(worker_pids(program)[0], signal.SIGKILL)
        assert get(program.url("ingress") + "/") == (200, "done\n")
        seen: list[int] = []
        until(lambda: seen.append(requests()) or seen[-1] == 8)  # type: ignore[func-returns-value]
        assert set(seen) <= {7, 8}
        assert status(program)["listeners"][0]["accepted"] == 8


def test_metrics_are_sums_over_workers(backend: HeldBackend, tmp_path: Path) -> None:
    def metric(text: str, name: str) -> float:
        return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name))

    def served_by_both() -> bool:
        for _ in range(8):
            threads = [threading.Thread(target=get, args=(program.url("ingress") + "/",)) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        sent.append(64)
        return all(cpu_used(pid) > idle[pid] for pid in idle)

    def cpu_used(pid: int) -> int:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    sent: list[int] = []
    with running(config(backend, workers=2), tmp_path) as program:
        idle = {pid: cpu_used(pid) for pid in worker_pids(program)}
        assert len(idle) == 2
        until(served_by_both)
        assert get(program.url("ingress") + "/status/503")[0] == 503
        until(lambda: sum(call["requests"] for call in status(program)["calls"]) == sum(sent) + 1)
        code, text = get(program.url("probes") + "/metrics")
        assert code == 200
        labels = 'route="all",backend="stable",version="7",arm=""'
        assert metric(text, f'understudy_requests_total{{{labels},status="200"}}') == sum(sent)
        assert metric(text, f'understudy_requests_total{{{labels},status="503"}}') == 1
        assert metric(text, f'http_server_request_duration_seconds_count{{{labels},status_class="2xx"}}') == sum(sent)
        assert (
            metric(text, f'http_server_request_duration_seconds_bucket{{{labels},status_class="5xx",le="+Inf"}}') == 1
        )
        assert metric(text, 'understudy_listener_accepted_total{listener="ingress"}') == sum(sent) + 1
        assert metric(text, 'understudy_workers{state="serving"}') == 2


class Caller:
    """One request in a thread of its own, held by the backend."""

    def __init__(self, program: Program) -> None:
        self._connection = http.client.HTTPConnection(*program.address("ingress"), timeout=20)
        self.answer: tuple[int, bytes] | Exception | None = None
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        try:
            self._connection.request("GET", "/hold")
            answer = self._connection.getresponse()
            self.answer = (answer.status, answer.read())
        except (OSError, http.client.HTTPException) as problem:
            self.answer = problem
        finally:
            self._connection.close()


def test_the_last_failures_are_shown_with_their_request_ids(tmp_path: Path) -> None:
    with held_backend() as backend:
        text = config(backend)
    with running(text, tmp_path) as program:
        assert get(program.url("ingress") + "/", {"X-Request-Id": "forged"})[0] == 503
        until(lambda: status(program)["failures"] != [])
        (failure,) = status(program)["failures"]
        assert (failure["route"], failure["backend"], failure["status"]) == ("all", "stable", 503)
        assert failure["reason"] == "connect_failed"
        assert failure["endpoint"] == backend.url.removeprefix("http://")
        assert failure["request_id"] != "forged"
        shown = understudy("status", "--admin", program.url("admin"), folder=tmp_path).stdout
        assert f"connect_failed  {failure['request_id']}" in shown


def test_sigterm_lets_an_exchange_in_flight_finish_while_new_connections_are_refused(
    backend: HeldBackend, tmp_path: Path
) -> None:
    with running(config(backend), tmp_path) as program:
        caller = Caller(program)
        backend.wait_held()
        program.signal(signal.SIGTERM)
        program.wait_line("draining (SIGTERM)")
        assert get(program.url("probes") + "/readyz")[0] == 503
        assert get(program.url("probes") + "/livez")[0] == 200
        until(lambda: refused(program.address("ingress")))
        backend.release.set()
        caller.thread.join()
        assert caller.answer == (200, b"done\n")
        assert program.wait_exit() == 0


def test_the_grace_period_bounds_the_drain(backend: HeldBackend, tmp_path: Path) -> None:
    with running(config(backend, grace="300ms"), tmp_path) as program:
        caller = Caller(program)
        backend.wait_held()
        program.signal(signal.SIGINT)
        assert program.wait_exit(within_s=5) == 0
        caller.thread.join()
        assert isinstance(caller.answer, Exception)


def test_a_second_signal_stops_at_once(backend: HeldBackend, tmp_path: Path) -> None:
    with running(config(backend, grace="60s"), tmp_path) as program:
        caller = Caller(program)
        backend.wait_held()
        workers = worker_pids(program)
        program.signal(signal.SIGTERM)
        program.wait_line("draining (SIGTERM)")
        program.signal(signal.SIGTERM)
        assert program.wait_exit(within_s=3) == 1
        assert not any(map(exists, workers))
        caller.thread.join()
        assert isinstance(caller.answer, Exception)


def test_readiness_is_off_during_the_delay_while_everything_is_still_served(
    backend: HeldBackend, tmp_path: Path
) -> None:
    with running(config(backend).replace("delay: 0s", "delay: 60s"), tmp_path) as program:
        program.signal(signal.SIGTERM)
        until(lambda: get(program.url("probes") + "/readyz")[0] == 503)
        assert get(program.url("ingress") + "/")[0] == 200
        program.signal(signal.SIGTERM)
        assert program.wait_exit(within_s=3) == 1


def test_workers_ignore_signals(backend: HeldBackend, tmp_path: Path) -> None:
    with running(config(backend), tmp_path) as program:
        (worker,) = worker_pids(program)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
            os.kill(worker, number)
        assert get(program.url("ingress") + "/") == (200, "done\n")
        assert worker_pids(program) == [worker]
        assert os.getpgid(worker) != os.getpgid(program.pid)


def test_when_control_dies_workers_finish_what_they_have_and_exit(backend: HeldBackend, tmp_path: Path) -> None:
    with running(config(backend, workers=2), tmp_path) as program:
        workers = worker_pids(program)
        caller = Caller(program)
        backend.wait_held()
        program.signal(signal.SIGKILL)
        assert program.process.wait(5) == -signal.SIGKILL
        program.wait_line("control has gone")
        until(lambda: sum(map(exists, workers)) == 1)
        until(lambda: refused(program.address("ingress")))
        backend.release.set()
        caller.thread.join()
        assert caller.answer == (200, b"done\n")
        until(lambda: not any(map(exists, workers)))


def test_unix_sockets_are_bound_over_stale_ones_and_removed_at_the_end(backend: HeldBackend, tmp_path: Path) -> None:
    path = tmp_path / "in.sock"
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()
    text = config(backend).replace("{ingress: {bind: 127.0.0.1:0}}", f"{{ingress: {{bind: 'unix:{path}'}}}}")
    with running(text, tmp_path) as program:
        assert program.url("ingress") == f"unix:{path}"
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            with client.makefile("rb") as answer:
                assert answer.read().startswith(b"HTTP/1.1 200 ")
        assert program.stop() == 0
    assert not path.exists()


def test_an_inherited_listening_socket_is_served(backend: HeldBackend, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as ours:
        text = config(backend).replace("{ingress: {bind: 127.0.0.1:0}}", f"{{ingress: {{bind: 'fd:{ours.fileno()}'}}}}")
        with Program(text, tmp_path, pass_fds=[ours.fileno()]) as program:
            program.wait_ready()
            assert program.address("ingress") == ours.getsockname()
            assert get(program.url("ingress") + "/") == (200, "done\n")
            assert program.stop() == 0


def test_an_address_in_use_is_said_with_its_key_and_line_and_nothing_is_left_running(
    backend: HeldBackend, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        text = config(backend).replace("{ingress: {bind: 127.0.0.1:0}}", f"\n  ingress:\n    bind: '{address}'")
        with Program(text, tmp_path) as program:
            assert program.wait_exit() == 1
            said = f"listeners.ingress.bind: cannot listen on {address}: Address already in use"
            assert f"cannot start: {tmp_path}/understudy.yaml:4: {said}" in program.stderr


@pytest.mark.parametrize(
    ("admin", "where"),
    [("{bind: 'BIND'}", "3: admin.bind"), ("{bind: 127.0.0.1:0, probes: {bind: 'BIND'}}", "3: admin.probes.bind")],
)
def test_an_address_of_the_admin_api_that_cannot_be_had_is_said_with_its_key_and_line(
    admin: str, where: str, backend: HeldBackend, tmp_path: Path
) -> None:
    bind = f"unix:{tmp_path}/missing/admin.sock"
    text = config(backend).replace("{bind: 127.0.0.1:0, probes: {bind: 127.0.0.1:0}}", admin.replace("BIND", bind))
    with Program(text, tmp_path) as program:
        assert program.wait_exit() == 1
        said = f"{where}: cannot listen on {bind}: No such file or directory"
        assert f"cannot start: {tmp_path}/understudy.yaml:{said}" in program.stderr
