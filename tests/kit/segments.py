"""Whether a peer on this machine has read what was sent to it: the kernel is asked, nothing is slept through.

Linux answers for one socket by its two addresses (sock_diag(7)). Where it does not, segments are sent back to back.
"""

from __future__ import annotations

import asyncio
import socket
import struct

_HEADER = struct.Struct("=IHHII")
_REQUEST = struct.Struct("=BBBBI")
_ID = struct.Struct("!HH4s12x4s12x")
_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLM_F_REQUEST = 1
_QUEUE_OFFSET = _HEADER.size + 4 + 48 + 4  # nlmsghdr, inet_diag_msg's state bytes, its socket id, its timer
_POLL_S = 0.0003


def _unread(peer: tuple[str, int], own: tuple[str, int]) -> int | None:
    """Bytes in the receive queue of the peer's socket; None when the kernel does not say."""
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG) as asking:
            asking.settimeout(1)
            pair = _ID.pack(peer[1], own[1], socket.inet_aton(peer[0]), socket.inet_aton(own[0]))
            body = _REQUEST.pack(socket.AF_INET, socket.IPPROTO_TCP, 0, 0, 0xFFFFFFFF)
            body += pair + struct.pack("=III", 0, 0xFFFFFFFF, 0xFFFFFFFF)
            asking.send(_HEADER.pack(_HEADER.size + len(body), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 1, 0) + body)
            answer = asking.recv(4096)
    except OSError:
        return None
    if len(answer) < _QUEUE_OFFSET + 4 or _HEADER.unpack_from(answer)[1] != _SOCK_DIAG_BY_FAMILY:
        return None
    return int(struct.unpack_from("=I", answer, _QUEUE_OFFSET)[0])


async def unread_by_peer(transport: asyncio.Transport, within_s: float) -> None:
    """Return when the peer has read everything, has gone, or the deadline is over."""
    peer, own = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within_s
    while not transport.is_closing() and loop.time() < deadline:
        if not transport.get_write_buffer_size() and not _unread(peer, own):
            return
        asked_again = loop.create_future()
        loop.call_later(_POLL_S, asked_again.set_result, None)
        await asked_again
