"""The demo's load, over a server that stands for the proxy."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer

from demo.load import Answer, Load, run
from demo.questions import Question
from demo.users import crowd

QUESTION = Question("/ask", b"?")
KNOWN = {(QUESTION, "stable"): b"by stable", (QUESTION, "canary"): b"by canary"}

Handler = Callable[[web.Request], Awaitable[web.Response]]


def loaded(handler: Handler, *, seconds: float = 0.5) -> tuple[list[Answer], list[int]]:
    """What a load of 100 requests a second came to, and the answers in each report."""
    reports: list[int] = []

    async def report(_: float, answers: Sequence[Answer]) -> None:
        reports.append(len(answers))

    async def play() -> list[Answer]:
        app = web.Application()
        app.router.add_post("/ask", handler)
        async with (
            TestServer(app) as server,
            aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session,
        ):
            return await run(session, Load(f"http://127.0.0.1:{server.port}", crowd(100), KNOWN, seconds, 100), report)

    return asyncio.run(play()), reports


def answer(backend: str, text: str | None = None) -> web.Response:
    return web.Response(text=text or f"by {backend}", headers={"x-understudy-backend": backend})


async def as_configured(request: web.Request) -> web.Response:
    return answer("canary" if "x-employee" in request.headers else "stable")


def test_everybody_asks_at_the_rate_and_is_answered_rightly() -> None:
    answers, reports = loaded(as_configured)

    assert len(answers) == 50
    assert sum(reports) <= 50
    assert [each.complaint for each in answers if each.complaint] == []
    assert {each.backend for each in answers if each.kind == "employee"} <= {"canary"}


def test_nobody_asks_before_his_time() -> None:
    times: list[float] = []

    async def noting(request: web.Request) -> web.Response:
        times.append(asyncio.get_running_loop().time())
        return await as_configured(request)

    loaded(noting)

    assert times[-1] - times[0] > 0.3  # of 0.49 s; the first may be late, and none is early


def test_all_decline_at_first_and_at_last() -> None:
    declined: list[bool] = []

    async def listening(request: web.Request) -> web.Response:
        declined.append("x-no-shadow" in request.headers)
        return await as_configured(request)

    answers, _ = loaded(listening)

    assert Counter(declined)[True] == sum(not each.rehearsed for each in answers)
    assert all(declined[:10])
    assert all(declined[-10:])
    assert not all(declined[10:40])


def test_an_answer_by_somebody_else_is_wrong() -> None:
    turn = iter(range(1000))

    async def fickle(_: web.Request) -> web.Response:
        return answer("stable" if next(turn) % 3 else "canary")

    answers, _ = loaded(fickle, seconds=2)

    assert sum(each.strayed for each in answers) > 20
    assert "belongs to" in next(each.complaint for each in answers if each.strayed and each.complaint)


def test_an_answer_that_the_model_would_not_give_is_wrong() -> None:
    async def damaged(_: web.Request) -> web.Response:
        return answer("stable", "by stabel")

    answers, _ = loaded(damaged)

    assert {each.complaint for each in answers} == {"/ask: not what stable answers without the proxy"}


def test_a_failure_and_a_stranger_are_wrong() -> None:
    async def refusing(_: web.Request) -> web.Response:
        raise web.HTTPServiceUnavailable(text="no_endpoint")

    async def strange(_: web.Request) -> web.Response:
        return answer("next")

    assert {each.complaint for each in loaded(refusing)[0]} == {"/ask: status 503: no_endpoint"}
    assert {each.complaint for each in loaded(strange)[0]} == {"/ask: next answered, who should not"}
