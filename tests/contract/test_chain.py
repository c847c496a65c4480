"""The other half of the contract: what the pipeline owes to filters. Real sockets, told as transcripts of the hooks."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from understudy.filters import FILTERS
from understudy.filters.api import BodyWrap, Exchange, Failure, Filter, FilterConfig, Outcome, Response, Services

from tests.contract.schema import decoded
from tests.contract.test_filters import ACTIVE, maker
from tests.kit.plane import Address, serving
from tests.kit.raw import Answer, RawBackend, RawClient

GET = b"GET /v2/models/iris HTTP/1.1\r\nHost: model.local\r\n\r\n"
BEGUN = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegun"
Transcript = list[str]


class Recorder(Filter):
    """Writes down its hooks; `does` replaces what a hook returns or raises."""

    def __init__(self, name: str, told: Transcript, **does: Callable[..., Any]) -> None:
        super().__init__(None, None)  # type: ignore[arg-type]
        self.name = name
        self.told = told
        self.does = does
        self.completed = asyncio.Event()

    def on_request(self, exchange: Exchange) -> Any:
        self.told.append(f"{self.name} asks")
        return self.does.get("on_request", lambda _: None)(exchange)

    def on_response(self, exchange: Exchange, response: Response) -> Any:
        self.told.append(f"{self.name} answers {response.status}")
        return self.does.get("on_response", lambda _, given: given)(exchange, response)

    def on_complete(self, exchange: Exchange, outcome: Outcome) -> None:
        self.told.append(f"{self.name} completes {outcome.status} {outcome.reason or 'well'}")
        self.completed.set()
        self.does.get("on_complete", lambda _, how: None)(exchange, outcome)


Act = Callable[[RawClient, list[Recorder]], Awaitable[None]]


async def answered(client: RawClient, recorders: list[Recorder]) -> None:
    """Wait for a whole answer, or its end."""
    await client.send([GET])
    assert await client.until(lambda: body_of(bytes(client.received)) is not None)


async def told(act: Act = answered, script: list[Answer] | None = None, **does: Any) -> tuple[Transcript, bytes]:
    """Run one request through a, b and c, whose hooks do what `b_on_request=…` says; what they wrote, the answer."""
    backend = RawBackend()
    address = await backend.start()
    backend.script.extend(script or ())
    transcript, received = await _through(address, act, does)
    await backend.close()
    return transcript, received


async def _through(address: Address, act: Act, does: dict[str, Any]) -> tuple[Transcript, bytes]:
    transcript: Transcript = []
    recorders = [
        Recorder(name, transcript, **{key[2:]: value for key, value in does.items() if key[0] == name})
        for name in "abc"
    ]
    async with serving(lambda services: list(recorders), address) as (_, front):
        client = await RawClient.connect(front)
        await act(client, recorders)
        async with asyncio.timeout(5):
            await recorders[0].completed.wait()
        client.close()
    return transcript, bytes(client.received)


def body_of(received: bytes) -> bytes | None:
    """The body of an answer that is whole, or None."""
    head, found, rest = received.partition(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    if not found or b"transfer-encoding" not in fields:
        length = int(fields.get(b"content-length", b"0"))
        return rest[:length] if found and len(rest) >= length else None
    body = b""
    while b"\r\n" in rest:
        size, _, rest = rest.partition(b"\r\n")
        if size == b"0":
            return body
        body, rest = body + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
    return None


def raises(error: Exception) -> Callable[..., Any]:
    def raising(*_: object) -> Any:
        raise error

    return raising


def waits(result: Any = None) -> Callable[..., Awaitable[Any]]:
    """Waits for another thread, then gives the result or raises it."""

    async def waiting(*_: object) -> Any:
        await asyncio.get_running_loop().run_in_executor(None, lambda: None)
        if isinstance(result, Exception):
            raise result
        return result

    return waiting


def test_requests_run_down_answers_and_completions_up() -> None:
    transcript, received = asyncio.run(told())
    assert received.startswith(b"HTTP/1.1 200 ")
    assert transcript == [
        *("a asks", "b asks", "c asks"),
        *("c answers 200", "b answers 200", "a answers 200"),
        *("c completes 200 well", "b completes 200 well", "a completes 200 well"),
    ]


def test_a_local_answer_is_called_back_up_from_where_it_was_made() -> None:
    local = Response(418, [], content=b"short and stout", local=True)
    transcript, received = asyncio.run(told(b_on_request=lambda _: local))
    assert received.startswith(b"HTTP/1.1 418 ") and b"x-request-id" in received.lower()
    assert transcript == [
        *("a asks", "b asks"),
        *("b answers 418", "a answers 418"),
        *("b completes 418 well", "a completes 418 well"),
    ]


def test_a_refusal_is_an_answer_like_any_other() -> None:
    transcript, received = asyncio.run(told(b_on_request=raises(Failure("key_missing", "send a key"))))
    assert received.startswith(b"HTTP/1.1 400 ") and b"send a key" in received
    assert transcript == [
        *("a asks", "b asks"),
        *("b answers 400", "a answers 400"),
        *("b completes 400 key_missing", "a completes 400 key_missing"),
    ]


def test_hooks_that_wait_keep_the_order() -> None:
    ordinary, _ = asyncio.run(told())
    waiting, received = asyncio.run(told(a_on_request=waits(), b_on_request=waits(), c_on_request=waits()))
    assert waiting == ordinary
    transcript, received = asyncio.run(told(b_on_response=waits(Response(299, [], content=b"late"))))
    assert received.startswith(b"HTTP/1.1 299 ") and received.endswith(b"late")
    assert transcript[3:6] == ["c answers 200", "b answers 200", "a answers 299"]


@pytest.mark.parametrize("waiting", [False, True])
def test_a_filter_that_raises_is_a_500_that_names_it_in_the_log(
    waiting: bool, caplog: pytest.LogCaptureFixture
) -> None:
    fails = (waits if waiting else raises)(KeyError("x-user"))
    with caplog.at_level(logging.ERROR):
        transcript, received = asyncio.run(told(b_on_request=fails))
    assert received.startswith(b"HTTP/1.1 500 ") and b"x-user" not in received
    assert "Recorder" in caplog.text and "KeyError" in caplog.text
    assert transcript == [
        *("a asks", "b asks"),
        *("b answers 500", "a answers 500"),
        *("b completes 500 filter_failed", "a completes 500 filter_failed"),
    ]


@pytest.mark.parametrize("waiting", [False, True])
def test_whoever_fails_on_the_way_up_all_that_were_entered_complete(waiting: bool) -> None:
    fails = (waits if waiting else raises)(KeyError("x-user"))
    transcript, received = asyncio.run(told(b_on_response=fails))
    assert received.startswith(b"HTTP/1.1 500 ")
    assert transcript == [
        *("a asks", "b asks", "c asks"),
        *("c answers 200", "b answers 200", "a answers 500"),
        *("c completes 500 filter_failed", "b completes 500 filter_failed", "a completes 500 filter_failed"),
    ]


def test_a_completion_that_raises_is_logged_and_the_others_run(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        transcript, received = asyncio.run(told(b_on_complete=raises(KeyError("slot"))))
    assert received.startswith(b"HTTP/1.1 200 ")
    assert "Recorder" in caplog.text and "KeyError" in caplog.text
    assert transcript[6:] == ["c completes 200 well", "b completes 200 well", "a completes 200 well"]


def test_a_client_that_leaves_while_a_filter_waits() -> None:
    async def leave(client: RawClient, recorders: list[Recorder]) -> None:
        await client.send([GET])
        await entered.wait()
        client.transport.abort()

    async def run() -> tuple[Transcript, bytes]:
        return await told(leave, b_on_request=forever)

    async def forever(exchange: Exchange) -> None:
        entered.set()
        await asyncio.Event().wait()

    entered = asyncio.Event()
    transcript, _ = asyncio.run(run())
    assert transcript == ["a asks", "b asks", "b completes 0 client_gone", "a completes 0 client_gone"]


def test_a_client_that_leaves_before_the_answer_and_in_the_midst_of_it() -> None:
    async def leave_at_once(client: RawClient, recorders: list[Recorder]) -> None:
        await client.send([GET])
        await asked.wait()
        client.transport.abort()

    async def leave_later(client: RawClient, recorders: list[Recorder]) -> None:
        await client.send([GET])
        assert await client.until(lambda: b"begun" in client.received)
        client.transport.abort()

    asked = asyncio.Event()
    asks = ["a asks", "b asks", "c asks"]
    transcript, _ = asyncio.run(told(leave_at_once, [Answer(())], c_on_request=lambda _: asked.set()))
    assert transcript == asks + [f"{name} completes 0 client_gone" for name in "cba"]
    transcript, _ = asyncio.run(told(leave_later, [Answer((BEGUN,))]))
    assert transcript == [
        *asks,
        *("c answers 200", "b answers 200", "a answers 200"),
        *(f"{name} completes 200 client_gone" for name in "cba"),
    ]


def test_a_detached_exchange_runs_to_its_end_without_its_client() -> None:
    async def leave(client: RawClient, recorders: list[Recorder]) -> None:
        await client.send([GET])
        await asked.wait()
        client.transport.abort()

    def detach(exchange: Exchange) -> None:
        exchange.detach()
        asked.set()

    asked = asyncio.Event()
    transcript, _ = asyncio.run(told(leave, b_on_request=detach))
    assert transcript[:6] == ["a asks", "b asks", "c asks", "c answers 200", "b answers 200", "a answers 200"]
    assert [line.split()[1] for line in transcript[6:]] == ["completes"] * 3


@pytest.mark.parametrize(
    ("answer", "status", "reason"),
    [
        (Answer((), "close"), 502, "upstream_closed"),
        (Answer((b"what?\r\n\r\n",), "close"), 502, "upstream_protocol"),
        (Answer((BEGUN,), "close"), 200, "truncated"),
        (Answer((BEGUN,), "reset"), 200, "truncated"),
    ],
)
def test_backends_that_fail(answer: Answer, status: int, reason: str) -> None:
    async def ended(client: RawClient, recorders: list[Recorder]) -> None:
        await client.send([GET])
        assert await client.until(lambda: status != 200 and body_of(bytes(client.received)) is not None)

    transcript, _ = asyncio.run(told(ended, [answer]))
    assert transcript == [
        *("a asks", "b asks", "c asks"),
        *(f"{name} answers {status}" for name in "cba"),
        *(f"{name} completes {status} {reason}" for name in "cba"),
    ]


def test_a_backend_that_is_not_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = free.getsockname()
    transcript, received = asyncio.run(_through(address, answered, {}))
    assert received.startswith(b"HTTP/1.1 503 ")
    assert transcript[3:] == [
        *(f"{name} answers 503" for name in "cba"),
        *(f"{name} completes 503 connect_failed" for name in "cba"),
    ]


class Shout(BodyWrap):
    """Upper-cases what passes, and holds the last byte back until the end."""

    def __init__(self) -> None:
        self.held = b""

    def data(self, chunk: bytes) -> bytes:
        chunk = self.held + chunk.upper()
        self.held = chunk[-1:]
        return chunk[:-1]

    async def end(self) -> bytes:
        await asyncio.get_running_loop().run_in_executor(None, lambda: None)
        return self.held


@pytest.mark.parametrize(
    "segments",
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nsome more",),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nso", b"me more"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"4\r\nsome\r\n", b"5\r\n more\r\n0\r\n\r\n"),
    ],
)
def test_wraps_see_every_byte_and_may_hold_back_the_end(segments: tuple[bytes, ...]) -> None:
    def wrap(exchange: Exchange, response: Response) -> Response:
        response.wrap(Shout())
        return response

    transcript, received = asyncio.run(told(answered, [Answer(segments)], b_on_response=wrap))
    assert body_of(received) == b"SOME MORE"
    assert transcript[-3:] == ["c completes 200 well", "b completes 200 well", "a completes 200 well"]


@pytest.mark.parametrize(("config", "example"), ACTIVE)
def test_an_active_filter_leaves_its_neighbours_their_hooks(
    config: type[FilterConfig], example: dict[str, Any]
) -> None:
    assert FILTERS[config] is not None

    async def run() -> Transcript:
        backend = RawBackend()
        address = await backend.start()
        transcript: Transcript = []
        neighbours = [Recorder("a", transcript), Recorder("c", transcript)]
        named = [name for _, name in decoded(config, example).references()]

        def build(services: Services) -> list[Filter]:
            return [neighbours[0], maker(config, example)(services), neighbours[1]]

        async with serving(build, address, also=named) as (_, front):
            client = await RawClient.connect(front)
            await answered(client, neighbours)
            await neighbours[0].completed.wait()
            client.close()
        await backend.close()
        return transcript

    asks, completes = ["a asks", "c asks"], ["c completes 200 well", "a completes 200 well"]
    assert asyncio.run(run()) == [*asks, "c answers 200", "a answers 200", *completes]
