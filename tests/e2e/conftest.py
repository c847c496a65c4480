"""Real model servers, each in the environment of its own lock file, and Understudy in front of each."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import monotonic
from typing import NamedTuple

import pytest

from demo.lineup import LINEUPS, Server
from tests.kit.program import running

REPOSITORY = Path(__file__).parents[2]

CONFIG = """
listeners: {ingress: {bind: 127.0.0.1:0}}
admin: {bind: 127.0.0.1:0}
backends: {model: {endpoints: [URL]}}
routes: [{name: everything, match: {path_prefix: /}, backend: model}]
telemetry: {access_log: off}
"""


class Served(NamedTuple):
    """One model server, reached in both ways: host and port."""

    direct: tuple[str, int]
    proxied: tuple[str, int]


@pytest.fixture(scope="session")
def full() -> bool:
    """LENGTH=full asks for the long version of a test."""
    return os.environ.get("LENGTH") == "full"


@pytest.fixture(scope="session")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Server], Served]]:
    """Start a kind of server and a proxy in front of it when first asked for; all end with the session."""
    started: dict[Server, Served] = {}
    with ExitStack() as stack:

        def start(server: Server) -> Served:
            if server not in started:
                folder = tmp_path_factory.mktemp(server)
                port = stack.enter_context(model_server(server, folder))
                config = CONFIG.replace("URL", f"http://127.0.0.1:{port}")
                program = stack.enter_context(running(config, folder))
                started[server] = Served(("127.0.0.1", port), program.address("ingress"))
            return started[server]

        yield start


@contextmanager
def model_server(
    server: Server, folder: Path, at: int = 0, environment: Mapping[str, str] | None = None
) -> Iterator[int]:
    """A model of the demo's lineup, ready, the stable one unless told otherwise; its port."""
    model = LINEUPS[server].models[at]
    if not Path(model.command[0]).exists():
        if server == "mlserver" and sys.version_info >= (3, 13):
            pytest.skip("MLServer 1.7 refuses Python 3.13")
        pytest.fail(f"{model.command[0]} is missing: `make e2e` installs it")
    port = free_port()
    command = [*model.command, "--port", str(port)]
    with serving(command, f"http://127.0.0.1:{port}{model.ready}", folder / "server.log", environment):
        yield port


def free_port() -> int:
    """One of 127.0.0.1 that nobody has."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def serving(
    command: Sequence[str], ready: str, log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[None]:
    """A server from when this URL answers until the end of the block."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=REPOSITORY,
            stdout=output,
            stderr=output,
            env={**os.environ, "TMPDIR": str(log.parent), **(environment or {})},
        )
    try:
        _wait_ready(process, ready, log)
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_ready(process: subprocess.Popen[bytes], url: str, log: Path, *, within_s: float = 45.0) -> None:
    end = monotonic() + within_s
    while monotonic() < end:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            pass
        try:
            status = process.wait(0.1)
        except subprocess.TimeoutExpired:
            continue
        pytest.fail(f"the server ended with {status}:\n{log.read_text()}")
    pytest.fail(f"the server was not ready within {within_s} s:\n{log.read_text()}")
