"""The traffic of the tutorial, over a server that stands for the proxy."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from demo import traffic

Handler = Callable[[web.Request], Awaitable[web.Response]]


def sent(handler: Handler, *options: str) -> int:
    """The exit status of 40 requests by 10 users."""

    async def play() -> int:
        app = web.Application()
        app.router.add_post("/v2/models/iris/infer", handler)
        async with TestServer(app) as server:
            arguments = [f"http://127.0.0.1:{server.port}", "--users", "10", "--rate", "200", "--seconds", "0.2"]
            return await asyncio.to_thread(traffic.main, [*arguments, *options])

    return asyncio.run(play())


def answer(backend: str) -> web.Response:
    return web.Response(headers={"x-understudy-backend": backend})


def test_it_tells_who_answered_whom(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def by_name(request: web.Request) -> web.Response:
        return answer("canary" if request.headers["x-user-id"] in ("user-3", "user-7") else "stable")

    status = sent(by_name, "--who", str(tmp_path / "who"))

    assert status == 0
    assert "40 answers to 10 users: canary 8 (20.0%), stable 32 (80.0%); p50 " in capsys.readouterr().out
    lines = (tmp_path / "who").read_text().splitlines()
    assert len(lines) == 10
    assert [line for line in lines if "canary" in line] == ["user-3 canary", "user-7 canary"]


def test_it_tells_of_users_who_went_back_and_forth(capsys: pytest.CaptureFixture[str]) -> None:
    turn = iter(range(100))

    async def fickle(_: web.Request) -> web.Response:
        return answer("canary" if next(turn) < 3 else "stable")

    assert sent(fickle) == 0
    assert "users who met more than one backend: 3" in capsys.readouterr().out


def test_what_is_no_answer_is_told_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    async def refusing(_: web.Request) -> web.Response:
        raise web.HTTPServiceUnavailable()

    assert sent(refusing) == 1
    assert "0 answers to 0 users: nobody; 40 times status 503" in capsys.readouterr().out
