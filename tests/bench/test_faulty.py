"""Shadows that misbehave do so, each in its own way, and stop when they are told to."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.loopback.faulty import KINDS
from bench.loopback.processes import nothing_left_behind
from bench.loopback.quiet import Cores
from bench.loopback.shadows import HEALTHY, Shadows
from bench.loopback.wire import ANSWER_BODY, MIB, connect, errand, expect, request

from .test_chained import SHARED
from .test_harness import needs_tools

pytestmark = needs_tools
SHORT_S, LONG_S = 0.5, 20.0


@contextlib.contextmanager
def shadows(folder: Path, cores: Cores = SHARED) -> Iterator[Shadows]:
    with nothing_left_behind(), contextlib.ExitStack() as stack:
        yield Shadows(stack, cores.load, folder, before=())


@contextlib.contextmanager
def asked(port: int, size: int = 1024, timeout_s: float = LONG_S) -> Iterator[socket.socket]:
    """A connection over which one request has been sent, or as much of it as was taken in time."""
    path, body, _ = errand(size)
    with connect(port, timeout_s=timeout_s) as sock:
        sock.sendall(request(path, body))
        yield sock


def test_every_kind_keeps_what_its_name_says(tmp_path: Path) -> None:
    with shadows(tmp_path) as each:
        port = each.faulty
        with pytest.raises(TimeoutError):
            connect(port["dead"], timeout_s=SHORT_S)
        with pytest.raises(ConnectionRefusedError):
            connect(port["refused"])
        for kind in ("refusing", "resetting"):
            with pytest.raises(ConnectionError), asked(port[kind]) as sock:
                while sock.recv(65536):
                    pass
        for kind in ("hung-before", "hung-after"):
            with asked(port[kind], timeout_s=SHORT_S) as sock, pytest.raises(TimeoutError):
                sock.recv(65536)
        with asked(port["dripping"]) as sock:
            head = sock.recv(65536)
            assert b"200 OK" in head
            assert sock.recv(65536) == b" "
        with asked(port["flooding"]) as sock:
            got = sum(len(sock.recv(1 << 20)) for _ in range(200))
        assert got > 4 * MIB


def test_only_the_one_that_hangs_before_reading_leaves_a_large_body_unread(tmp_path: Path) -> None:
    with shadows(tmp_path) as each:
        with pytest.raises(TimeoutError), asked(each.faulty["hung-before"], 64 * MIB, timeout_s=SHORT_S):
            pass
        with asked(each.faulty["hung-after"], 64 * MIB) as sock, pytest.raises(TimeoutError):
            sock.settimeout(SHORT_S)
            sock.recv(1)
        with pytest.raises(ConnectionError), asked(each.faulty["resetting"], 64 * MIB) as sock:
            sock.recv(1)


def test_a_healthy_one_answers_as_the_live_backend_does(tmp_path: Path) -> None:
    with shadows(tmp_path) as each:
        for size in (1024, 2 * MIB):
            path, body, answer = errand(size)
            with connect(each.port(HEALTHY, size)) as sock:
                assert expect(sock, request(path, body), answer)
        assert answer != ANSWER_BODY
        assert {each.port(kind, 1024) for kind in KINDS} == set(each.faulty.values())


def test_calm_ends_every_connection(tmp_path: Path) -> None:
    with shadows(tmp_path) as each, contextlib.ExitStack() as stack:
        socks = [stack.enter_context(asked(each.faulty[kind])) for kind in ("hung-before", "hung-after", "flooding")]
        socks[2].recv(1)
        each.calm()
        for sock in socks:
            with pytest.raises(ConnectionResetError):
                while sock.recv(1 << 20):
                    pass


def test_a_flood_ends_by_itself(tmp_path: Path) -> None:
    with shadows(tmp_path) as each, asked(each.faulty["flooding"]) as sock:
        began = time.monotonic()
        with pytest.raises(ConnectionResetError):
            while sock.recv(1 << 20):
                pass
        assert time.monotonic() - began < LONG_S
