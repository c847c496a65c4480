"""The checks of the contract find each kind of bad filter: a check that cannot fail proves nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from understudy.filters.api import (
    BodyWrap,
    Exchange,
    Failure,
    Filter,
    FilterConfig,
    Outcome,
    Response,
)

from tests.contract import behaviour, schema


class Good(Filter):
    """Uses all that it may: notes, an awaitable, a local answer, wraps, spawned work."""

    async def on_request(self, exchange: Exchange) -> Response | None:
        exchange.notes[self] = exchange.request.get(b"x-user-id")
        if exchange.request.method == b"OPTIONS":
            return Response(204, [(b"allow", b"GET")], local=True)
        if exchange.request.length is not None:
            await exchange.request.read(1_000_000)
        return None

    def on_response(self, exchange: Exchange, response: Response) -> Response:
        response.append(b"x-seen", exchange.notes[self] or b"-")
        response.wrap(Late())
        return response

    def on_complete(self, exchange: Exchange, outcome: Outcome) -> None:
        async def work() -> None:
            return None

        with suppress(Failure):  # the bound of spawned work is no reason to fail here
            self.services.spawn(work(), "work")


class SpawnsBlindly(Filter):
    def on_complete(self, exchange: Exchange, outcome: Outcome) -> None:
        async def work() -> None: ...

        self.services.spawn(work(), "work")


class Late(BodyWrap):
    """Passes everything on one chunk late."""

    def __init__(self) -> None:
        self.held = b""

    def data(self, chunk: bytes) -> bytes:
        self.held, chunk = chunk, self.held
        return chunk

    async def end(self) -> bytes:
        return self.held


class Silent(Filter):
    pass


class AsyncComplete(Filter):
    async def on_complete(self, exchange: Exchange, outcome: Outcome) -> None: ...  # type: ignore[override]


class AnswersText(Filter):
    def on_request(self, exchange: Exchange) -> Any:
        return b"no"


class AnswersAsBackend(Filter):
    def on_request(self, exchange: Exchange) -> Response:
        return Response(200, [])


class ForgetsTheResponse(Filter):
    def on_response(self, exchange: Exchange, response: Response) -> Any:
        response.set(b"x-a", b"b")


class FailsOnComplete(Filter):
    def on_response(self, exchange: Exchange, response: Response) -> Response:
        exchange.notes[self] = 1
        return response

    def on_complete(self, exchange: Exchange, outcome: Outcome) -> None:
        del exchange.notes[self]


class WaitsOnComplete(Filter):
    def on_complete(self, exchange: Exchange, outcome: Outcome) -> Any:
        return asyncio.get_running_loop().create_future()


class UpperCase(Filter):
    def on_request(self, exchange: Exchange) -> None:
        exchange.request.append(b"X-Model", b"7")


class Injects(Filter):
    def on_response(self, exchange: Exchange, response: Response) -> Response:
        response.append(b"x-a", b"b\r\nx-c: d")
        return response


class Frames(Filter):
    def on_response(self, exchange: Exchange, response: Response) -> Response:
        response.set(b"content-length", b"0")
        return response


class WritesBehindFields(Filter):
    def on_request(self, exchange: Exchange) -> None:
        exchange.request.get(b"x-a")
        exchange.request.headers.append((b"x-a", b"b"))


class Swallows(BodyWrap):
    def data(self, chunk: bytes) -> bytes:
        return b""


class Shortens(Filter):
    def on_response(self, exchange: Exchange, response: Response) -> Response:
        response.wrap(Swallows())
        return response


class Keeps(Filter):
    def __init__(self, config: Any, services: Any) -> None:
        super().__init__(config, services)
        self.last: Exchange | None = None

    def on_request(self, exchange: Exchange) -> None:
        self.last = exchange


class Grows(Filter):
    def __init__(self, config: Any, services: Any) -> None:
        super().__init__(config, services)
        self.users: set[bytes | None] = set()

    def on_request(self, exchange: Exchange) -> None:
        self.users.add(exchange.request.get(b"x-user-id"))


class Confuses(Filter):
    """Keeps a request's user on self."""

    user: bytes | None = None

    def on_request(self, exchange: Exchange) -> None:
        self.user = exchange.request.get(b"x-user-id")

    def on_response(self, exchange: Exchange, response: Response) -> Response:
        response.set(b"x-user", self.user or b"-")
        return response


class SpawnsAtOnce(Filter):
    def __init__(self, config: Any, services: Any) -> None:
        super().__init__(config, services)

        async def work() -> None: ...

        services.spawn(work(), "work")

    def on_request(self, exchange: Exchange) -> None: ...


class Leaks(Filter):
    def on_request(self, exchange: Exchange) -> None:
        raise KeyError("x-user-id")


Check = Callable[[behaviour.Make], Coroutine[Any, Any, None] | None]
CHECKS: list[Check] = [
    behaviour.check_hooks,
    behaviour.check_lives,
    behaviour.check_keeps_nothing,
    behaviour.check_shared,
]


def judged(check: Check, filter_type: type[Filter]) -> None:
    async def run() -> None:
        result = check(lambda services: filter_type(None, services))
        if isinstance(result, Awaitable):
            await result

    asyncio.run(run())


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("filter_type", [Good])
def test_a_good_filter_passes(check: Check, filter_type: type[Filter]) -> None:
    judged(check, filter_type)


@pytest.mark.parametrize(
    ("check", "filter_type", "said"),
    [
        (behaviour.check_hooks, Silent, "it defines no hook"),
        (behaviour.check_hooks, AsyncComplete, "plain def"),
        (behaviour.check_hooks, SpawnsAtOnce, "must not spawn work before"),
        (behaviour.check_lives, AnswersText, "on_request returned b'no'"),
        (behaviour.check_lives, AnswersAsBackend, "local=True"),
        (behaviour.check_lives, ForgetsTheResponse, "on_response returned None"),
        (behaviour.check_lives, WaitsOnComplete, "on_complete must not wait"),
        (behaviour.check_lives, AsyncComplete, "on_complete must not wait"),
        (behaviour.check_lives, UpperCase, "b'X-Model' is no field name"),
        (behaviour.check_lives, Injects, "the value of b'x-a' has CR, LF or NUL"),
        (behaviour.check_lives, Frames, "b'content-length' belongs to the framing"),
        (behaviour.check_lives, WritesBehindFields, "use set, append and remove"),
        (behaviour.check_lives, Shortens, "bytes were declared"),
        (behaviour.check_keeps_nothing, Keeps, "exchanges are kept after on_complete"),
        (behaviour.check_keeps_nothing, Grows, "the filter grows"),
        (behaviour.check_shared, Confuses, "disturb each other"),
    ],
)
def test_a_bad_filter_is_told_what_to_do(check: Check, filter_type: type[Filter], said: str) -> None:
    with pytest.raises(AssertionError) as raised:
        judged(check, filter_type)
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("filter_type", "kind"), [(FailsOnComplete, KeyError), (Leaks, KeyError), (SpawnsBlindly, Failure)]
)
def test_what_a_hook_raises_beside_failure_is_not_swallowed(filter_type: type[Filter], kind: type[Exception]) -> None:
    with pytest.raises(kind):
        judged(behaviour.check_lives, filter_type)


def test_a_refusal_is_no_mistake() -> None:
    class Refuses(Filter):
        def on_request(self, exchange: Exchange) -> None:
            raise Failure("key_missing", "send an Idempotency-Key")

    judged(behaviour.check_lives, Refuses)


class Nested(msgspec.Struct, frozen=True):
    """Lets unknown keys pass."""

    a: int = 0  # a number


class Loose(FilterConfig, frozen=True, tag="loose"):
    """Holds one that does."""

    nested: tuple[Nested, ...] = ()  # some


class Bare(FilterConfig, frozen=True, tag="bare"):
    """Has a field that nobody explains."""

    explained: int = 0  # a number
    bare: int = 0


class Shouting(FilterConfig, frozen=True, tag="Shouting"):
    """Its name is no lower-case word."""


class Invalid(FilterConfig, frozen=True, tag="invalid"):
    """Finds a mistake in every example."""

    def mistakes(self) -> list[tuple[tuple[str | int, ...], str]]:
        return [((), "wrong")]


class OneWay(FilterConfig, frozen=True, tag="one_way"):
    """Holds what msgspec cannot send."""

    what: Any = None  # anything


def test_a_bad_schema_is_told_what_to_do() -> None:
    with pytest.raises(AssertionError, match="Nested: declare it forbid_unknown_fields"):
        schema.check_type(Loose)
    with pytest.raises(AssertionError, match="Shouting: give it a lower-case tag"):
        schema.check_type(Shouting)
    with pytest.raises(AssertionError, match="a valid example has mistakes"):
        schema.check_example(Invalid, {"type": "invalid"})
    with pytest.raises(AssertionError, match="it changes on its way"):
        schema.check_example(OneWay, {"type": "one_way", "what": (1, 2)})
    assert list(schema.fields_without_comment(Bare)) == ["bare"]
