"""Connections to backends: who takes the next call, over a warm connection or a new one, and what is refused.

A `Target` is one address of one endpoint; a `BackendPool` owns the targets of one backend and outlives snapshots, so
that endpoints which a reload left alone keep their warm connections and their health.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal, cast

from ..config.snapshot import Backend, Endpoint
from ..filters.api import Failure
from . import balance
from .dns import Resolver, Use, is_literal
from .http1.upstream import ClientConnection
from .telemetry.count import CallTally
from .telemetry.stats import PoolGauge
from .traits import trait

if TYPE_CHECKING:
    from .exchange import Call
    from .plane import DataPlane

log = logging.getLogger(__name__)

_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0
_LONGEST_WAIT_S = 120.0
_COPY_BUFFER_BYTES = 128 * 1024
"""How much the kernel keeps for one copy (it doubles the number). Left alone, it grows to megabytes for each of the
hundreds of copies of a shadow that hangs: memory that no budget counts, and whose allocation slows live requests."""


@trait
class Waiter:
    """Who asked for a connection; hears one of the two for each time it asked, be it over by then or not."""

    def connected(self, call: Call, target: Target) -> None:
        raise NotImplementedError

    def unavailable(self, failure: Failure, target: Target | None) -> None:
        raise NotImplementedError


class Target:
    """One address of one endpoint.

    Mutable state: `idle`, warm connections, the latest used last; `open`, all of them and those being opened;
    `in_flight`, calls; `failures` in a row, and `down_until`, before which other targets are preferred, as they are
    afterwards until one call has found out; `gone`, whether a reload or a change of addresses has dropped it.
    """

    __slots__ = (
        "address", "backend", "connecting", "context", "down_until", "endpoint", "failures", "gone", "idle",
        "in_flight", "label", "open", "pool",
    )  # fmt: skip

    def __init__(self, pool: BackendPool, endpoint: Endpoint, address: str, backend: Backend) -> None:
        self.pool = pool
        self.endpoint = endpoint
        self.address = address
        self.backend = backend
        self.context: ssl.SSLContext | None = None  # of TLS
        self.label = endpoint.label if address in (endpoint.host, "") else f"{endpoint.label} ({address})"
        self.idle: list[ClientConnection] = []
        self.open = 0
        self.connecting = 0
        self.in_flight = 0
        self.failures = 0
        self.down_until = 0.0
        self.gone = False

    def warm(self) -> ClientConnection | None:
        """The warm connection used last; those that rest stand in front, so that they are taken last."""
        idle = self.idle
        while idle and not idle[-1].resting:
            connection = idle.pop()
            if connection.usable and connection.silent:
                return connection
            connection.discard()
        return None

    def freed(self, connection: ClientConnection) -> None:
        """The owner's part of a `ClientConnection`: it may serve another call."""
        pool = self.pool
        if (
            pool.closed
            or self.gone
            or not self.backend.keep_alive
            or (pool.waited_for and (connection.resting or not connection.silent))
        ):
            connection.discard(abort=False)
        elif connection.resting:
            connection.idle_for(self.backend.keep_alive)
            self.idle.insert(0, connection)
        elif not pool.waited_for or not pool.serve_waiting(self, connection):
            connection.idle_for(self.backend.keep_alive)
            self.idle.append(connection)

    def lost(self, connection: ClientConnection) -> None:
        """The owner's part of a `ClientConnection`: it is gone."""
        self.open -= 1
        if connection in self.idle:
            self.idle.remove(connection)
        self.pool.room()

    def spare(self) -> bool:
        """Close a connection that rests, so that another may be opened in its place; False where none does."""
        if self.idle:
            self.idle[0].discard(abort=False)
            return True
        return False

    def ready(self, now: float) -> bool:
        """Whether a call may be sent here rather than elsewhere: nothing failed lately or, after a pause, nobody is
        finding out yet. One who does ends it by connecting or failing, at `connect_timeout` at the latest, whatever
        becomes of his client."""
        return not self.failures or (self.down_until <= now and not self.connecting)

    def failed(self, now: float, why: str) -> None:
        """A connection could not be opened: prefer others for a while, the longer the oftener. The log has a line for
        each such while, not for each request that is refused in it."""
        if now < self.down_until:
            return  # one of a burst that began before the first of it failed, or nobody else is there to be asked
        self.failures += 1
        self.down_until = now + min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2 ** min(self.failures - 1, 10))
        log.warning("backend %s: cannot connect to %s: %s", self.backend.name, self.label, why)

    def succeeded(self) -> None:
        """A connection was opened, in the middle of a pause perhaps, by a request that found no other target."""
        if self.failures:
            self.failures = 0
            self.down_until = 0.0
            log.info("backend %s: connects to %s again", self.backend.name, self.label)

    async def open_connection(self, plane: DataPlane) -> ClientConnection:
        """A new connection. Raises OSError (ssl.SSLError among them) or TimeoutError."""
        loop, tls, endpoint = plane.loop, self.endpoint.tls, self.endpoint
        context = self.context
        name = (tls.server_name or endpoint.host) if tls is not None else None

        def protocol() -> Any:  # a Protocol by its methods: a compiled class cannot inherit from asyncio's
            return ClientConnection(self, plane.wheel)

        async with asyncio.timeout(self.backend.connect_timeout or None):
            if endpoint.unix is not None:
                _, connection = await loop.create_unix_connection(
                    protocol, endpoint.unix, ssl=context, server_hostname=name
                )
            else:
                _, connection = await loop.create_connection(
                    protocol, self.address, endpoint.port, ssl=context, server_hostname=name
                )
        if self.pool.role == "shadow" and connection.transport is not None:
            sock = connection.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _COPY_BUFFER_BYTES)
        return cast(ClientConnection, connection)


class BackendPool:
    """The targets of one backend and the requests that wait for one.

    Mutable state: `in_flight`, exchanges that chose this backend and are not over, at most `max_in_flight`;
    `_waiting`, those among them for whom every target is at `max_connections`, at most `max_pending`.
    """

    def __init__(
        self, plane: DataPlane, backend: Backend, role: Literal["live", "shadow"] = "live", asked: bool = True
    ) -> None:
        self._plane = plane
        self.backend = backend
        self.role = role
        self.in_flight = 0
        self.closed = False
        self.targets: list[Target] = []
        self._waiting: dict[Waiter, asyncio.TimerHandle] = {}  # in the order in which they came
        self._resolvers: dict[str, Resolver] = {}  # by the name of a host
        self._turn = 0
        self._stats: dict[tuple[str, str], CallTally] = {}
        self.configure(backend, asked)

    def configure(self, backend: Backend, asked: bool = True) -> None:
        """Take over a new snapshot's values; targets of unchanged endpoints stay as they are. `asked`: for answers that
        clients get, and not for copies alone."""
        self.backend = backend
        self._stats.clear()
        hosts = {each.host for each in backend.endpoints if not is_literal(each)}
        for host in [each for each in self._resolvers if each not in hosts]:
            self._resolvers.pop(host).leave(self)
        use = Use(backend.dns_refresh, asked and self.role == "live", self._rebuild)
        for host in hosts:
            self._resolvers[host] = self._plane.names.resolver(host, self, use)
        self._rebuild()

    def close(self) -> None:
        """The backend is in no snapshot any more: idle connections close now, the others after their call."""
        self.closed = True
        while self._resolvers:
            self._resolvers.popitem()[1].leave(self)
        for target in self.targets:
            for connection in list(target.idle):
                connection.discard(abort=False)

    def enter(self) -> None:
        """Take a place among the exchanges in flight. Raises Failure("overloaded")."""
        if self.in_flight >= self.backend.max_in_flight:
            raise Failure("overloaded", f"backend {self.backend.name} has {self.backend.max_in_flight} calls in flight")
        self.in_flight += 1

    def exit(self) -> None:
        """Give the place back."""
        self.in_flight -= 1

    def forget(self, waiter: Waiter) -> None:
        """It waits for a connection no longer, if it did."""
        if self._waiting and waiter in self._waiting:
            self._waiting.pop(waiter).cancel()

    def _next_waiting(self) -> Waiter:
        waiter = next(iter(self._waiting))
        self._waiting.pop(waiter).cancel()
        return waiter

    def _waited_enough(self, waiter: Waiter) -> None:
        del self._waiting[waiter]
        waiter.unavailable(Failure("overloaded", f"no connection to backend {self.backend.name} came free"), None)

    def leave(self, target: Target | None) -> None:
        """A call on this target is over."""
        if target is not None:
            target.in_flight -= 1

    def stats_of(self, route: str, arm: str) -> CallTally:
        """Where the calls of this route and arm to this backend are counted."""
        stats = self._stats.get((route, arm))
        if stats is None:
            stats = self._plane.stats.call(route, self.backend.name, self.backend.version, "live", arm)
            self._stats[route, arm] = stats
        return stats

    def available(self) -> bool:
        """Whether any target is ready; names that are not resolved yet may turn out to be up."""
        now = self._plane.wheel.now
        for target in self.targets:
            if target.ready(now):
                return True
        return not self.targets

    def has_other(self, tried: Sequence[Target]) -> bool:
        """Whether there is a target not tried yet."""
        return bool(balance.without(self.targets, tried))

    def connect(self, waiter: Waiter, tried: Sequence[Target] = (), fresh: bool = False) -> None:
        """Find a target and a connection; the waiter hears of it at once or later."""
        targets = self.targets
        if not targets:
            self._plane.spawn_task(self._connect_when_resolved(waiter))
            return
        target = targets[0] if len(targets) == 1 else self._pick(balance.without(targets, tried) or targets)
        connection = None if fresh else target.warm()
        if connection is not None:
            target.in_flight += 1
            waiter.connected(connection, target)
        elif self._full(target) and not target.spare():
            self._wait(waiter)
        else:
            self._open(target, waiter)

    @property
    def waited_for(self) -> bool:
        """Whether any request waits for a connection."""
        return bool(self._waiting)

    def serve_waiting(self, target: Target, connection: ClientConnection) -> bool:
        """Hand a freed connection to a request that waits for one."""
        if target not in self.targets:
            return False
        waiter = self._next_waiting()
        connection.reused = True
        target.in_flight += 1
        waiter.connected(connection, target)
        return True

    def room(self) -> None:
        """A connection is gone: one that waits may open another."""
        if self._waiting:
            self.connect(self._next_waiting())

    def gauges(self) -> list[PoolGauge]:
        """One line per target."""
        now = self._plane.wheel.now
        return [
            PoolGauge(
                backend=self.backend.name,
                endpoint=target.label,
                role=self.role,
                active=target.open - target.connecting - len(target.idle),
                idle=len(target.idle),
                connecting=target.connecting,
                pending=len(self._waiting) if target is self.targets[0] else 0,  # they wait for any of them
                up=target.ready(now),
            )
            for target in self.targets
        ]

    def _pick(self, targets: Sequence[Target]) -> Target:
        now = self._plane.wheel.now
        up = [target for target in targets if target.ready(now)] or targets
        if self.backend.max_connections:
            up = [target for target in up if target.idle or not self._full(target)] or up
        if self.backend.balance == "round_robin":
            self._turn += 1
            return balance.round_robin(up, self._turn)
        return balance.least_request(up, self._plane.below)

    def _full(self, target: Target) -> bool:
        limit = self.backend.max_connections
        return limit > 0 and target.open >= limit

    def _wait(self, waiter: Waiter) -> None:
        if len(self._waiting) >= self.backend.max_pending:
            waiter.unavailable(
                Failure("overloaded", f"{len(self._waiting)} requests wait for backend {self.backend.name}"), None
            )
        else:
            patience_s = self.backend.first_byte_timeout or _LONGEST_WAIT_S
            self._waiting[waiter] = self._plane.loop.call_later(patience_s, self._waited_enough, waiter)

    def _open(self, target: Target, waiter: Waiter) -> None:
        target.in_flight += 1
        target.open += 1
        target.connecting += 1
        self._plane.spawn_task(self._open_for(target, waiter))

    async def _open_for(self, target: Target, waiter: Waiter) -> None:
        why = "closed at once"
        try:
            connection = await target.open_connection(self._plane)
            usable = connection.usable
        except Exception as error:  # OSError, TimeoutError, and whatever a name or a certificate may provoke
            usable = False
            why = _why(error)
        target.connecting -= 1
        if usable:
            connection.adopt()
            target.succeeded()
            waiter.connected(connection, target)
            return
        target.open -= 1
        target.in_flight -= 1
        target.failed(self._plane.wheel.now, why)
        self.room()
        waiter.unavailable(Failure("connect_failed", f"backend {self.backend.name} cannot be reached"), target)

    async def _connect_when_resolved(self, waiter: Waiter) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self.backend.connect_timeout or None):
                for resolver in list(self._resolvers.values()):
                    await resolver.first.wait()
        if self.targets:
            self.connect(waiter)
        else:
            waiter.unavailable(Failure("connect_failed", f"backend {self.backend.name} has no address"), None)

    def _rebuild(self) -> None:
        known = {(target.endpoint, target.address): target for target in self.targets}
        targets = []
        for endpoint in self.backend.endpoints:
            resolver = self._resolvers.get(endpoint.host)
            for address in resolver.addresses if resolver is not None else (endpoint.host,):
                target = known.pop((endpoint, address), None) or Target(self, endpoint, address, self.backend)
                target.backend = self.backend
                if endpoint.tls is not None:
                    target.context = self._plane.contexts[endpoint.tls]
                targets.append(target)
        self.targets = targets
        for target in known.values():
            target.gone = True
            for connection in list(target.idle):
                connection.discard(abort=False)


def _why(error: BaseException) -> str:
    return "timed out" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
