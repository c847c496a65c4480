"""Flags and a split before two backends, over the wire: who is asked, what it reads, what the client is told."""

from __future__ import annotations

import asyncio
import json

from understudy.filters.bucketing import Race
from understudy.proxy.telemetry.stats import CallKey

from tests.kit.configured import Proxy, configured
from tests.kit.conversation import Message, Upstream, on_the_loop, upstream

CONFIG = """
listeners: {ingress: {bind: "127.0.0.1:0"}}
backends:
  stable: {endpoints: [STABLE]}
  canary: {endpoints: [CANARY], version: "8"}
routes:
  - name: everything
    match: {path_prefix: /}
    backend: stable
    filters:
      - type: flags
        rules:
          - {flag: pin, when: {header: x-model-variant, in: [stable, canary]}, backend_from: x-model-variant}
          - {flag: plain, when: {header: x-plain, present: true}, skip: [split]}
      - type: split
        experiment: ranker
        key: KEY
        arms: {stable: 50, canary: {weight: 50, set_headers: {x-variant: canary}}}
"""
USERS = "{header: x-user-id, missing: refuse}"
COOKIE = "{cookie: arm, issue: true}"
RACE = Race("ranker", {"stable": 50, "canary": 50})


def config(stable: Upstream, canary: Upstream, key: str) -> str:
    return CONFIG.replace("KEY", key).replace("STABLE", stable.url).replace("CANARY", canary.url)


async def asked(proxy: Proxy, backends: list[Upstream], *fields: str) -> tuple[int, Message, Message]:
    """Which backend is asked, what it reads, and what the client is answered."""
    client = await proxy.connect()
    client.send("\r\n".join(["POST /infer HTTP/1.1", "Host: a", "Content-Length: 0", *fields, "", ""]).encode())
    calls = [asyncio.ensure_future(each.call()) for each in backends]  # noqa: TID251 - ended just below
    done, waiting = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
    for each in waiting:
        each.cancel()
    (called,) = done
    call, read = called.result()
    call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
    return calls.index(called), read, await client.message()


@on_the_loop
async def test_the_key_chooses_the_backend_unless_a_flag_does() -> None:
    async with upstream() as stable, upstream() as canary:
        async with configured(config(stable, canary, USERS)) as proxy:
            backends = [stable, canary]
            for number in range(10):
                arm = RACE.arms[RACE.winner(b"u%d" % number)]
                user = f"x-user-id: u{number}"
                at, read, _ = await asked(proxy, backends, user)
                assert at == (arm == "canary")
                assert read.get(b"x-variant") == (b"canary" if arm == "canary" else None)
                at, read, _ = await asked(proxy, backends, user, "x-model-variant: canary")
                assert (at, read.get(b"x-variant")) == (1, None)
                at, read, _ = await asked(proxy, backends, user, "x-model-variant: stable")
                assert at == 0
                at, read, _ = await asked(proxy, backends, user, "x-model-variant: nobody", "x-plain: 1")
                assert at == 0, "a name that is not allowed says nothing, and the split is skipped"


@on_the_loop
async def test_a_request_without_a_key_is_refused_where_the_configuration_says_so() -> None:
    async with upstream() as stable, upstream() as canary:
        async with configured(config(stable, canary, USERS)) as proxy:
            client = await proxy.connect()
            client.send(b"GET /infer HTTP/1.1\r\nHost: a\r\n\r\n")
            answer = await client.message()
            assert answer.status == 400
            problem = json.loads(answer.body)
            assert (problem["reason"], problem["detail"]) == ("key_missing", "needed: header x-user-id")
            assert proxy.plane.stats.key_use("ranker").missing == 1
            counted = [call.key for call in proxy.plane.stats.calls() if call.reasons]
            assert counted == [CallKey("everything", "", "")], "no backend was asked, and none is to blame"
            (failed,), _, _ = proxy.plane.stats.records.take()
            assert (failed.route, failed.backend, failed.reason) == ("everything", "", "key_missing")


@on_the_loop
async def test_a_client_keeps_the_arm_of_its_first_answer_by_the_cookie_that_came_with_it() -> None:
    async with upstream() as stable, upstream() as canary:
        async with configured(config(stable, canary, COOKIE)) as proxy:
            backends, seen = [stable, canary], set()
            for _ in range(12):
                first, read, answer = await asked(proxy, backends)
                line = answer.get(b"set-cookie")
                assert line is not None and line.endswith(b"; Path=/; HttpOnly; SameSite=Lax")
                cookie = f"cookie: {line.decode().partition(';')[0]}"
                assert read.get(b"cookie") == cookie.removeprefix("cookie: ").encode()
                for _ in range(2):
                    again, _, answer = await asked(proxy, backends, cookie)
                    assert (again, answer.get(b"set-cookie")) == (first, None)
                _, _, answer = await asked(proxy, backends, "x-model-variant: canary")
                assert answer.get(b"set-cookie") is not None, "a flag's clients get one too"
                seen.add(first)
            assert seen == {0, 1}


@on_the_loop
async def test_a_local_answer_carries_the_cookie_too() -> None:
    async with upstream() as stable, upstream() as canary:
        text = config(stable, canary, COOKIE)
    async with configured(text) as proxy:
        client = await proxy.connect()
        client.send(b"GET /infer HTTP/1.1\r\nHost: a\r\n\r\n")
        answer = await client.message()
        assert answer.status == 503
        assert answer.get(b"set-cookie") is not None


@on_the_loop
async def test_a_backend_that_a_reload_took_away_is_unavailable_to_exchanges_that_began_before() -> None:
    async with upstream() as stable, upstream() as canary:
        async with configured(config(stable, canary, USERS)) as proxy:
            assert proxy.plane.available("canary")
            assert not proxy.plane.available("gone")
