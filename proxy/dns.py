"""Names of endpoints, resolved off the loop, again and again; the last good addresses stay (fault 17).

uvloop resolves in libuv's thread pool, where a question that nobody answers keeps its thread until libc gives up.
Therefore a name is asked for once at a time, whoever needs it, and names that only shadows need are asked for one
after the other: however many of them hang, a thread is left for live's. A literal address never enters a resolver.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

from ..config.snapshot import Endpoint

log = logging.getLogger(__name__)

THREADS = 16
"""Of libuv's pool in a worker (UV_THREADPOOL_SIZE): half of them resolve, so that a silent name of live's leaves seven
for its others. They begin with the first question, and cost 80 KiB."""

_PATIENCE_S = 5.0

Spawn = Callable[[Coroutine[Any, Any, None]], object]


def is_literal(endpoint: Endpoint) -> bool:
    """Whether the endpoint is an address already."""
    if endpoint.unix is not None:
        return True
    try:
        ipaddress.ip_address(endpoint.host)
    except ValueError:
        return False
    return True


class Use(NamedTuple):
    """How somebody needs a name."""

    refresh_s: float  # 0: once is enough
    live: bool  # for calls whose answers clients get
    changed: Callable[[], None]  # called when there are other addresses


class Names:
    """The resolvers of one worker. Mutable state: them by their names, and who of the shadows' asks or waits to ask."""

    def __init__(self, loop: asyncio.AbstractEventLoop, spawn: Spawn) -> None:
        self.loop = loop
        self.spawn = spawn
        self._resolvers: dict[str, Resolver] = {}
        self._asking: Resolver | None = None
        self._waiting: list[Resolver] = []

    def resolver(self, host: str, user: object, use: Use) -> Resolver:
        """The one of this name, for this user from now on; what it needed the name for before is forgotten."""
        resolver = self._resolvers.get(host)
        if resolver is None:
            resolver = self._resolvers[host] = Resolver(self, host)
        resolver.serve(user, use)
        return resolver

    def admits(self, resolver: Resolver) -> bool:
        """Whether it is this shadow's turn; it is told when it may be."""
        if self._asking is None:
            self._asking = resolver
        elif resolver not in self._waiting:
            self._waiting.append(resolver)
        return self._asking is resolver

    def answered(self, resolver: Resolver) -> None:
        """No question is under way there any more."""
        if not resolver.users and self._resolvers.get(resolver.host) is resolver:
            del self._resolvers[resolver.host]
        if self._asking is resolver:
            self._asking = None
            waiting, self._waiting = self._waiting, []
            for each in waiting:
                each.ask()


class Resolver:
    """Keeps the addresses of one name fresh.

    Mutable state: `addresses`, the last good ones in sorted order; `first`, done after the first attempt; `users`, who
    needs them; `_asking`, whether a question is under way, and `_wanted` since when; `_timer`, of the next question or
    of the patience with this one.
    """

    def __init__(self, names: Names, host: str) -> None:
        self.host = host
        self.addresses: tuple[str, ...] = ()
        self.first = asyncio.Event()
        self.users: dict[object, Use] = {}
        self._names = names
        self._asking = False
        self._wanted = False
        self._missed = False
        self._answered_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def serve(self, user: object, use: Use) -> None:
        """Resolve as often as the most eager user wants it."""
        self.users[user] = use
        if self.first.is_set() and not self._wanted:
            self._plan()
        else:
            self.ask()

    def leave(self, user: object) -> None:
        """Resolve for this user no more."""
        del self.users[user]
        if not self.users:
            self._set_timer(None)
            if not self._asking:
                self._wanted = False
                self._names.answered(self)

    def ask(self) -> None:
        """Ask now, unless a question is under way; a shadow's waits for its turn."""
        if self._asking or not self.users:
            return
        if not self._wanted:
            self._wanted, self._missed = True, False
            self._set_timer(self._names.loop.call_later(_PATIENCE_S, self._miss, f"no answer in {_PATIENCE_S:g} s"))
        if any(use.live for use in self.users.values()) or self._names.admits(self):
            self._asking = True
            self._names.spawn(self._ask())

    async def _ask(self) -> None:
        addresses: tuple[str, ...] = ()
        try:
            found = await self._names.loop.getaddrinfo(self.host, 0, type=socket.SOCK_STREAM)
            addresses = tuple(sorted({str(each[4][0]) for each in found}))
        except (OSError, ValueError) as error:  # ValueError, UnicodeError among them: no name of a host
            self._miss(str(error) or "timed out")
        self._asking = self._wanted = False
        self._answered_at = self._names.loop.time()
        self.first.set()
        self._plan()
        self._names.answered(self)
        if addresses and addresses != self.addresses:
            log.info("%s resolved to %s", self.host, ", ".join(addresses))
            self.addresses = addresses
            for use in list(self.users.values()):
                use.changed()

    def _miss(self, why: str) -> None:
        """Tell it once a question; whoever waits for the first addresses waits no longer."""
        if not self._missed:
            self._missed = True
            log.warning("cannot resolve %s: %s; keeping %s", self.host, why, self.addresses or "nothing")
            self.first.set()

    def _plan(self) -> None:
        """The next question is due a while after the last answer."""
        refresh_s = min((use.refresh_s for use in self.users.values() if use.refresh_s), default=None)
        at = None if refresh_s is None else self._answered_at + refresh_s
        self._set_timer(None if at is None else self._names.loop.call_at(at, self.ask))

    def _set_timer(self, timer: asyncio.TimerHandle | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = timer
