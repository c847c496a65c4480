"""Connections that are being opened, and who asks for one."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any, Final, cast

from ..filters.api import Failure
from .http1.upstream import ClientConnection
from .traits import trait

if TYPE_CHECKING:
    from .exchange import Call
    from .plane import DataPlane
    from .pool import Target

_COPY_BUFFER_BYTES: Final = 128 * 1024
"""How much the kernel keeps for one copy (it doubles the number). Left alone, it grows to megabytes for each of the
hundreds of copies of a shadow that hangs: memory that no budget counts, and whose allocation slows live requests."""


@trait
class Waiter:
    """Who asked for a connection; hears one of the two for each time it asked, unless the pool was told to `forget` it
    before."""

    def connected(self, call: Call, target: Target) -> None:
        raise NotImplementedError

    def unavailable(self, failure: Failure, target: Target | None) -> None:
        raise NotImplementedError


class Opening:
    """A connection that is being opened. Mutable state: `waiter`, who is to have it; None from when they left until
    another wants it."""

    __slots__ = ("target", "waiter")

    def __init__(self, target: Target) -> None:
        self.target = target
        self.waiter: Waiter | None = None

    async def connection(self, plane: DataPlane) -> ClientConnection:
        """What was opened. Raises OSError (ssl.SSLError among them) or TimeoutError."""
        target = self.target
        loop, tls, endpoint = plane.loop, target.endpoint.tls, target.endpoint
        context = target.context
        name = (tls.server_name or endpoint.host) if tls is not None else None

        def protocol() -> Any:  # a Protocol by its methods: a compiled class cannot inherit from asyncio's
            return ClientConnection(target, plane.wheel)

        async with asyncio.timeout(target.pool.backend.connect_timeout or None):
            if endpoint.unix is not None:
                _, connection = await loop.create_unix_connection(
                    protocol, endpoint.unix, ssl=context, server_hostname=name
                )
            else:
                _, connection = await loop.create_connection(
                    protocol, target.address, endpoint.port, ssl=context, server_hostname=name
                )
        if target.pool.role == "shadow" and connection.transport is not None:
            sock = connection.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _COPY_BUFFER_BYTES)
        return cast(ClientConnection, connection)


def why_not(error: BaseException) -> str:
    """Why a connection could not be opened, in the words of the log."""
    return "timed out" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
