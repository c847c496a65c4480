"""Whether the peer of a connection that nobody reads has reset it, which no event tells meanwhile."""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import Final

_TCP_INFO: Final = getattr(socket, "TCP_INFO", 11)  # tcp(7)
_TCP_CLOSE: Final = 7  # the first byte of struct tcp_info is the state

LOOK_S: Final = 0.05
"""How often to ask."""


def is_reset(transport: asyncio.BaseTransport) -> bool:
    """False where the system does not say: other systems than Linux, unix sockets."""
    sock = transport.get_extra_info("socket")
    if sock is None or sock.family == socket.AF_UNIX or sys.platform != "linux":
        return False
    try:
        state: bytes = sock.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, 1)
    except OSError:
        return False
    return state[0] == _TCP_CLOSE
