"""Back-pressure has several reasons at a time: the end of one does not undo another, and what is held stays bounded."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest
from understudy.filters.api import Exchange, Filter

from tests.kit.configured import configured, document
from tests.kit.conversation import on_the_loop

HELD_AT_MOST_BYTES = 4 << 20
TOO_MUCH_BYTES = 16 << 20
SMALL_BUFFER_BYTES = 16 << 10


def small_buffer(transport: Any) -> None:
    """Let the kernel take little, so that the proxy must hold the rest or stop reading."""
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BUFFER_BYTES)


async def pushed(sender: socket.socket, first: bytes) -> int:
    """Bytes that the other side took until it took none for 0.2 s."""
    loop = asyncio.get_running_loop()
    sender.setblocking(False)
    sent = 0
    try:
        async with asyncio.timeout(0.2) as limit:
            await loop.sock_sendall(sender, first)
            sent += len(first)
            while sent < TOO_MUCH_BYTES:
                limit.reschedule(loop.time() + 0.2)
                await loop.sock_sendall(sender, bytes(1 << 16))
                sent += 1 << 16
    except TimeoutError:
        pass
    return sent


def listening(path: Path) -> socket.socket:
    """A backend that accepts by hand."""
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(path))
    sock.listen()
    sock.setblocking(False)
    return sock


@pytest.mark.parametrize("piece_bytes", [0, 256 << 10, 1 << 20])
@on_the_loop
async def test_an_answer_that_nobody_reads_is_held_back(tmp_path: Path, piece_bytes: int) -> None:
    loop = asyncio.get_running_loop()
    text = document([f"unix:{tmp_path}/b"], listener={"bind": f"unix:{tmp_path}/i"})
    with listening(tmp_path / "b") as server, socket.socket(socket.AF_UNIX) as client:
        async with configured(text) as proxy:
            client.connect(str(tmp_path / "i"))
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            call, _ = await loop.sock_accept(server)
            with call:
                (connection,) = proxy.plane._ports["ingress"].connections
                small_buffer(connection.transport)
                await loop.sock_recv(call, 65536)
                head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (1 << 30)
                assert await pushed(call, head + bytes(piece_bytes)) < TOO_MUCH_BYTES
                assert connection.transport.get_write_buffer_size() < HELD_AT_MOST_BYTES
                client.close()


class Hesitates(Filter):
    """Lets the body arrive before anybody wants it."""

    async def on_request(self, exchange: Exchange) -> None:
        passed = asyncio.Event()
        asyncio.get_running_loop().call_later(0.1, passed.set)
        await passed.wait()


@pytest.mark.parametrize("piece_bytes", [0, 256 << 10, 1 << 20])
@on_the_loop
async def test_a_body_that_the_backend_does_not_read_is_held_back(tmp_path: Path, piece_bytes: int) -> None:
    loop = asyncio.get_running_loop()
    text = document([f"unix:{tmp_path}/b"], listener={"bind": f"unix:{tmp_path}/i"})
    with listening(tmp_path / "b") as server, socket.socket(socket.AF_UNIX) as client:
        async with configured(text, lambda services: [Hesitates(None, services)]) as proxy:
            client.connect(str(tmp_path / "i"))
            client.setblocking(False)
            await loop.sock_sendall(client, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            backend, _ = await loop.sock_accept(server)
            with backend:
                await loop.sock_recv(backend, 1 << 16)
                await loop.sock_sendall(backend, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                await loop.sock_recv(client, 1 << 16)
                transport = proxy.plane.pools["stable"].targets[0].idle[0].transport
                assert transport is not None
                small_buffer(transport)
                head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (1 << 30)
                assert await pushed(client, head + bytes(piece_bytes)) < TOO_MUCH_BYTES
                assert transport.get_write_buffer_size() < HELD_AT_MOST_BYTES
                client.close()
