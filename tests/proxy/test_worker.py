"""The worker as a process: what it imports, what it weighs, and how it ends without control."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from understudy.config.load import load_bytes
from understudy.proxy import messages
from understudy.proxy.channel import DROP_ABOVE_BYTES, Channel
from understudy.proxy.telemetry.records import FailedExchange
from understudy.proxy.worker import Worker

from tests.kit.certificates import Authority
from tests.kit.conversation import on_the_loop, soon
from tests.kit.held import held_backend
from tests.kit.program import running

CONFIG = """
listeners: {ingress: {bind: 127.0.0.1:0}}
admin: {bind: 127.0.0.1:0}
backends: {stable: {endpoints: [URL]}}
routes: [{name: all, match: {path_prefix: /}, backend: stable}]
drain: {grace: 200ms}
"""
MOST_PSS_MIB = 110


def test_it_imports_nothing_fat() -> None:
    fat = {"yaml", "aiohttp", "opentelemetry", "concurrent.futures.process", "multiprocessing", "sqlite3", "redis"}
    code = f"import sys, understudy.proxy.worker; print(sorted({fat!r} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def pss_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no Pss")


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="this system does not tell")
def test_control_and_one_worker_stay_small_after_load(tmp_path: Path) -> None:
    with held_backend() as backend, running(CONFIG.replace("URL", backend.url), tmp_path) as program:
        with socket.create_connection(program.address("ingress")) as client, client.makefile("rb") as answers:
            for _ in range(2000):
                client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                while answers.readline() != b"\r\n":
                    pass
                assert answers.read(5) == b"done\n"
        threads = Path(f"/proc/{program.pid}/task").glob("*/children")
        children = [pid for thread in threads for pid in thread.read_text().split()]
        assert len(children) == 1
        assert sum(pss_mib(pid) for pid in (program.pid, *map(int, children))) < MOST_PSS_MIB


class Hand:
    """Control's end of the channel, held by the test."""

    def __init__(self) -> None:
        self.sock, theirs = socket.socketpair()
        self.sock.settimeout(20)
        with theirs:
            command = [sys.executable, "-m", "understudy.proxy.worker", str(theirs.fileno()), "worker-0"]
            self.process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stderr=subprocess.PIPE)

    def order(self, order: messages.Order, descriptor: int | None = None) -> None:
        payload = messages.encode(order)
        frame = len(payload).to_bytes(4, "big") + payload
        if descriptor is None:
            self.sock.sendall(frame)
        else:
            socket.send_fds(self.sock, [frame], [descriptor])

    def notice(self) -> messages.Notice:
        size = int.from_bytes(self._exactly(4), "big")
        return messages.decode_notice(self._exactly(size))

    def notice_of(self, kind: type[messages.Message]) -> messages.Notice:
        while not isinstance(notice := self.notice(), kind):
            pass
        return notice

    def report(self) -> messages.Report:
        report = self.notice_of(messages.Report)
        assert isinstance(report, messages.Report)
        return report

    def end(self) -> str:
        self.sock.close()
        _, said = self.process.communicate(timeout=20)
        return said.decode()

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = self.sock.recv(size - len(data))
            assert more, "the worker has gone"
            data += more
        return data


def wire() -> bytes:
    loaded = load_bytes(CONFIG.replace("URL", "http://127.0.0.1:9").encode(), file="f", base="/")
    assert not loaded.mistakes
    return loaded.wire


def test_it_builds_then_swaps_then_reports_every_second_and_drains() -> None:
    hand = Hand()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        hand.order(messages.Socket("ingress"), listening.fileno())
        hand.order(messages.Build(1, wire(), 1, "/"))
        assert hand.notice() == messages.Built(1)
        hand.order(messages.Swap(1, ["ingress"]))
        assert hand.notice() == messages.Serving(1)
        with socket.create_connection(listening.getsockname()) as client:
            client.sendall(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n")
            assert b" 503 " in client.recv(1000)
            while not (report := hand.report()).calls:
                pass
        assert [(call.key.route, call.reasons) for call in report.calls] == [("all", {"connect_failed": 1})]
        assert hand.report().calls == []
        hand.order(messages.Drain(5.0))
        assert hand.notice_of(messages.Drained) == messages.Drained()
    assert hand.process.wait(10) == 0
    assert "Traceback" not in hand.end()


def test_a_version_it_cannot_build_is_answered_with_the_reason() -> None:
    hand = Hand()
    hand.order(messages.Build(1, b"\xc1", 1, "/"))
    notice = hand.notice()
    assert isinstance(notice, messages.Built)
    assert notice.error is not None
    hand.order(messages.Swap(1, []))  # nothing was built: nothing to swap to
    hand.order(messages.Build(2, wire(), 1, "/"))
    assert hand.notice() == messages.Built(2)
    assert "control has gone" in hand.end()


def test_a_certificate_that_is_gone_by_then_is_a_reason_too(tmp_path: Path) -> None:
    ca = Authority(tmp_path).ca
    text = CONFIG.replace("[URL]", f"['https://127.0.0.1:9'], tls: {{ca: {ca}}}")
    loaded = load_bytes(text.encode(), file="f", base="/")
    assert not loaded.mistakes
    ca.unlink()
    hand = Hand()
    hand.order(messages.Build(1, loaded.wire, 1, "/"))
    notice = hand.notice()
    assert isinstance(notice, messages.Built)
    assert notice.error is not None and str(ca) in notice.error
    hand.end()


@on_the_loop
async def test_losses_are_told_once_though_nothing_follows_them() -> None:
    loop = asyncio.get_running_loop()
    mine, theirs = socket.socketpair()
    worker = Worker(loop, theirs)
    worker._channel.send(bytes(2 * DROP_ABOVE_BYTES))
    worker._stats.records.offer(FailedExchange("all", "stable", "", 502, "upstream_closed", "id", 1.0))
    worker._offer_records()
    assert worker._stats.records.dropped == 1, "control did not read"
    frames: asyncio.Queue[bytes] = asyncio.Queue()
    control = Channel(loop, mine, frames.put_nowait, lambda: None)
    await soon(frames.get())
    for _ in range(2):
        worker._offer_records()
    worker._channel.send(messages.encode(messages.Drained()))
    told = [messages.decode_notice(await soon(frames.get())) for _ in range(2)]
    assert told == [messages.Records(dropped=1), messages.Drained()]
    control.close()
    worker._channel.close()


def test_it_ignores_signals_and_exits_when_control_has_gone() -> None:
    hand = Hand()
    hand.order(messages.Build(1, wire(), 1, "/"))
    assert hand.notice() == messages.Built(1)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGPIPE):
        os.kill(hand.process.pid, number)
    hand.order(messages.Build(2, wire(), 1, "/"))
    assert hand.notice_of(messages.Built) == messages.Built(2)
    assert "control has gone" in hand.end()
    assert hand.process.returncode == 0
