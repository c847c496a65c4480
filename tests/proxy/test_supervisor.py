"""Real workers under a supervisor in this process: what becomes of them when they hang, die young or cannot build."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
import subprocess
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from understudy.config.load import load_bytes
from understudy.proxy import giving_way
from understudy.proxy.comparison.epochs import Epochs
from understudy.proxy.supervisor import Generation, Rejected, Supervisor, Undone
from understudy.proxy.telemetry.failures import Failures
from understudy.proxy.telemetry.totals import Totals

from tests.kit.conversation import Peer

CONFIG = """
listeners: {ingress: {bind: 127.0.0.1:0}}
backends: {stable: {endpoints: [http://127.0.0.1:9]}}
routes:
  - name: all
    match: {path_prefix: /}
    backend: stable
    filters: [{type: headers, request: {set: {x-secret: {file: ./secret}}}}]
"""


def generation(folder: Path, sock: socket.socket, version: int = 1, config: str = CONFIG) -> Generation:
    (folder / "secret").write_text("s")
    loaded = load_bytes(config.encode(), file="understudy.yaml", base=str(folder))
    assert not loaded.mistakes, loaded.mistakes
    return Generation(version, loaded.wire, str(folder), bytes(32), {"ingress": sock}, frozenset({"ingress"}))


def supervised(
    scenario: Callable[[Supervisor, socket.socket], Awaitable[None]], silent_ticks: int = 30, workers: int = 1
) -> None:
    """Run the scenario over one supervisor, of one worker mostly, and see to it that nothing is left."""

    async def main() -> None:
        supervisor = Supervisor(asyncio.get_running_loop(), Totals(), Failures(), Epochs(), workers, silent_ticks)
        with socket.create_server(("127.0.0.1", 0)) as sock:
            try:
                async with asyncio.timeout(30):
                    await scenario(supervisor, sock)
            finally:
                supervisor.kill()
                await supervisor.gone()

    asyncio.run(main())


async def serving(supervisor: Supervisor) -> None:
    while supervisor.serving < supervisor.wanted:
        await supervisor.changed()


async def answered(client: Peer) -> None:
    """A request is answered, its backend being nobody, and the connection stays."""
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    answer = await client.message()
    assert (answer.status, answer.get(b"connection")) == (503, None)


async def dies(supervisor: Supervisor, slot: int = 0) -> None:
    """Kill the slot's worker, and wait until that is known."""
    restarts = supervisor.restarts
    os.kill(supervisor.workers[slot].pid, signal.SIGKILL)
    while supervisor.restarts == restarts:
        await supervisor.changed()


def ends(pid: int) -> None:
    """Kill it, and wait until it is over; nobody hears of it meanwhile."""
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


def starts_fail(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """The system has no process left for so many starts of a worker."""
    begin, left = giving_way.start, [times]

    def start(argv: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
        left[0] -= 1
        if left[0] >= 0:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return begin(argv, **options)

    monkeypatch.setattr(giving_way, "start", start)


def test_a_worker_that_hangs_is_killed_and_replaced(tmp_path: Path) -> None:
    async def scenario(supervisor: Supervisor, sock: socket.socket) -> None:
        await supervisor.introduce(generation(tmp_path, sock))
        hung = supervisor.workers[0].pid
        os.kill(hung, signal.SIGSTOP)
        while supervisor.restarts == 0:
            await supervisor.changed()
        await serving(supervisor)
        assert supervisor.workers[0].pid != hung

    supervised(scenario, silent_ticks=2)


def test_a_worker_that_keeps_dying_young_is_replaced_ever_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(supervisor: Supervisor, sock: socket.socket) -> None:
        await supervisor.introduce(generation(tmp_path, sock))
        for _ in range(3):
            await serving(supervisor)
            await dies(supervisor)
        await serving(supervisor)

    supervised(scenario)
    replaced = [line.rpartition("replaced ")[2] for line in caplog.messages if "replaced" in line]
    assert replaced == ["at once", "in 0.1 s", "in 0.2 s"]


def test_a_worker_that_cannot_be_started_now_is_started_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(supervisor: Supervisor, sock: socket.socket) -> None:
        await supervisor.introduce(generation(tmp_path, sock))
        starts_fail(monkeypatch, times=2)
        await dies(supervisor)
        assert not supervisor.workers
        await serving(supervisor)

    supervised(scenario)
    tried = [line for line in caplog.messages if "cannot be started" in line]
    why = "worker-0 cannot be started: [Errno 11] Resource temporarily unavailable; tried again in"
    assert tried == [f"{why} 0.1 s", f"{why} 0.2 s"]


def test_a_worker_that_starts_while_the_others_build_builds_and_serves_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(supervisor: Supervisor, sock: socket.socket) -> None:
        await supervisor.introduce(generation(tmp_path, sock))
        slow = supervisor.workers[0].pid
        os.kill(slow, signal.SIGSTOP)
        starts_fail(monkeypatch, times=2)
        await dies(supervisor, slot=1)
        config = CONFIG.replace("0}}", "0}, extra: {bind: 127.0.0.1:0}}")
        second = generation(tmp_path, sock, version=2, config=config)
        second = replace(second, sockets={"ingress": sock, "extra": sock}, fresh=frozenset({"extra"}))
        introduced = asyncio.gather(supervisor.introduce(second))
        while 1 not in supervisor.workers:
            await supervisor.changed()
        os.kill(slow, signal.SIGCONT)
        await introduced
        assert [supervisor.workers[slot].serving_version for slot in range(2)] == [2, 2]
        assert supervisor.restarts == 1

    supervised(scenario, workers=2)


def test_where_no_worker_lives_one_is_started_to_build_before_a_configuration_is_accepted(tmp_path: Path) -> None:
    async def scenario(supervisor: Supervisor, sock: socket.socket) -> None:
        await supervisor.introduce(generation(tmp_path, sock))
        await dies(supervisor)
        (tmp_path / "secret").unlink()
        while supervisor.workers:  # the replacement cannot build either, and the next one comes later
            await supervisor.changed()
        broken = replace(generation(tmp_path, sock, version=2), base="/nowhere")
        with pytest.raises(Rejected, match=r"worker-0: .*secret.* cannot be read"):
            await supervisor.introduce(broken)
        await serving(supervisor)
        assert supervisor.workers[0].serving_version == 1

    supervised(scenario)


def test_where_none_can_be_started_in_time_the_configuration_is_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("understudy.proxy.supervisor.START_WITHIN_S", 0.5)

    async def scenario(supervisor: Supervisor, sock: socket.socket) -> None:
        starts_fail(monkeypatch, times=100)
        with pytest.raises(Rejected, match=r"no worker lives, and none could be started: .* temporarily unavailable"):
            await supervisor.introduce(generation(tmp_path, sock))

    supervised(scenario)


def test_a_new_configuration_is_the_remedy_of_workers_that_cannot_build_the_former(tmp_path: Path) -> None:
    async def scenario(supervisor: Supervisor, sock: socket.socket) -> None:
        await supervisor.introduce(generation(tmp_path, sock))
        (tmp_path / "secret").unlink()
        await dies(supervisor)
        (tmp_path / "mended").mkdir()
        mended = generation(tmp_path / "mended", sock, version=2)
        await supervisor.introduce(replace(mended, fresh=frozenset()))
        assert supervisor.workers[0].serving_version == 2

    supervised(scenario)


def test_nobody_waits_for_a_configuration_once_the_end_was_asked_for(tmp_path: Path) -> None:
    async def scenario(supervisor: Supervisor, sock: socket.socket) -> None:
        await supervisor.introduce(generation(tmp_path, sock))
        os.kill(supervisor.workers[0].pid, signal.SIGSTOP)
        introduced = asyncio.gather(supervisor.introduce(generation(tmp_path, sock, version=2)), return_exceptions=True)
        supervisor.refuse_new()
        (result,) = await introduced
        assert str(result) == "the program is about to end"
        os.kill(supervisor.workers[0].pid, signal.SIGCONT)
        await supervisor.drain(5.0)

    supervised(scenario)


def test_a_configuration_no_worker_can_build_is_rejected_and_the_former_serves_on(tmp_path: Path) -> None:
    async def scenario(supervisor: Supervisor, sock: socket.socket) -> None:
        await supervisor.introduce(generation(tmp_path, sock))
        worker = supervisor.workers[0]
        sockets = {"ingress": sock, "extra": sock}  # the extra one must be forgotten with the rest
        broken = replace(generation(tmp_path, sock, version=2), sockets=sockets, fresh=frozenset({"extra"}))
        (tmp_path / "secret").unlink()
        with pytest.raises(Rejected, match=r"worker-0: .*secret.* cannot be read: No such file"):
            await supervisor.introduce(broken)
        assert (worker.serving_version, supervisor.serving) == (1, 1)
        await supervisor.introduce(generation(tmp_path, sock, version=2))  # the number is free, the refusal forgotten
        assert (worker.serving_version, supervisor.serving, supervisor.restarts) == (2, 1, 0)

    supervised(scenario)


def test_a_configuration_that_kills_a_worker_is_rejected_and_the_former_serves_on(tmp_path: Path) -> None:
    async def scenario(supervisor: Supervisor, sock: socket.socket) -> None:
        await supervisor.introduce(generation(tmp_path, sock))
        pid = supervisor.workers[0].pid
        os.kill(pid, signal.SIGSTOP)
        introduced = asyncio.gather(supervisor.introduce(generation(tmp_path, sock, version=2)), return_exceptions=True)
        os.kill(pid, signal.SIGKILL)
        (result,) = await introduced
        assert isinstance(result, Rejected)
        assert str(result) == "worker-0: died while it built the configuration"
        await serving(supervisor)
        assert supervisor.workers[0].serving_version == 1

    supervised(scenario)


def test_a_configuration_that_all_build_and_die_of_is_undone_and_the_former_serves_again(tmp_path: Path) -> None:
    async def scenario(supervisor: Supervisor, sock: socket.socket) -> None:
        first = generation(tmp_path, sock)
        await supervisor.introduce(first)
        config = CONFIG.replace("0}}", "0}, extra: {bind: 127.0.0.1:0}}")
        second = generation(tmp_path, sock, version=2, config=config)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as no_listener:
            sockets = {"ingress": sock, "extra": no_listener}
            with pytest.raises(Undone, match=r"worker-[01]: died as it swapped to the configuration"):
                await supervisor.introduce(replace(second, sockets=sockets, fresh=frozenset({"extra"})))
        await supervisor.go_back(replace(first, fresh=frozenset()))
        assert [worker.serving_version for worker in supervisor.workers.values()] == [1, 1]
        assert supervisor.restarts == 2, "no replacement tried what the first ones died of"
        await supervisor.introduce(replace(first, version=2, fresh=frozenset()))
        assert (supervisor.serving, supervisor.restarts) == (2, 2)

    supervised(scenario, workers=2)


def test_a_worker_that_served_what_another_died_of_goes_back_with_its_connections_and_listeners(tmp_path: Path) -> None:
    async def scenario(supervisor: Supervisor, sock: socket.socket) -> None:
        config = CONFIG.replace("0}}", "0}, extra: {bind: 127.0.0.1:0}}")
        with socket.create_server(("127.0.0.1", 0)) as extra:
            first = generation(tmp_path, sock, config=config)
            first = replace(first, sockets={"ingress": sock, "extra": extra})
            await supervisor.introduce(first)
            kept, other = supervisor.workers[0], supervisor.workers[1]
            os.kill(other.pid, signal.SIGSTOP)
            client = await Peer.connect(sock.getsockname())
            await answered(client)
            os.kill(other.pid, signal.SIGCONT)
            second = replace(generation(tmp_path, sock, version=2), fresh=frozenset())
            with pytest.raises(Undone, match="worker-1: died as it swapped to the configuration"):
                await supervisor.introduce(second, lambda: os.kill(other.pid, signal.SIGKILL))
            await supervisor.go_back(replace(first, fresh=frozenset({"extra"})))
            assert (supervisor.workers[0], kept.serving_version, supervisor.serving) == (kept, 1, 2)
            assert supervisor.restarts == 1
            os.kill(supervisor.workers[1].pid, signal.SIGSTOP)
            await answered(client)
            another = await Peer.connect(extra.getsockname())
            await answered(another)
            for each in client, another:
                each.reset()
                await each.gone()
            os.kill(supervisor.workers[1].pid, signal.SIGCONT)

    supervised(scenario, workers=2)


def test_a_worker_that_has_not_swapped_yet_is_not_back_before_it_says_so(tmp_path: Path) -> None:
    async def scenario(supervisor: Supervisor, sock: socket.socket) -> None:
        first = generation(tmp_path, sock)
        await supervisor.introduce(first)
        slow, dying = supervisor.workers[0], supervisor.workers[1]

        def befall() -> None:
            os.kill(slow.pid, signal.SIGSTOP)
            os.kill(dying.pid, signal.SIGKILL)

        with pytest.raises(Undone):
            await supervisor.introduce(replace(generation(tmp_path, sock, version=2), fresh=frozenset()), befall)
        back = asyncio.gather(supervisor.go_back(replace(first, fresh=frozenset())))
        while supervisor.serving < 1:
            await supervisor.changed()
        assert supervisor.workers[1].serving_version == 1 and slow.serving_version != 1
        os.kill(slow.pid, signal.SIGCONT)
        await back
        assert slow.serving_version == 1

    supervised(scenario, workers=2)


def test_a_worker_that_dies_as_it_is_told_to_go_back_is_replaced_by_one_that_serves_the_former(tmp_path: Path) -> None:
    async def scenario(supervisor: Supervisor, sock: socket.socket) -> None:
        first = generation(tmp_path, sock)
        await supervisor.introduce(first)
        pids = [worker.pid for worker in supervisor.workers.values()]
        with socket.create_server(("127.0.0.1", 0)) as extra:  # whoever is told of it later cannot be
            second = generation(
                tmp_path, sock, version=2, config=CONFIG.replace("0}}", "0}, extra: {bind: 127.0.0.1:0}}")
            )
            second = replace(second, sockets={"ingress": sock, "extra": extra}, fresh=frozenset({"extra"}))
            with pytest.raises(Undone):
                await supervisor.introduce(second, lambda: os.kill(pids[1], signal.SIGKILL))
        ends(pids[0])
        await supervisor.go_back(replace(first, fresh=frozenset()))
        assert [worker.serving_version for worker in supervisor.workers.values()] == [1, 1]
        assert supervisor.restarts == 2

    supervised(scenario, workers=2)


def test_a_first_configuration_that_cannot_be_built_is_rejected(tmp_path: Path) -> None:
    async def scenario(supervisor: Supervisor, sock: socket.socket) -> None:
        broken = generation(tmp_path, sock)
        (tmp_path / "secret").unlink()
        with pytest.raises(Rejected):
            await supervisor.introduce(broken)
        assert supervisor.serving == 0

    supervised(scenario)


def test_a_start_with_workers_that_cannot_listen_fails_instead_of_waiting_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("understudy.proxy.supervisor.SWAP_WITHIN_S", 1.0)

    async def scenario(supervisor: Supervisor, sock: socket.socket) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as no_listener:
            with pytest.raises(Rejected, match="no worker could serve it"):
                await supervisor.introduce(generation(tmp_path, no_listener))
            assert supervisor.restarts > 0

    supervised(scenario)


def test_a_drain_ends_every_worker(tmp_path: Path) -> None:
    async def scenario(supervisor: Supervisor, sock: socket.socket) -> None:
        await supervisor.introduce(generation(tmp_path, sock))
        await supervisor.drain(5.0)
        assert not supervisor.workers
        assert supervisor.restarts == 0

    supervised(scenario)
