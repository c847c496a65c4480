"""The admin API's listeners: their sockets, their limits, and the two aiohttp applications behind them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from ...config.schema import AdminPart
from ...config.secrets import read
from ..listening import Bound, bind
from .guards import Guards
from .problems import Handler, problems
from .routes import Api

if TYPE_CHECKING:
    from ..control import Control

MAX_BODY_BYTES = 64 * 1024
MAX_HEAD_LINE_BYTES = 8 * 1024
KEEP_ALIVE_S = 15.0
LIFE_S = 60.0  # then a connection ends as soon as it is not being answered: nobody holds one by sending slowly
MAX_CONNECTIONS = 256
SHUTDOWN_S = 1.0


class AdminServer:
    """Mutable state: bound sockets by name, since when each connection is open, which are answered."""

    def __init__(self, control: Control, part: AdminPart, base: str) -> None:
        self.bound: dict[str, Bound] = {}
        self._part = part
        self._base = base
        self._api = Api(control)
        self._runners: list[web.AppRunner] = []
        self._opened_s: dict[object, float] = {}
        self._answered: set[object] = set()

    async def start(self) -> None:
        """Bind and serve. Raises BindError, or ValueError for a token that cannot be read."""
        token = self._part.token
        guards = Guards(self._part.hosts, read(token, self._base) if token is not None else None)
        self.bound["admin"] = bind(self._part.bind, ("admin", "bind"))
        if self._part.probes is not None:
            self.bound["probes"] = bind(self._part.probes.bind, ("admin", "probes", "bind"))
        await self._serve("admin", [*self._api.probes(), *self._api.everything_else()], guards)
        if "probes" in self.bound:
            await self._serve("probes", self._api.probes(), guards)

    async def stop(self) -> None:
        """End every connection and unbind."""
        for runner in self._runners:
            await runner.cleanup()
        for each in self.bound.values():
            each.close()

    def tick(self, now_s: float) -> None:
        """Every second: end the connections that are open for too long, or too many."""
        connections = [each for runner in self._runners if runner.server for each in runner.server.connections]
        self._opened_s = {each: self._opened_s.get(each, now_s) for each in connections}
        for number, connection in enumerate(sorted(connections, key=self._opened_s.__getitem__, reverse=True)):
            too_old = now_s - self._opened_s[connection] > LIFE_S
            if (number >= MAX_CONNECTIONS or too_old) and connection not in self._answered:
                connection.force_close()

    async def _serve(self, name: str, routes: list[web.RouteDef], guards: Guards) -> None:
        app = web.Application(middlewares=[self._mark, problems, guards.middleware], client_max_size=MAX_BODY_BYTES)
        app.add_routes(routes)
        app.on_response_prepare.append(_set_common_fields)
        runner = web.AppRunner(
            app,
            access_log=None,
            handle_signals=False,
            keepalive_timeout=KEEP_ALIVE_S,
            lingering_time=SHUTDOWN_S,
            max_line_size=MAX_HEAD_LINE_BYTES,
            max_field_size=MAX_HEAD_LINE_BYTES,
            shutdown_timeout=SHUTDOWN_S,
        )
        self._runners.append(runner)
        await runner.setup()
        await web.SockSite(runner, self.bound[name].sock).start()

    @web.middleware
    async def _mark(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self._answered.add(request.protocol)
        try:
            return await handler(request)
        finally:
            self._answered.discard(request.protocol)


async def _set_common_fields(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update({"Server": "understudy", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"})
