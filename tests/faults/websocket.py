"""A WebSocket through the proxy, as far as it goes: the handshake, and single frames (RFC 6455)."""

from __future__ import annotations

import base64
import hashlib
import struct

from .peers import Call, Client
from .site import Scene

_KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
ASK = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {_KEY.decode()}")
ACCEPT = base64.b64encode(hashlib.sha1(_KEY + _GUID, usedforsecurity=False).digest())
SWITCHED = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: %b\r\n\r\n"
    % ACCEPT
)


def frame(payload: bytes, *, masked: bool = False) -> bytes:
    """One final text frame of at most 64 KiB; a client's is masked."""
    size, mask = len(payload), b"\x01\x02\x03\x04"
    head = struct.pack("!BB", 0x81, size | masked << 7) if size < 126 else struct.pack("!BBH", 0x81, 126, size)
    if not masked:
        return head + payload
    return head + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))


def opened(scene: Scene, path: str = "/ws") -> tuple[Client, Call]:
    """Both ends of a WebSocket that has said hello in both directions."""
    client = scene.client()
    client.send(scene.get(path, *ASK))
    call = scene.backend.next_call()
    assert call.request.tokens(b"upgrade") == [b"websocket"]
    call.send(SWITCHED)
    answer = client.answer()
    assert (answer.status, answer.all(b"sec-websocket-accept")) == (101, [ACCEPT])
    client.send(frame(b"hello", masked=True))
    call.until(lambda: call.pending == frame(b"hello", masked=True))
    call.send(frame(b"hello"))
    client.until(lambda: bytes(client.received).endswith(frame(b"hello")))
    return client, call
