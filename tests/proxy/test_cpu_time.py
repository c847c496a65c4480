"""The CPU time of a worker that ended is part of the program's."""

from __future__ import annotations

import socket
from pathlib import Path

from understudy.proxy.processes import usage
from understudy.proxy.supervisor import Supervisor

from tests.proxy.test_supervisor import dies, ends, generation, serving, supervised


def test_the_cpu_time_of_those_that_ended_is_kept(tmp_path: Path) -> None:
    async def scenario(supervisor: Supervisor, sock: socket.socket) -> None:
        await supervisor.introduce(generation(tmp_path, sock))
        spent_s = 0.0
        for _ in range(2):
            await serving(supervisor)
            own_s = usage(supervisor.workers[0].pid).cpu_s
            assert own_s, "an interpreter takes a while to begin"
            await dies(supervisor)
            assert spent_s + own_s <= supervisor.ended_cpu_s["worker-0"] < spent_s + own_s + 2
            spent_s = supervisor.ended_cpu_s["worker-0"]

    supervised(scenario)


def test_the_cpu_time_of_one_that_is_gone_stands_until_its_death_is_told(tmp_path: Path) -> None:
    async def scenario(supervisor: Supervisor, sock: socket.socket) -> None:
        await supervisor.introduce(generation(tmp_path, sock))
        worker = supervisor.workers[0]
        before_s = worker.usage().cpu_s
        ends(worker.pid)
        worker.kill()  # finds that it is over, and reaps it
        assert usage(worker.pid).cpu_s is None
        assert before_s and worker.usage() == (None, before_s)

    supervised(scenario)
