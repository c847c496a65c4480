"""What every filter must do and must leave alone. Each check raises AssertionError with what the author must do.

A check drives one filter by hand through the lives that an exchange can have: answered whole or as a stream, answered
locally, failed before or after the answer's head, left by its client before, between and after the hooks.
"""

from __future__ import annotations

import gc
import inspect
from collections.abc import Awaitable, Callable, Iterator
from random import Random
from typing import Any, Final, get_args

from understudy.filters.api import Exchange, Failure, Filter, Headers, Message, Outcome, Reason, Request, Response
from understudy.filters.fields import FRAMING
from understudy.filters.matching import TOKEN

from tests.kit.heads import request
from tests.kit.services import FakeServices, exchange_of, outcome_of

Make = Callable[[FakeServices], Filter]
"""Builds the filter anew, as the compiler of a snapshot does once for each route."""

HOOKS = ("on_request", "on_response", "on_complete")
PIECES = (b"data: one\n\n", b"data: two", b"\n\n")
_FRAMING: Final = {name.encode() for name in FRAMING} - {b"host"}


class Steady(Random):
    """Draws that do not depend on who drew before."""

    def random(self) -> float:
        return 0.5

    def getrandbits(self, k: int) -> int:
        return 1


def requests(tag: str) -> Iterator[Request]:
    """Whole and streaming, plain and odd. `tag` keeps the keys of one exchange apart from another's."""
    common = f"x-user-id: {tag}\nidempotency-key: key-{tag}\nauthorization: Bearer {tag}\ncookie: sid={tag}"
    yield request(f"GET /v2/models/iris?user={tag} HTTP/1.1\n{common}")
    yield request(f"OPTIONS * HTTP/1.1\nx-user-id: {tag}")
    yield request("HEAD / HTTP/1.0")
    yield request(f"GET /%ff%2f{tag} HTTP/1.1\nx-odd: \xe9\xff\nx-odd: second\nx-empty:\nx-employee: true")
    whole = request(f"POST /v2/models/iris/infer HTTP/1.1\n{common}\ncontent-type: application/json")
    whole.content = b'{"inputs": []}'
    whole.length = len(whole.content)
    yield whole
    for length in (None, len(b"".join(PIECES))):
        streaming = request(f"PUT /v2/models/iris/infer HTTP/1.1\n{common}")
        streaming.content, streaming.ended, streaming.length = PIECES[0], False, length
        streaming.reader = _reader(streaming)
        yield streaming


def _reader(streaming: Request) -> Callable[[int], Awaitable[bytes]]:
    """Reads the rest, as the pipeline does for `Request.read`."""

    async def read(limit: int) -> bytes:
        if sum(map(len, PIECES)) > limit:
            raise Failure("body_too_large", f"the body is larger than {limit} bytes")
        streaming.ended = True
        return b"".join(PIECES)

    return read


def responses() -> Iterator[Response]:
    """The backend's answers, whole and streaming, and local ones."""
    yield Response(200, [(b"content-type", b"application/json"), (b"server", b"uvicorn")], content=b"{}")
    yield Response(200, [(b"content-type", b"text/event-stream")], content=PIECES[0], ended=False)
    yield Response(200, [(b"x-twice", b"1"), (b"x-twice", b"2")], ended=False, length=len(b"".join(PIECES)))
    yield Response(204, [])
    yield Response(503, [(b"content-type", b"application/problem+json")], content=b"{}", local=True)


def check_hooks(make: Make) -> None:
    """on_complete is a plain function; the constructor starts nothing."""
    services = FakeServices()
    step = make(services)
    assert isinstance(step, Filter), f"{type(step).__name__} must derive from Filter"
    assert any(getattr(type(step), hook) is not getattr(Filter, hook) for hook in HOOKS), "it defines no hook"
    assert not inspect.iscoroutinefunction(type(step).on_complete), "on_complete runs during cancellation: plain def"
    assert not services.tasks, "a filter must not spawn work before there is a request"


async def check_lives(make: Make) -> None:
    """Every life of an exchange ends with one on_complete that neither raises nor waits; messages stay well-formed."""
    services = FakeServices()
    step = make(services)
    for number, life in enumerate((_answered, _gone_at_once, _failed_before_the_head, _cut_after_the_head)):
        for position, asked in enumerate(requests(f"u{number}")):
            for at, _ in enumerate(responses()):
                exchange = Exchange(asked_again(asked, f"{number}-{position}-{at}"), **_identity())
                await life(step, exchange, list(responses())[at])
    await services.settle()


def asked_again(asked: Request, tag: str) -> Request:
    """The same request under a key of its own."""
    headers: Headers = [(n, v + b"-" + tag.encode() if n == b"idempotency-key" else v) for n, v in asked.headers]
    again = Request(asked.method, asked.target, asked.authority, headers, content=asked.content, ended=asked.ended)
    again.length = asked.length
    again.reader = None if asked.ended else _reader(again)
    return again


def _identity() -> dict[str, Any]:
    plain = exchange_of(request("GET / HTTP/1.1"))
    return {name: getattr(plain, name) for name in ("route", "backend", "id", "client", "trusted")}


async def _answered(step: Filter, exchange: Exchange, response: Response) -> None:
    refused = await ask(step, exchange)
    await drain(exchange.request)
    answer = await respond(step, exchange, refused or response)
    await drain(answer)
    complete(step, exchange, outcome_of(answer.status))


async def _gone_at_once(step: Filter, exchange: Exchange, response: Response) -> None:
    await ask(step, exchange)
    complete(step, exchange, outcome_of(0, "client_gone"))


async def _failed_before_the_head(step: Filter, exchange: Exchange, response: Response) -> None:
    refused = await ask(step, exchange)
    for reason in get_args(Reason):
        problem = refused or Response(503, [(b"content-type", b"application/problem+json")], content=b"{}", local=True)
        answer = await respond(step, exchange, problem)
        complete(step, exchange, outcome_of(answer.status, reason))
        exchange = Exchange(asked_again(exchange.request, reason), **_identity())
        refused = await ask(step, exchange)
    complete(step, exchange, outcome_of(0, "client_gone"))


async def _cut_after_the_head(step: Filter, exchange: Exchange, response: Response) -> None:
    refused = await ask(step, exchange)
    answer = await respond(step, exchange, refused or response)
    for wrap in answer.wraps or ():
        wrap.data(PIECES[0])
    complete(step, exchange, outcome_of(answer.status, "truncated"))


async def ask(step: Filter, exchange: Exchange) -> Response | None:
    """Run `on_request` as the pipeline does; a Failure becomes the local answer that it would."""
    declared = exchange.request.length
    try:
        result: Any = step.on_request(exchange)
        if isinstance(result, Awaitable):
            result = await result
    except Failure as failure:
        result = Response(failure.status or 503, [], content=failure.reason.encode(), local=True)
    assert result is None or isinstance(result, Response), f"on_request returned {result!r}: give None or a Response"
    well_formed(exchange.request, "request")
    assert exchange.request.length in (declared, None), (
        "a declared length stays true; None where a wrap changes the size"
    )
    if result is not None:
        assert result.local, "an answer that a filter makes itself is local=True"
        well_formed(result, "local answer")
    return result


async def respond(step: Filter, exchange: Exchange, response: Response) -> Response:
    """Run `on_response` as the pipeline does."""
    result: Any = step.on_response(exchange, response)
    if isinstance(result, Awaitable):
        result = await result
    assert isinstance(result, Response), f"on_response returned {result!r}: give the same Response or another one"
    well_formed(result, "answer")
    return result


async def drain(message: Message) -> None:
    """Pass a body through the wraps, to its end: what they hold they give back, and a declared length stays true."""
    chunks = [message.content] if message.ended else [message.content, *PIECES[1 if message.content else 0 :]]
    size = sum(len(passed(message, chunk)) for chunk in chunks)
    wraps = message.wraps or []
    for at, wrap in enumerate(wraps):
        rest: Any = wrap.end()
        if isinstance(rest, Awaitable):
            rest = await rest
        for later in wraps[at + 1 :]:
            rest = later.data(rest)
        size += len(rest)
    assert message.length in (None, size), f"{message.length} bytes were declared and {size} came out of the wraps"


def passed(message: Message, chunk: bytes) -> bytes:
    """One chunk through every wrap, in the order in which they were added."""
    for wrap in message.wraps or ():
        chunk = wrap.data(chunk)
        assert isinstance(chunk, bytes), "BodyWrap.data returns bytes, at once"
    return chunk


def complete(step: Filter, exchange: Exchange, outcome: Outcome) -> None:
    """Run `on_complete`, which returns nothing."""
    result: Any = step.on_complete(exchange, outcome)
    if inspect.iscoroutine(result):
        result.close()
    assert result is None, "on_complete must not wait: it returned something"


def well_formed(message: Message, what: str) -> None:
    """Fields that can be sent: lower-case tokens, no line breaks, nothing of the framing."""
    for name, value in message.headers:
        assert isinstance(name, bytes) and isinstance(value, bytes), f"{what}: header {name!r} is not bytes"
        assert name and name == name.lower() and TOKEN.issuperset(name.decode()), f"{what}: {name!r} is no field name"
        assert not set(b"\r\n\0") & set(value), f"{what}: the value of {name!r} has CR, LF or NUL"
        assert name not in _FRAMING, f"{what}: {name!r} belongs to the framing, which the proxy writes"
    assert dict(message.fields).keys() == {name for name, _ in message.headers}, f"{what}: use set, append and remove"


async def check_keeps_nothing(make: Make) -> None:
    """Once complete, an exchange is kept by nobody, and the filter does not grow."""
    services = FakeServices()
    step = make(services)
    sizes = []
    before = _exchanges()
    for turn in range(3):
        for number in range(20):
            for asked in requests(f"{turn}-{number}"):
                exchange = Exchange(asked, **_identity())
                await _answered(step, exchange, next(responses()))
        await services.settle()
        services.tasks.clear()
        sizes.append(_size(step))
    del exchange, asked
    assert _exchanges() <= before, "exchanges are kept after on_complete: hold state in exchange.notes[self]"
    assert sizes[1] == sizes[2], f"the filter grows with the exchanges it served: {sizes}; bound what it holds"


def _exchanges() -> int:
    """How many are alive. The data plane may be compiled: its objects take no weak references."""
    gc.collect()
    return sum(isinstance(each, Exchange) for each in gc.get_objects())


def _size(owner: object) -> int:
    """How many values hang on an object by way of attributes and containers."""
    seen: set[int] = set()
    waiting = [vars(owner)]
    while waiting:
        each: Any = waiting.pop()
        if id(each) in seen or isinstance(each, type | FakeServices):
            continue
        seen.add(id(each))
        if isinstance(each, dict):
            waiting += [*each.keys(), *each.values()]
        elif isinstance(each, list | tuple | set | frozenset):
            waiting += each
        elif hasattr(each, "__dict__") and not callable(each):
            waiting.append(vars(each))
    return len(seen)


async def check_shared(make: Make) -> None:
    """Two exchanges at once, on one filter, go as each would alone: nothing of a request is kept on self."""
    alone = [await _traces(make, [tag]) for tag in ("ann", "bob")]
    together = await _traces(make, ["ann", "bob"])
    assert [trace for traces in zip(*alone, strict=True) for trace in traces] == together, (
        "exchanges that overlap disturb each other: keep what belongs to a request in exchange.notes[self]"
    )


async def _traces(make: Make, tags: list[str]) -> list[tuple[Any, ...]]:
    """What becomes of the requests of these users, all on their way at once, phase by phase."""
    services = FakeServices()
    services.rng = Steady()
    step = make(services)
    exchanges = [
        Exchange(asked, **_identity()) for round_ in zip(*map(requests, tags), strict=True) for asked in round_
    ]
    refused = []
    for exchange in exchanges:
        refused.append(await ask(step, exchange))
    services.time += 0.25
    answers = []
    for exchange, local in zip(reversed(exchanges), reversed(refused), strict=True):
        answers.append(await respond(step, exchange, local or next(responses())))
    for exchange in exchanges:
        complete(step, exchange, outcome_of())
    await services.settle()
    return [
        (each.backend, each.detached, each.request.headers, answer.status, answer.headers)
        for each, answer in zip(exchanges, reversed(answers), strict=True)
    ]
