"""The data plane of one worker: everything that serves requests, wired together, and owned by nothing else."""

from __future__ import annotations

import asyncio
import email.utils
import ipaddress
import logging
import os
import random
import socket
import ssl
from collections.abc import Coroutine, Generator
from time import monotonic
from typing import Any, Final

from ..config.snapshot import Backend, Chain, Listener, Route, Snapshot, Tls
from ..filters.api import Failure, KeyTally, Request
from . import trace
from .dns import Names
from .http1.downstream import ServerConnection
from .lane import Lane
from .pipeline import LiveExchange
from .pool import BackendPool
from .rescue import status_of
from .telemetry.account import Waiting
from .telemetry.count import NEVER
from .telemetry.places import Places
from .telemetry.slowness import Slowness
from .telemetry.spans import Spans
from .telemetry.stats import Gauges, ListenerGauge, Stats
from .telemetry.teller import Teller
from .timers import Wheel
from .tls import Contexts

log = logging.getLogger(__name__)

_MAX_TASKS = 10_000
_CUT_S = 1.0  # how long connections that were cut may take to say so
_UNKNOWN: Final = "unknown"
_DRAWN_AT_ONCE: Final = 5120  # hexadecimal digits of ids
_NO_BACKEND = Backend(name="", version="", endpoints=())
_NO_ROUTE = Route(name="", backend=_NO_BACKEND, chain=Chain())


class Port:
    """A listener as this worker serves it. Mutable state: its values as of the last snapshot, its open connections."""

    def __init__(self, plane: DataPlane, listener: Listener) -> None:
        self.plane = plane
        self.listener = listener
        self.scheme = b"http"
        self.unix = False
        self.number = 0  # of the TCP port; 0 for a Unix socket
        self.connections: set[ServerConnection] = set()
        self.servers: list[asyncio.Server] = []
        self.accepted = 0
        self.refused = 0

    def accept(self) -> Any:
        """The protocol of a new connection: by its methods, since a compiled class cannot inherit from asyncio's."""
        self.accepted += 1
        return ServerConnection(self.plane, self)

    def opened(self, connection: ServerConnection) -> bool:
        """Enter the connection; False where the listener is full: who is refused takes no place."""
        if len(self.connections) >= self.listener.max_connections:
            self.refused += 1
            return False
        self.connections.add(connection)
        return True

    def closed(self, connection: ServerConnection) -> None:
        """The connection is gone."""
        self.connections.discard(connection)
        self.plane.connection_closed()

    def peer(self, transport: asyncio.BaseTransport) -> str:
        """The peer's address. One that has reset the connection by now has none any more."""
        if self.unix:
            return "unix"
        name = transport.get_extra_info("peername")
        return name[0] if isinstance(name, tuple) else _UNKNOWN

    def trusts(self, client: str) -> bool:
        """Whether the listener, as it is configured now, believes what the peer at this address says of others."""
        if self.unix:
            return self.listener.trust_unix
        if not self.listener.trust or client == _UNKNOWN:
            return False
        address: Any = ipaddress.ip_address(client.partition("%")[0])
        address = getattr(address, "ipv4_mapped", None) or address
        return any(address in network for network in self.listener.trust)


class DataPlane:
    """Serves the listeners of the current snapshot. It is also the `Services` lent to filters.

    Mutable state: the snapshot (replaced by one store), ports by listener name, pools by backend name (both outlive
    snapshots), and the supervised tasks.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, stats: Stats) -> None:
        self.loop = loop
        self.stats = stats
        self.wheel = Wheel(loop)
        self.wheel.start()
        self.rng = random.Random()
        self.below = self.rng.randrange
        self.secret = bytes(32)
        self.snapshot: Snapshot | None = None
        self.draining = False
        self._ports: dict[str, Port] = {}
        self.pools: dict[str, BackendPool] = {}  # replaced as a whole: an exchange keeps those it began with
        self.lanes: dict[str, list[Lane]] = {}  # the shadows of each route, replaced as a whole
        self._former_lanes: list[Lane] = []  # that a reload took away while copies were under way
        self.version = 0
        self.names = Names(loop, self.spawn_task)
        self.waiting = Waiting(self.wheel)
        self._slowness = Slowness(self.wheel, stats.calls)
        self.teller: Teller | None = None  # None: control is told of no exchange
        self._tasks: set[asyncio.Task[None]] = set()
        self.contexts: dict[Tls, ssl.SSLContext] = {}  # of the snapshot's endpoints
        self._contexts = Contexts()
        self._prepared: tuple[Snapshot, dict[Tls, ssl.SSLContext]] | None = None
        self._digits = b""
        self._digits_used = 0
        self._emptied = asyncio.Event()
        self._date = b""
        self._date_until = 0.0

    # Services for filters.

    @property
    def services(self) -> DataPlane:
        """What filters may use: `Services` of filters/api.py."""
        return self

    def now(self) -> float:
        """Monotonic seconds."""
        return monotonic()

    def count(self, name: str, by: int = 1) -> None:
        """Add to a named counter."""
        self.stats.count(name, by)

    def available(self, backend: str) -> bool:
        """Whether any endpoint of this backend is not known to be down; False for one that a reload took away."""
        pool = self.pools.get(backend)
        return pool is not None and pool.available()

    def key_use(self, experiment: str) -> KeyTally:
        """How the keys of this split are spread."""
        return self.stats.key_use(experiment)

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Supervised work that outlives its exchange. Raises Failure("overloaded") at the bound."""
        if len(self._tasks) >= _MAX_TASKS:
            work.close()
            raise Failure("overloaded", "too much work is running beside the requests")
        self.spawn_task(work).set_name(name)

    def spawn_task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A task whose end is noticed, and whose failure is logged."""
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)
        return task

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("task %s failed", task.get_name(), exc_info=error)

    # Configuration.

    def preparing(self, snapshot: Snapshot) -> Generator[None, None, None]:
        """Make what its connections will need, pausing for the loop. Raises OSError for unreadable certificates."""
        endpoints = (each for backend in snapshot.backends.values() for each in backend.endpoints)
        contexts = yield from self._contexts.making({each.tls for each in endpoints if each.tls is not None})
        self._prepared = snapshot, contexts

    def apply(self, snapshot: Snapshot) -> None:
        """Serve by this snapshot from now on; exchanges under way finish by theirs."""
        if self._prepared is None or self._prepared[0] is not snapshot:
            for _ in self.preparing(snapshot):
                pass
        assert self._prepared is not None
        (_, self.contexts), self._prepared = self._prepared, None
        pools: dict[str, BackendPool] = {}
        for name, backend in snapshot.backends.items():
            pool = self.pools.get(name)
            if pool is None:
                pool = BackendPool(self, backend, asked=name not in snapshot.only_shadows)
            else:
                pool.configure(backend, name not in snapshot.only_shadows)
            pools[name] = pool
        for name, pool in self.pools.items():
            if name not in pools:
                pool.close()
        self.pools = pools
        self._apply_mirrors(snapshot)
        for name, port in self._ports.items():
            if name in snapshot.listeners:
                port.listener = snapshot.listeners[name]
        self.snapshot = snapshot
        self.version = snapshot.version
        self.teller = self._teller(snapshot)

    def _teller(self, snapshot: Snapshot) -> Teller | None:
        settings, stats = snapshot.telemetry, self.stats
        self._slowness.turn(settings is not None and settings.over_p99)
        if settings is None:
            return None
        spans = Spans(Places(snapshot), settings.traced_fields)
        return Teller(settings, self.rng.random, self.span_id, stats.records, spans, stats.counters, self.waiting)

    def _apply_mirrors(self, snapshot: Snapshot) -> None:
        former = {(lane.route, lane.shadow.backend.name): lane for lanes in self.lanes.values() for lane in lanes}
        lanes: dict[str, list[Lane]] = {}
        for route in snapshot.routes:
            mirror = route.mirror
            if mirror is None:
                continue
            for name, shadow in mirror.shadows.items():
                lane = former.pop((route.name, name), None)
                if lane is None:
                    lane = Lane(self, route.name, mirror, shadow)
                else:
                    lane.configure(mirror, shadow)
                lanes.setdefault(route.name, []).append(lane)
        for lane in former.values():
            lane.close()
        self._former_lanes = [lane for lane in (*self._former_lanes, *former.values()) if lane.copies]
        self.lanes = lanes

    async def listen(self, name: str, sock: socket.socket) -> None:
        """Serve this listener of the snapshot on a bound, listening socket, which stays the caller's to keep."""
        assert self.snapshot is not None
        port = self._ports.get(name)
        if port is None:
            port = self._ports[name] = Port(self, self.snapshot.listeners[name])
        port.unix = sock.family == socket.AF_UNIX
        if port.unix:
            server = await self.loop.create_unix_server(port.accept, sock=sock)
        else:
            port.number = sock.getsockname()[1]
            server = await self.loop.create_server(port.accept, sock=sock, backlog=4096)
        port.servers.append(server)

    def unlisten(self, name: str) -> None:
        """Take no more connections on this listener; those that are open end after their answer."""
        port = self._ports.get(name)
        if port is not None:
            for server in port.servers:
                server.close()
            port.servers.clear()
            for connection in list(port.connections):
                connection.drain()

    async def drain(self, grace_s: float) -> None:
        """Close idle connections, let answers under way end within the grace period, then cut what is left."""
        self.draining = True
        for name in self._ports:
            self.unlisten(name)
        if not await self._emptied_within(grace_s):
            left = [each for port in self._ports.values() for each in port.connections]
            log.warning("drain: the grace period is over, cutting %d connections", len(left))
            for connection in left:
                connection.cut()
            await self._emptied_within(_CUT_S)
        for lane in (*self._former_lanes, *(lane for lanes in self.lanes.values() for lane in lanes)):
            lane.cut()
            lane.close()
        for pool in self.pools.values():
            pool.close()

    async def _emptied_within(self, seconds: float) -> bool:
        if self.open_connections():
            try:
                await asyncio.wait_for(self._emptied.wait(), seconds)
            except TimeoutError:
                return False
        return True

    def open_connections(self) -> int:
        """Client connections, all ports together."""
        return sum(len(port.connections) for port in self._ports.values())

    def connection_closed(self) -> None:
        """Called by a port."""
        if self.draining and not self.open_connections():
            self._emptied.set()

    def gauges(self) -> Gauges:
        """What is open now; the statistics of copies say what is held now, too."""
        for lane in (lane for lanes in self.lanes.values() for lane in lanes):
            lane.observe()
        return Gauges(
            pools=[gauge for pool in self._all_pools() for gauge in pool.gauges()],
            listeners=[
                ListenerGauge(name, len(port.connections), port.accepted, port.refused)
                for name, port in self._ports.items()
            ],
        )

    def _all_pools(self) -> list[BackendPool]:
        return [*self.pools.values(), *(lane.pool for lanes in self.lanes.values() for lane in lanes)]

    # For connections and exchanges.

    def open(
        self, connection: ServerConnection, request: Request, started: float, spans: trace.Context,
        upgrade: bytes | None,
    ) -> LiveExchange:  # fmt: skip
        """Open the exchange of one request, by the snapshot of this moment."""
        snapshot = self.snapshot
        assert snapshot is not None
        route = snapshot.match(request) or _NO_ROUTE
        return LiveExchange(self, connection, request, route, started, spans, upgrade)

    def refused(self, failure: Failure, connection: ServerConnection, read: bool) -> bytes:
        """Count what never became an exchange, and tell control of it where a whole head was `read`; returns the id of
        its answer."""
        status = status_of(failure)
        self.stats.call("", "", "").record(status, failure.reason, NEVER, 0.0, 0, 0)
        request_id, trace_id, span_id = self.ids()
        if read and self.teller is not None:
            context = trace.Context(trace_id, span_id)
            self.teller.refuse(context, failure, status, request_id, connection.client, connection.port)
        return request_id

    def ids(self) -> tuple[bytes, bytes, bytes]:
        """A request id and a trace id of 32 hexadecimal digits, a span id of 16."""
        at = self._draw(80)
        digits = self._digits
        return digits[at : at + 32], digits[at + 32 : at + 64], digits[at + 64 : at + 80]

    def span_id(self) -> bytes:
        """16 hexadecimal digits of one more span."""
        at = self._draw(16)
        return self._digits[at : at + 16]

    def _draw(self, count: int) -> int:
        """Where among `_digits` so many stand that nobody had yet."""
        at = self._digits_used
        if at + count > len(self._digits):
            self._digits = os.urandom(_DRAWN_AT_ONCE // 2).hex().encode()
            at = 0
        self._digits_used = at + count
        return at

    def date(self) -> bytes:
        """The Date of an answer, RFC 9110 section 6.6.1, made anew once a second."""
        if self.wheel.now >= self._date_until:
            self._date = email.utils.formatdate(usegmt=True).encode()
            self._date_until = self.wheel.now + 1.0
        return self._date
