"""The whole of /metrics: the same bytes as ever, and made in small pieces however many names there are."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Generator
from pathlib import Path
from typing import Any

import pytest
from aiohttp.payload import AsyncIterablePayload
from understudy.proxy import giving_way
from understudy.proxy.admin.measured import families_of, sources_of
from understudy.proxy.admin.routes import Api
from understudy.proxy.giving_way import in_turns, turns, whole
from understudy.proxy.telemetry.count import NEVER
from understudy.proxy.telemetry.exposition import render
from understudy.proxy.telemetry.families import families
from understudy.proxy.telemetry.family import Bounds, Sources
from understudy.proxy.telemetry.recent import WINDOW_TICKS
from understudy.proxy.telemetry.stats import Gauges, ListenerGauge, PoolGauge, Stats

from tests.kit.pairs import rehearsal
from tests.kit.rehearsed import MIRRORED, Rehearsed, rehearsed

GOLDEN = Path(__file__).with_name("page.txt")
STRANGE = '50 % "x"\\\n{}'


def serve(stats: Stats, route: str) -> None:
    """Something for every family that workers count."""
    for arm in ("", "a"):
        live = stats.call(route, "stable", "7", "live", arm)
        live.in_flight = 2
        for seconds in (0.0004, 0.004, 0.03, 0.2, 400.0):
            live.record_stream(seconds / 2, seconds / 64)
            live.record(200, None, seconds, seconds, 10, 20, seconds / 2)
        live.record(504, "upstream_timeout", 0.5, 0.5, 1, 1, 0.5)
        live.record(0, "client_gone", NEVER, 0.004, 1, 0)
    shadow = stats.call(route, "next", "", "shadow")
    shadow.record_stream(0.3, 0.01)
    shadow.record(500, None, 0.01, 0.02, 1, 1)
    shadow.record(0, "shadow_error", NEVER, 0.01, 1, 0)
    copies = stats.copies_of(route, "next")
    copies.exchanges, copies.selected, copies.sent, copies.complete, copies.censored = 9, 8, 6, 4, 1
    copies.dropped, copies.held_bytes, copies.breaker = {"budget_bytes": 2}, 77, "probing"


def several_workers(fed: Rehearsed) -> None:
    """One is gone, and two serve."""
    gauges = Gauges(
        [PoolGauge("stable", "h:1", active=1, idle=2)], [ListenerGauge("in", open=3, accepted=7, refused=1)]
    )
    for worker, routes in enumerate((("iris", STRANGE), ("iris",), ("iris", "wine"))):
        for route in routes:
            serve(fed.stats, route)
        keys = fed.stats.key_use("e")
        for hashed in (1, 1, 1, 2):
            keys.note(hashed)
        fed.stats.count("retries", 3)
        fed.tell(rehearsal(worker, 100, slower=1.5, shadow_version=""), gauges, worker=worker)
        fed.stats = Stats()
    fed.control.totals.retire(0)


def page(fed: Rehearsed) -> str:
    totals = fed.control.totals
    calls, copies = list(totals.calls().values()), list(totals.copies().values())
    return "".join(render(families(Sources(fed.status(), calls, copies, 2, {"records": 7}, Bounds((0.01, 1.0))))))


def test_the_page_is_the_same_to_the_byte() -> None:
    with rehearsed(MIRRORED) as fed:
        several_workers(fed)
        assert page(fed) == GOLDEN.read_text()


def longest(work: Generator[object, None, object]) -> int:
    """The most calls of functions that there are between two yields."""
    calls = most = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    over = object()
    while True:
        calls = 0
        sys.setprofile(count)
        found = next(work, over)
        sys.setprofile(None)
        most = max(most, calls)
        if found is over:
            return most


def many(fed: Rehearsed, routes: int) -> None:
    """So many routes, each with three keys, as two workers tell of them."""
    for worker in range(2):
        fed.stats = Stats()
        for number in range(routes):
            serve(fed.stats, f"route-{number}")
        fed.tell(worker=worker)


def test_no_piece_of_it_is_long_however_many_names_there_are() -> None:
    """Some hundred calls sum, judge or tell one key, in a piece of its own. What goes over all keys in one piece sorts
    them, or makes some five calls for each."""
    keys = 300
    with rehearsed(MIRRORED) as fed:
        many(fed, keys // 3)
        sources = whole(sources_of(fed.control))
        assert longest(sources_of(fed.control)) < 20 * keys
        assert longest(families_of(fed.control)) < 20 * keys
        for now_s in range(WINDOW_TICKS - 1):
            whole(fed.control.recent.tick(now_s))
        assert longest(fed.control.recent.tick(WINDOW_TICKS)) < 12 * keys
        assert longest(text for text in render(families(sources))) < 20 * keys


def test_a_piece_ends_when_its_time_is_over_and_others_get_their_turn() -> None:
    now_s = 0.0
    others: list[int] = []

    def steps() -> Generator[int, None, str]:
        nonlocal now_s
        for number in range(7):
            now_s += 0.4 * giving_way.PIECE_S
            yield number
        return "found"

    async def both() -> list[list[int]]:
        pieces = []
        async for piece in turns(steps(), lambda: now_s):
            asyncio.get_running_loop().call_soon(others.append, len(pieces))
            pieces.append(piece)
        return pieces

    assert asyncio.run(both()) == [[0, 1, 2], [3, 4, 5], [6]]
    assert others[:2] == [0, 1]
    assert asyncio.run(in_turns((None for _ in range(3)), lambda: now_s)) is None


async def answered(api: Api) -> bytes:
    """The page as it is sent."""
    (route,) = [each for each in api.probes() if each.path == "/metrics"]
    response: Any = await route.handler(None)  # type: ignore[arg-type, misc]
    assert isinstance(response.body, AsyncIterablePayload)
    return b"".join([each async for each in response.body._value])


async def turns_of(work: Awaitable[Any]) -> tuple[int, Any]:
    """How often the loop turned while this was done, and what came of it."""
    loop = asyncio.get_running_loop()
    count, going = 0, True

    def turn() -> None:
        nonlocal count
        count += 1
        if going:
            loop.call_soon(turn)

    turn()
    found = await work
    going = False
    return count, found


def test_the_loop_turns_while_the_page_is_made_and_while_metrics_are_exported(monkeypatch: pytest.MonkeyPatch) -> None:
    with rehearsed(MIRRORED) as fed:
        many(fed, 10)
        monkeypatch.setattr(giving_way, "PIECE_S", 3600.0)
        at_once, text = asyncio.run(turns_of(answered(Api(fed.control))))
        monkeypatch.setattr(giving_way, "PIECE_S", 0.0)
        turned, same = asyncio.run(turns_of(answered(Api(fed.control))))
        exporting, exported = asyncio.run(turns_of(fed.control.export._measure()))
    points = sum(1 for family in exported for _ in family.points)
    assert at_once < 5
    assert turned > points > 600
    assert exporting > points
    lines = [line for line in text.splitlines() if b"process_" not in line and b"_uptime" not in line]
    assert [line for line in same.splitlines() if b"process_" not in line and b"_uptime" not in line] == lines
