"""Names of endpoints, resolved off the loop, again and again; the last good addresses stay (fault 17).

uvloop resolves in libuv's thread pool. A literal address needs no resolver and never enters one.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
from collections.abc import Callable

from ..config.snapshot import Endpoint

log = logging.getLogger(__name__)

_TIMEOUT_S = 5.0


def is_literal(endpoint: Endpoint) -> bool:
    """Whether the endpoint is an address already."""
    if endpoint.unix is not None:
        return True
    try:
        ipaddress.ip_address(endpoint.host)
    except ValueError:
        return False
    return True


class Resolver:
    """Keeps the addresses of one endpoint's name fresh.

    Mutable state: `addresses`, the last good ones in sorted order, and `first`, done after the first attempt.
    """

    def __init__(
        self, endpoint: Endpoint, refresh_s: float, changed: Callable[[Endpoint, tuple[str, ...]], None]
    ) -> None:
        self.endpoint = endpoint
        self.refresh_s = refresh_s
        self.addresses: tuple[str, ...] = ()
        self.first = asyncio.Event()
        self._changed = changed
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        """Resolve no more."""
        self._stopped.set()

    async def run(self) -> None:
        """Resolve until stopped."""
        while not self._stopped.is_set():
            await self._resolve()
            self.first.set()
            try:
                await asyncio.wait_for(self._stopped.wait(), self.refresh_s or None)
            except TimeoutError:
                continue

    async def _resolve(self) -> None:
        loop = asyncio.get_running_loop()
        host, port = self.endpoint.host, self.endpoint.port
        try:
            found = await asyncio.wait_for(loop.getaddrinfo(host, port, type=socket.SOCK_STREAM), _TIMEOUT_S)
        except (OSError, TimeoutError, UnicodeError) as error:  # UnicodeError: no name of a host
            log.warning("cannot resolve %s: %s; keeping %s", host, error or "timed out", self.addresses or "nothing")
            return
        addresses = tuple(sorted({str(each[4][0]) for each in found}))
        if addresses and addresses != self.addresses:
            log.info("%s resolved to %s", host, ", ".join(addresses))
            self.addresses = addresses
            self._changed(self.endpoint, addresses)
