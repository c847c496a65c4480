"""All that a filter author may import.

A filter is one step of a route's chain. Requests run down the chain, answers and completions back up it::

    class Filter:
        def on_request(self, exchange)             # head is in, the body may still be arriving
        def on_response(self, exchange, response)  # head is in, no body byte has left
        def on_complete(self, exchange, outcome)   # exactly once, after the last byte, a failure or a disconnect

Nothing here knows a protocol version, a socket or a configuration file.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from random import Random
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

import msgspec

from .keytally import KeyTally
from .messages import Exchange, Failure, Headers, Message, Outcome, Reason, Request, Response

__all__ = [
    "BodyWrap", "Exchange", "Failure", "Filter", "FilterConfig", "Headers", "KeyTally", "Message", "Outcome", "Reason",
    "Request", "Response", "Services", "Told",
]  # fmt: skip


class BodyWrap:
    """Stands between a body's source and its destination. One instance serves one message.

    It may hold back bytes, within a bound of its own; what it holds it must give back in `end`.
    """

    def data(self, chunk: bytes) -> bytes:
        """Return what goes on now: the chunk, a replacement, or b"" to hold it back. Must not block."""
        return chunk

    def end(self) -> bytes | Awaitable[bytes]:
        """The source has ended. Return what was held back; an awaitable holds back the message's end."""
        return b""


class Told(NamedTuple):
    """What a filter says of its own decision, for `understudy explain`."""

    words: tuple[str, ...]  # lines for a person
    facts: dict[str, Any]  # the same for a program: plain values only, no secret and no raw key


class Services(Protocol):
    """What the worker lends to its filters."""

    @property
    def rng(self) -> Random: ...

    def now(self) -> float:
        """Monotonic seconds."""
        ...

    @property
    def secret(self) -> bytes:
        """The program's own 32 bytes, the same in every worker: derive a key of your own from it, never use it bare."""
        ...

    def count(self, name: str, by: int = 1) -> None:
        """Add to a named counter. The name comes from the code or the configuration, never from a request."""
        ...

    def available(self, backend: str) -> bool:
        """Whether any endpoint of this backend is not known to be down."""
        ...

    def key_use(self, experiment: str) -> KeyTally:
        """How the keys of this split are spread: one object for all routes, which outlives configurations."""
        ...

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Run work that outlives its exchange, supervised and bounded. Raises Failure("overloaded") at the bound."""
        ...


class FilterConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", kw_only=True):
    """The YAML of one filter. A subclass names itself with `tag=`; its fields' comments are the user's reference."""

    active: ClassVar[bool] = True  # False: checked, but the machinery comes later

    def mistakes(self) -> list[tuple[tuple[str | int, ...], str]]:
        """What types cannot say: (path inside this filter, what is wrong and what is allowed)."""
        return []

    def references(self) -> list[tuple[tuple[str | int, ...], str]]:
        """Every backend that it names: (path inside this filter, the backend's name)."""
        return []

    def deciding(self) -> FilterConfig | None:
        """What of it decides who answers an exchange and who hears it, None for nothing: where that changes, former
        exchanges are not compared with new ones. Whoever names backends decides."""
        return self if self.references() else None


class Filter:
    """One step of a chain, built once per route and shared by all its requests: no per-request state on self.

    Define only the hooks you need; a chain holds no others. A hook that raises `Failure` refuses the request by that
    reason; any other exception is a 500 that names the filter in the log.
    """

    def __init__(self, config: Any, services: Services) -> None:
        self.config = config
        self.services = services

    def on_request(self, exchange: Exchange) -> Response | Awaitable[Response | None] | None:
        """The head is in, the body may still be arriving. Return a Response to answer at once."""
        return None

    def hook(self, name: Literal["on_request", "on_response", "on_complete"]) -> Callable[..., Any] | None:
        """What a chain calls at this point, None for nothing: by default the method, where a class defines it.

        Override it where a configuration leaves a hook nothing to do, or where compiled code stands behind it.
        """
        return getattr(self, name) if getattr(type(self), name) is not getattr(Filter, name) else None

    def explain(self, exchange: Exchange) -> Told | None:
        """Decide as `on_request` does, with the same effect on the exchange, and tell why. None: nothing to tell."""
        return None

    def on_response(self, exchange: Exchange, response: Response) -> Response | Awaitable[Response]:
        """The head is in, no body byte has left. Return the same response or another one."""
        return response

    def on_complete(self, exchange: Exchange, outcome: Outcome) -> None:
        """Everything is over. Never async: it runs during cancellation, and must not block."""
