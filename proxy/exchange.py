"""What a codec and an exchange say to each other: one vocabulary on either side, whichever protocol is spoken.

A client's codec reads requests and calls `begin` on the pipeline; the exchange answers through `Client`. A backend's
codec is a `Call`; it reports to its `Caller`. Nothing here waits: whoever cannot take more bytes says so.
They are classes to derive from rather than protocols, since compiled code calls their methods directly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ..filters.api import Failure, Headers, Response
from .traits import trait

if TYPE_CHECKING:
    from ..config.snapshot import Backend


PEER: Final = 1
"""Why a connection is not read: the other side of its exchange has yet to take what was written."""

HELD: Final = 2
"""Why a connection is not read: its body waits for a filter or for a connection."""

AHEAD: Final = 4
"""Why a connection is not read: enough of the next requests is here already."""

EVERYTHING: Final = PEER | HELD | AHEAD


@trait
class Client:
    """The client's side of one exchange."""

    __slots__ = ()

    def proceed(self) -> None:
        """The body is wanted now: a client that waits for leave gets it."""
        raise NotImplementedError

    def interim(self, status: int, headers: Headers) -> None:
        """Pass on a 1xx answer, where the client's protocol knows them."""
        raise NotImplementedError

    def answer(self, response: Response) -> None:
        """Send a head with the content at hand; it ends the answer when `response.ended`."""
        raise NotImplementedError

    def data(self, chunk: bytes, ended: bool) -> None:
        """Send more of the answer's body, its end with it when `ended`."""
        raise NotImplementedError

    def tunnel(self, response: Response, call: Call, first: bytes) -> None:
        """Confirm the switch of protocols and pass bytes through from now on, beginning with `first`."""
        raise NotImplementedError

    def cut(self) -> None:
        """Break the answer off so that nobody takes it for complete."""
        raise NotImplementedError

    def pause(self, reason: int) -> None:
        """Read no more of the request while any reason stands."""
        raise NotImplementedError

    def resume(self, reason: int) -> None:
        """These reasons stand no longer."""
        raise NotImplementedError

    def progressed(self) -> bool:
        """Whether the client took any byte since it was last asked."""
        raise NotImplementedError

    def finished(self) -> None:
        """The exchange is over; the next one may begin."""
        raise NotImplementedError


@trait
class Caller:
    """Who made a call and hears of it. Exactly one of `call_lost` and an `ended` comes last."""

    def call_interim(self, status: int, headers: Headers) -> None:
        raise NotImplementedError

    def call_answered(self, response: Response) -> None:
        """The head is in, with as much of the body as came with it."""
        raise NotImplementedError

    def call_data(self, chunk: bytes, ended: bool) -> None:
        raise NotImplementedError

    def call_switched(self, response: Response, first: bytes) -> None:
        """The backend switched protocols as asked; `first` are the bytes behind its head."""
        raise NotImplementedError

    def call_lost(self, failure: Failure) -> None:
        """The call failed. `Call.answered` and `Call.reused` say how far it came."""
        raise NotImplementedError

    def call_writable(self, writable: bool) -> None:
        """Whether more of the request's body can be taken."""
        raise NotImplementedError

    def client_progressed(self) -> bool:
        raise NotImplementedError


class Fields:
    """End-to-end fields that several calls of one exchange send alike. Mutable state: `rendered`, the bytes that a
    codec made of them for the first call, and uses again for the others."""

    __slots__ = ("headers", "rendered")

    def __init__(self, headers: Headers) -> None:
        self.headers = headers
        self.rendered = b""


@trait
class Call:
    """One request to a backend and its answer."""

    __slots__ = ()

    reused: bool  # the connection served another call before
    answered: bool  # at least one byte of an answer came

    def send(
        self, caller: Caller, backend: Backend, method: bytes, target: bytes, authority: bytes, fields: Fields | None,
        own: Headers, content: bytes, ended: bool, length: int | None, upgrade: bytes | None,
    ) -> None:  # fmt: skip
        """Send a request with the content at hand. `own` are the fields behind those that it shares with other
        calls; `length` is that of the whole body, None when nobody knows it."""
        raise NotImplementedError

    def write(self, chunk: bytes) -> None:
        raise NotImplementedError

    def finish(self) -> None:
        """The request's body has ended."""
        raise NotImplementedError

    def unsent(self) -> int:
        """How many bytes were written and have not left yet."""
        raise NotImplementedError

    def cancel(self) -> None:
        """End the call at once, so that the backend stops working on it. Nothing is reported any more."""
        raise NotImplementedError

    def pause(self, reason: int) -> None:
        """Read no more of the answer while any reason stands."""
        raise NotImplementedError

    def resume(self, reason: int) -> None:
        """These reasons stand no longer."""
        raise NotImplementedError

    def pass_through(self, data: bytes) -> None:
        """After a switch of protocols: bytes as they are."""
        raise NotImplementedError

    def pass_end(self) -> None:
        raise NotImplementedError
