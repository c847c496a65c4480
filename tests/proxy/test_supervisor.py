"""Real workers under a supervisor in this process: what becomes of them when they hang, die young or cannot build."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from understudy.config.load import load_bytes
from understudy.proxy.comparison.epochs import Epochs
from understudy.proxy.supervisor import Generation, Rejected, Supervisor
from understudy.proxy.telemetry.failures import Failures
from understudy.proxy.telemetry.totals import Totals

CONFIG = """
listeners: {ingress: {bind: 127.0.0.1:0}}
backends: {stable: {endpoints: [http://127.0.0.1:9]}}
routes:
  - name: all
    match: {path_prefix: /}
    backend: stable
    filters: [{type: headers, request: {set: {x-secret: {file: ./secret}}}}]
"""


def generation(folder: Path, sock: socket.socket, version: int = 1) -> Generation:
    (folder / "secret").write_text("s")
    loaded = load_bytes(CONFIG.encode(), file="understudy.yaml", base=str(folder))
    assert not loaded.mistakes, loaded.mistakes
    return Generation(version, loaded.wire, str(folder), bytes(32), {"ingress": sock}, frozenset({"ingress"}))


def supervised(scenario: Callable[[Supervisor, socket.socket], Awaitable[None]], silent_ticks: int = 30) -> None:
    """Run the scenario over one supervisor of one worker, and see to it that nothing is left."""

    async def main() -> None:
        supervisor = Supervisor(asyncio.get_running_loop(), Totals(), Failures(), Epochs(), 1, silent_ticks)
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
            os.kill(supervisor.workers[0].pid, signal.SIGKILL)
            restarts = supervisor.restarts
            while supervisor.restarts == restarts:
                await supervisor.changed()
        await serving(supervisor)

    supervised(scenario)
    replaced = [line.rpartition("replaced ")[2] for line in caplog.messages if "replaced" in line]
    assert replaced == ["at once", "in 0.1 s", "in 0.2 s"]


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
        await supervisor.introduce(generation(tmp_path, sock, version=3))
        assert (worker.serving_version, supervisor.serving, supervisor.restarts) == (3, 1, 0)

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
