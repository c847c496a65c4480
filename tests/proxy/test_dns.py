"""Names of endpoints, resolved by a resolver in the hands of the test."""

from __future__ import annotations

import asyncio
import inspect
import logging
import socket
from collections.abc import Callable
from typing import Any

import pytest
import uvloop
from understudy.config.snapshot import Endpoint
from understudy.proxy.dns import Names as Asked
from understudy.proxy.dns import Resolver, Use, is_literal

from tests.kit.configured import Proxy, configured, document
from tests.kit.conversation import Upstream, on_the_loop, soon, upstream

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Names:
    """Answers for `loop.getaddrinfo`: `now` is what the name resolves to, or the error that resolving it is."""

    def __init__(self, *addresses: str) -> None:
        self.now: tuple[str, ...] | Exception = addresses
        self.asked = 0
        self.told = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    async def getaddrinfo(self, host: str, port: int, **_: object) -> list[Any]:
        self.asked += 1
        await self.gate.wait()
        self.told.set()
        if isinstance(self.now, Exception):
            raise self.now
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in self.now]

    async def asked_again(self) -> None:
        """Return when the name was resolved once more, and what came of it is known."""
        self.told.clear()
        await soon(self.told.wait())
        turned = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(0.01, turned.set_result, None)
        await turned


def with_names(test: Callable[..., Any]) -> Callable[..., None]:
    """Run on a loop whose getaddrinfo is the test's `names`."""

    def run(**named: Any) -> None:
        class Loop(uvloop.Loop):
            names: Names

            async def getaddrinfo(self, *args: Any, **options: Any) -> Any:
                return await self.names.getaddrinfo(*args, **options)

        async def main() -> None:
            names = Names("127.0.0.1")
            asyncio.get_running_loop().names = names  # type: ignore[attr-defined]
            await soon(test(names, **named), 15)

        with asyncio.Runner(loop_factory=Loop) as runner:
            runner.run(main())

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    signature = inspect.signature(test)
    fixtures = [each for name, each in signature.parameters.items() if name != "names"]
    run.__signature__ = signature.replace(parameters=fixtures)  # type: ignore[attr-defined]
    return run


def named(backend: Upstream, name: str = "model.internal") -> str:
    return f"http://{name}:{backend.url.rpartition(':')[2]}"


async def served(proxy: Proxy, backend: Upstream) -> None:
    client = await proxy.connect()
    client.send(GET)
    call, _ = await backend.call()
    call.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
    assert (await client.message()).body == b"ok"


def test_literals_and_sockets_are_never_resolved() -> None:
    assert is_literal(Endpoint("127.0.0.1", 1)) and is_literal(Endpoint("::1", 1))
    assert is_literal(Endpoint("", 0, unix="/run/model.sock"))
    assert not is_literal(Endpoint("localhost", 1)) and not is_literal(Endpoint("127.1", 1))


@with_names
async def test_a_request_waits_for_the_first_resolution(names: Names) -> None:
    names.gate.clear()
    async with upstream() as backend, configured(document([named(backend)])) as proxy:
        client = await proxy.connect()
        client.send(GET)
        await proxy.settled(lambda: names.asked == 1)
        assert backend.connections == []
        names.gate.set()
        call, asked = await backend.call()
        assert asked.get(b"host") == b"a"
        call.send(OK)
        assert (await client.message()).body == b"ok"
        assert names.asked == 1, "one resolution serves every connection"


@with_names
async def test_who_left_before_the_first_resolution_is_not_connected(names: Names) -> None:
    names.gate.clear()
    async with upstream() as backend, configured(document([named(backend)])) as proxy:
        left = await proxy.connect()
        left.send(GET)
        await proxy.settled(lambda: proxy.in_flight() > 0)
        left.reset()
        await proxy.settled(lambda: proxy.in_flight() == 0)
        names.gate.set()
        await served(proxy, backend)
        assert len(backend.connections) == 1


@with_names
async def test_the_last_good_addresses_stay_when_resolving_fails(names: Names) -> None:
    async with upstream() as backend:
        async with configured(document([named(backend)], backend={"dns_refresh": "30ms"})) as proxy:
            await served(proxy, backend)
            for failure in socket.gaierror(socket.EAI_AGAIN, "try again"), TimeoutError(), ():
                names.now = failure
                await names.asked_again()
                await served(proxy, backend)
            assert len(proxy.plane.gauges().pools) == 1


@with_names
async def test_a_change_is_followed(names: Names) -> None:
    """127.0.0.2 refuses, so whoever still asks there is found out."""
    names.now = ("127.0.0.2",)
    async with upstream() as backend:
        async with configured(document([named(backend)], backend={"dns_refresh": "30ms"})) as proxy:
            client = await proxy.connect()
            client.send(GET)
            assert (await client.message()).status == 503
            names.now = ("127.0.0.1",)
            await names.asked_again()
            await served(proxy, backend)
            names.now = ("127.0.0.3", "127.0.0.2", "127.0.0.2")
            await names.asked_again()
            port = backend.url.rpartition(":")[2]
            assert [gauge.endpoint for gauge in proxy.plane.gauges().pools] == [
                f"model.internal:{port} (127.0.0.2)",
                f"model.internal:{port} (127.0.0.3)",
            ]


@with_names
async def test_a_name_that_never_resolved_is_connect_failed(names: Names) -> None:
    names.now = socket.gaierror(socket.EAI_NONAME, "unknown")
    async with configured(document(["http://model.internal:9001"])) as proxy:
        client = await proxy.connect()
        client.send(GET)
        answer = await client.message()
        assert (answer.status, answer.get(b"retry-after")) == (503, b"1") and b'"connect_failed"' in answer.body


@with_names
async def test_a_name_that_cannot_be_asked_for_is_connect_failed_too(names: Names) -> None:
    """Encoding a label past 63 bytes raises UnicodeError, which is no OSError."""
    names.now = UnicodeError("label too long")
    async with configured(document(["http://model.internal:9001"], backend={"dns_refresh": "30ms"})) as proxy:
        client = await proxy.connect()
        client.send(GET)
        assert (await client.message()).status == 503
        await names.asked_again()


@with_names
async def test_a_slow_resolver_holds_up_neither_the_loop_nor_other_endpoints(names: Names) -> None:
    names.gate.clear()
    async with upstream() as backend, upstream() as literal:
        async with configured(document([named(backend), literal.url])) as proxy:
            client = await proxy.connect()
            client.send(GET)
            call, _ = await literal.call()
            call.send(OK)
            assert (await client.message()).body == b"ok"
            names.gate.set()


def resolving(host: str) -> Resolver:
    loop = asyncio.get_running_loop()
    return Asked(loop, loop.create_task).resolver(host, "a user", Use(60.0, True, lambda: None))


@on_the_loop
async def test_resolving_happens_off_the_loop() -> None:
    """The loop's own getaddrinfo works in another thread: the loop turns meanwhile."""
    turns = 0

    def turn() -> None:
        nonlocal turns
        turns += 1
        asyncio.get_running_loop().call_soon(turn)

    turn()
    resolver = resolving("localhost")
    await soon(resolver.first.wait())
    assert turns > 2
    assert set(resolver.addresses) <= {"127.0.0.1", "::1"} and resolver.addresses


@with_names
async def test_what_is_wrong_is_told_once_a_try(names: Names, caplog: pytest.LogCaptureFixture) -> None:
    names.now = socket.gaierror(socket.EAI_NONAME, "unknown")
    with caplog.at_level(logging.WARNING):
        await soon(resolving("model.internal").first.wait())
    assert caplog.text.count("cannot resolve model.internal") == 1
