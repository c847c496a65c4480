"""Connections to backends: who takes the next call, over a warm connection or a new one, and what is refused.

A `Target` is one address of one endpoint; a `BackendPool` owns the targets of one backend and outlives snapshots, so
that endpoints which a reload left alone keep their warm connections and their health.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Literal

from ..config.snapshot import Backend, Endpoint
from ..filters.api import Failure
from . import balance
from .dns import Resolver, Use, is_literal
from .opening import Opening, Waiter, why_not
from .telemetry.count import CallTally
from .telemetry.stats import PoolGauge

if TYPE_CHECKING:
    from .http1.upstream import ClientConnection
    from .plane import DataPlane

log = logging.getLogger(__name__)

_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0
_LONGEST_WAIT_S = 120.0


class LimitReached(Failure):
    """A limit of the backend's refused a call at once: it took none of its time, unlike one that waited in vain."""

    def __init__(self, detail: str) -> None:
        super().__init__("overloaded", detail)


class Target:
    """One address of one endpoint.

    Mutable state: `idle`, warm connections, the latest used last; `open`, all of them and those being opened;
    `connecting`, only these, and `unclaimed`, those among them whose waiter left; `in_flight`, calls, and who waits for
    one of `connecting`; `failures` in a row, and `down_until`, before which other targets are preferred, as they are
    afterwards until one call has found out; `gone`, whether a reload or a change of addresses has dropped it.
    """

    __slots__ = (
        "address", "connecting", "context", "down_until", "endpoint", "endpoint_label", "failures", "gone", "idle",
        "in_flight", "label", "open", "pool", "unclaimed",
    )  # fmt: skip

    def __init__(self, pool: BackendPool, endpoint: Endpoint, address: str) -> None:
        self.pool = pool
        self.endpoint = endpoint
        self.address = address
        self.context: ssl.SSLContext | None = None  # of TLS
        self.endpoint_label = endpoint.label
        self.label = endpoint.label if address in (endpoint.host, "") else f"{endpoint.label} ({address})"
        self.idle: list[ClientConnection] = []
        self.open = 0
        self.connecting = 0
        self.unclaimed: list[Opening] = []
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
            or not pool.backend.keep_alive
            or (pool.waited_for and (connection.resting or not connection.silent))
        ):
            connection.discard(abort=False)
        elif connection.resting:
            connection.idle_for(pool.backend.keep_alive)
            self.idle.insert(0, connection)
        elif pool.waited_for:
            pool.serve_waiting(self, connection)
        else:
            connection.idle_for(pool.backend.keep_alive)
            self.idle.append(connection)

    def lost(self, connection: ClientConnection) -> None:
        """The owner's part of a `ClientConnection`: it is gone."""
        self.open -= 1
        if connection in self.idle:
            self.idle.remove(connection)
        self.pool.room()

    def spare(self) -> None:
        """Close a connection that rests, if one does, so that another may be opened in its place."""
        if self.idle:
            self.idle[0].discard(abort=False)

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
        log.warning("backend %s: cannot connect to %s: %s", self.pool.backend.name, self.label, why)

    def succeeded(self) -> None:
        """A connection was opened, in the middle of a pause perhaps, by a request that found no other target."""
        if self.failures:
            self.failures = 0
            self.down_until = 0.0
            log.info("backend %s: connects to %s again", self.pool.backend.name, self.label)


class BackendPool:
    """The targets of one backend and the requests that wait for one.

    Mutable state: `in_flight`, exchanges that chose this backend and are not over, at most `max_in_flight`;
    `_waiting`, those among them for whom every target is at `max_connections`, at most `max_pending`; `_opening`, those
    for whom a connection is being opened (a target opens no more at once than have waited for it at once); `_unnamed`,
    those who wait for a name's first address; `_waking`, whether room is just being given away.
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
        self._opening: dict[Waiter, Opening] = {}
        self._unnamed: dict[Waiter, asyncio.Task[None]] = {}
        self._waking = False
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
        """Take a place among the exchanges in flight. Raises LimitReached."""
        if self.in_flight >= self.backend.max_in_flight:
            raise LimitReached(f"backend {self.backend.name} has {self.backend.max_in_flight} calls in flight")
        self.in_flight += 1

    def exit(self) -> None:
        """Give the place back."""
        self.in_flight -= 1

    def forget(self, waiter: Waiter) -> None:
        """It waits for a connection no longer, if it did. One that is being opened for it is the next one's."""
        if waiter in self._opening:
            opening = self._opening.pop(waiter)
            opening.waiter = None
            opening.target.in_flight -= 1
            opening.target.unclaimed.append(opening)
            self.room()
        elif waiter in self._waiting:
            self._waiting.pop(waiter).cancel()
        elif waiter in self._unnamed:
            self._unnamed.pop(waiter).cancel()

    def _waited_enough(self, waiter: Waiter) -> None:
        del self._waiting[waiter]
        waiter.unavailable(Failure("overloaded", f"no connection to backend {self.backend.name} came free"), None)

    def leave(self, target: Target | None) -> None:
        """A call on this target is over."""
        if target is not None:
            target.in_flight -= 1

    def stats_of(self, route: str, arm: str, backend: Backend) -> CallTally:
        """Where the calls of this route and arm are counted, to the backend as the exchange's snapshot has it."""
        if backend is not self.backend:
            return self._plane.stats.call(route, backend.name, backend.version, "live", arm)
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
        if not self.targets:
            self._unnamed[waiter] = self._plane.spawn_task(self._connect_when_resolved(waiter))
        elif not self._serve(waiter, tried, fresh):
            self._wait(waiter)

    def _serve(self, waiter: Waiter, tried: Sequence[Target] = (), fresh: bool = False) -> bool:
        """Hand out a warm connection or open another; False where neither may be."""
        targets = self.targets
        target = targets[0] if len(targets) == 1 else self._pick(balance.without(targets, tried) or targets)
        connection = None if fresh else target.warm()
        if connection is None and self._full(target):
            target.spare()
            if self._full(target):  # still, or again: who waited is first
                return False
        if self._waiting and waiter in self._waiting:
            self._waiting.pop(waiter).cancel()
        if connection is None:
            self._open(target, waiter)
        else:
            target.in_flight += 1
            waiter.connected(connection, target)
        return True

    @property
    def waited_for(self) -> bool:
        """Whether any request waits for a connection."""
        return bool(self._waiting)

    def serve_waiting(self, target: Target, connection: ClientConnection) -> None:
        """Hand a freed connection to a request that waits for one."""
        waiter = next(iter(self._waiting))
        self._waiting.pop(waiter).cancel()
        connection.reused = True
        target.in_flight += 1
        waiter.connected(connection, target)

    def room(self) -> None:
        """A connection is gone, or more are allowed: as many of those that wait as there is room for get one."""
        if self._waking:
            return
        self._waking = True
        try:
            while self._waiting and self.targets and self._serve(next(iter(self._waiting))):
                pass
        finally:
            self._waking = False

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
        """Whether no connection may be opened, and none is being opened for nobody."""
        limit = self.backend.max_connections
        return limit > 0 and target.open >= limit and not target.unclaimed

    def _wait(self, waiter: Waiter) -> None:
        if len(self._waiting) >= self.backend.max_pending:
            detail = f"{len(self._waiting)} requests wait for backend {self.backend.name}"
            waiter.unavailable(LimitReached(detail), None)
        else:
            patience_s = self.backend.first_byte_timeout or _LONGEST_WAIT_S
            self._waiting[waiter] = self._plane.loop.call_later(patience_s, self._waited_enough, waiter)

    def _open(self, target: Target, waiter: Waiter) -> None:
        """Open a connection for it, or let it have one that is being opened for nobody: clients that come and go must
        not make ever more of them."""
        target.in_flight += 1
        if target.unclaimed:
            opening = target.unclaimed.pop()  # the latest, which has the most time left
        else:
            opening = Opening(target)
            target.open += 1
            target.connecting += 1
            self._plane.spawn_task(self._run(opening, target))
        opening.waiter = waiter
        self._opening[waiter] = opening

    async def _run(self, opening: Opening, target: Target) -> None:
        why = "closed at once"
        try:
            connection = await opening.connection(self._plane)
            usable = connection.usable
        except Exception as error:  # OSError, TimeoutError, and whatever a name or a certificate may provoke
            usable = False
            why = why_not(error)
        target.connecting -= 1
        waiter = opening.waiter
        if waiter is None:
            target.unclaimed.remove(opening)
        else:
            del self._opening[waiter]
        if usable:
            connection.adopt()
            target.succeeded()
            if waiter is None:
                target.freed(connection)
            else:
                waiter.connected(connection, target)
            return
        target.open -= 1
        if waiter is not None:
            target.in_flight -= 1
        target.failed(self._plane.wheel.now, why)
        self.room()
        if waiter is not None:
            waiter.unavailable(Failure("connect_failed", f"backend {self.backend.name} cannot be reached"), target)

    async def _connect_when_resolved(self, waiter: Waiter) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self.backend.connect_timeout or None):
                for resolver in list(self._resolvers.values()):
                    await resolver.first.wait()
        del self._unnamed[waiter]
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
                target = known.pop((endpoint, address), None) or Target(self, endpoint, address)
                if endpoint.tls is not None:
                    target.context = self._plane.contexts[endpoint.tls]
                targets.append(target)
        self.targets = targets
        for target in known.values():
            target.gone = True
            for connection in list(target.idle):
                connection.discard(abort=False)
        self.room()
