"""Names that nobody answers for, and the few threads in which names are resolved: shadows must not take them all."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from tests.kit.configured import Proxy, configured, document, snapshot_of
from tests.kit.conversation import Upstream, upstream

from .test_dns import Names, named, served, with_names

SILENT = ("ghost.internal", "ghost2.internal", "ghost3.internal")


class Threads(Names):
    """As libuv resolves: two questions at a time, and one that nobody waits for any more keeps its thread.

    Mutable state: `hanging`, the names whose questions hold a thread, and `answer`, at which they have an answer.
    """

    def __init__(self) -> None:
        super().__init__("127.0.0.1")
        self.hanging: list[str] = []
        self.answer = asyncio.Event()
        self.questions: list[str] = []
        self._free = asyncio.Semaphore(2)
        self._held: set[asyncio.Task[list[Any]]] = set()
        asyncio.get_running_loop().names = self  # type: ignore[attr-defined]

    async def getaddrinfo(self, host: str, port: int, **_: object) -> list[Any]:
        thread = asyncio.get_running_loop().create_task(self._resolve(host, port))
        self._held.add(thread)
        return await asyncio.shield(thread)

    async def _resolve(self, host: str, port: int) -> list[Any]:
        async with self._free:
            self.questions.append(host)
            if host in SILENT:
                self.hanging.append(host)
                await self.answer.wait()
                self.hanging.remove(host)
            return await super().getaddrinfo(host, port)


def rehearsing(live: Upstream, *shadows: str, refresh: str = "20ms", flag: str | None = None) -> str:
    """A route for each of these shadows, which live answers; `flag` lets clients ask one of them, too."""
    text: dict[str, Any] = json.loads(document([named(live)], backend={"dns_refresh": refresh}))
    routes = []
    for at, shadow in enumerate(shadows):
        mirror = {"type": "mirror", "to": [{"backend": shadow.partition(".")[0]}]}
        text["backends"][shadow.partition(".")[0]] = {"endpoints": [f"http://{shadow}:9"], "dns_refresh": refresh}
        routes.append({"name": f"r{at}", "match": {"path_prefix": f"/r{at}"}, "backend": "stable", "filters": [mirror]})
    if flag is not None:
        rule = {"flag": "ask", "percent": 50, "backend": flag}
        routes[0]["filters"].insert(0, {"type": "flags", "rules": [rule]})
    text["routes"] = [*routes, *text["routes"]]
    return json.dumps(text)


def reload(proxy: Proxy, text: str) -> None:
    proxy.plane.apply(snapshot_of(text, proxy.plane))


@with_names
async def test_silent_names_of_shadows_leave_a_thread_for_live(names: Names) -> None:
    threads = Threads()
    async with upstream() as live, configured(rehearsing(live, *SILENT)) as proxy:
        await served(proxy, live)
        before = threads.questions.count("model.internal")
        await proxy.settled(lambda: threads.questions.count("model.internal") > before + 3)
        assert len(threads.hanging) == 1


@with_names
async def test_a_name_is_asked_for_once_at_a_time_on_however_many_routes(names: Names) -> None:
    threads = Threads()
    async with upstream() as live, configured(rehearsing(live, *SILENT[:1] * 3)) as proxy:
        await served(proxy, live)
        before = threads.questions.count("model.internal")
        await proxy.settled(lambda: threads.questions.count("model.internal") > before + 3)
        assert threads.questions.count("ghost.internal") == 1
        threads.answer.set()
        await proxy.settled(lambda: threads.questions.count("ghost.internal") > 3)
        lanes = [lane for lanes in proxy.plane.lanes.values() for lane in lanes]
        assert [[each.address for each in lane.pool.targets] for lane in lanes] == [["127.0.0.1"]] * 3


@with_names
async def test_one_silent_shadow_keeps_the_others_waiting_until_it_is_given_up(names: Names) -> None:
    threads = Threads()
    async with upstream() as live, configured(rehearsing(live, SILENT[0], "next.internal")) as proxy:
        await served(proxy, live)
        assert "next.internal" not in threads.questions
        threads.answer.set()
        await proxy.settled(lambda: "next.internal" in threads.questions)


@with_names
async def test_a_shadow_that_clients_may_ask_waits_for_no_other_shadow(names: Names) -> None:
    threads = Threads()
    async with upstream() as live, configured(rehearsing(live, SILENT[0], "next.internal")) as proxy:
        await proxy.settled(lambda: threads.hanging == [SILENT[0]])
        reload(proxy, rehearsing(live, SILENT[0], "next.internal", flag="next"))
        await proxy.settled(lambda: "next.internal" in threads.questions)


@with_names
async def test_a_name_that_a_reload_brings_back_is_not_asked_for_beside_the_old_question(names: Names) -> None:
    threads = Threads()
    async with upstream() as live, configured(rehearsing(live, SILENT[0])) as proxy:
        await proxy.settled(lambda: threads.hanging == [SILENT[0]])
        for _ in range(3):
            reload(proxy, rehearsing(live))
            reload(proxy, rehearsing(live, SILENT[0]))
        assert threads.questions.count(SILENT[0]) == 1
        threads.answer.set()
        await proxy.settled(lambda: bool(proxy.plane.pools["ghost"].targets))


@with_names
async def test_a_reload_changes_how_often_a_name_is_resolved(names: Names) -> None:
    async with upstream() as live, configured(rehearsing(live, refresh="24h")) as proxy:
        await served(proxy, live)
        assert names.asked == 1
        reload(proxy, rehearsing(live, refresh="10ms"))
        await proxy.settled(lambda: names.asked > 3)
