"""What the admin API answers, by method and path."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

from ..explain import Question, Wrong
from ..giving_way import in_turns, turns
from ..telemetry.exposition import CONTENT_TYPE, render
from ..telemetry.families import families
from . import views
from .compared import compare_of, moment_of
from .explained import Explaining
from .measured import sources_of
from .problems import problem

if TYPE_CHECKING:
    from ..control import Control

RELOAD_WITHIN_S = 90.0
_LATER = ("/ledger", "/overrides", "/ledger/settle")


class Api:
    """Reads control; the only writes are to ask it for a reload, a drain or a new epoch."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._explaining = Explaining(control)

    def probes(self) -> list[web.RouteDef]:
        """What may be open to the pod network."""
        return [
            web.get("/livez", self._livez),
            web.get("/readyz", self._readyz),
            web.get("/metrics", self._metrics),
            web.get("/compare", self._compare),
        ]

    def everything_else(self) -> list[web.RouteDef]:
        """What is for the operator alone."""
        return [
            web.get("/status", self._status),
            web.get("/config", self._config),
            web.post("/drain", self._drain),
            web.post("/explain", self._explain),
            web.post("/reload", self._reload),
            web.post("/compare/reset", self._reset),
            *(web.route("*", path, _not_active) for path in _LATER),
        ]

    async def _livez(self, _: web.Request) -> web.Response:
        return _json({"state": "live"})

    async def _readyz(self, _: web.Request) -> web.Response:
        state = self._control.state
        if state == "ready":
            return _json({"state": state})
        return problem(503, f"the program is {state}", state=state)

    async def _metrics(self, _: web.Request) -> web.Response:
        page = render(families(await in_turns(sources_of(self._control))))
        return web.Response(body=_streamed(page), headers={"Content-Type": CONTENT_TYPE})

    async def _compare(self, _: web.Request) -> web.Response:
        moment = await in_turns(moment_of(self._control))
        return _json(await in_turns(compare_of(self._control, moment)))

    async def _reset(self, _: web.Request) -> web.Response:
        if self._control.state != "ready":
            return problem(503, f"the program is {self._control.state}")
        self._control.begin_epoch("reset")
        return _json({"epoch": self._control.epochs.current})

    async def _status(self, __: web.Request) -> web.Response:
        status, _ = await in_turns(views.status_of(self._control))
        return _json(status)

    async def _config(self, _: web.Request) -> web.Response:
        return _json(views.config_of(self._control))

    async def _drain(self, request: web.Request) -> web.Response:
        self._control.ask_drain(f"POST /drain by {request.remote or 'a local peer'}")
        return _json({"state": "draining"}, 202)

    async def _explain(self, request: web.Request) -> web.Response:
        try:
            question = msgspec.json.decode(await request.read(), type=Question)
            return _json(await self._explaining.answer(question))
        except (Wrong, ValueError, msgspec.DecodeError) as wrong:
            return problem(422, str(wrong))

    async def _reload(self, _: web.Request) -> web.Response:
        if self._control.state != "ready":
            return problem(503, f"the program is {self._control.state}")
        asked = self._control.ask_reload()
        if asked is None:
            return problem(503, "too many reloads are waiting")
        try:
            mistakes = await asyncio.wait_for(asked, RELOAD_WITHIN_S)
        except TimeoutError:
            return problem(504, "the reload was not done in time")
        if mistakes:
            return problem(422, "the configuration was refused; the one before it serves on", mistakes=mistakes)
        running = self._control.configuration.running
        assert running is not None
        return _json({"hash": running.hash, "version": running.version, "warnings": running.warnings})


async def _not_active(request: web.Request) -> web.Response:
    return problem(501, f"{request.path} is not active yet")


async def _streamed(page: Iterator[str]) -> AsyncIterator[bytes]:
    async for lines in turns(page):
        yield "".join(lines).encode()


def _json(value: Any, status: int = 200) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(value) + b"\n", content_type="application/json")
