"""Bodies between the two connections of an exchange: held within a bound, read whole on demand, passed on by wraps."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Final

from ..filters.api import BodyWrap, Failure, Message, Request
from .exchange import HELD, PEER, Call, Client

if TYPE_CHECKING:
    from .mirrored import Mirrored

HELD_BYTES: Final = 64 * 1024
"""How much of a body waits for a connection before its sender is paused."""

Spawn = Callable[[Coroutine[Any, Any, None]], None]


class Wrapped:
    """A body's wraps in a row. Counts what leaves them: a message that is longer or shorter than it declared would be
    read differently by those who come after us.

    Mutable state: `_left`, bytes of the declared length still to come; None where none was declared.
    """

    __slots__ = ("_began", "_left", "_wraps")

    def __init__(self, wraps: Sequence[BodyWrap], length: int | None) -> None:
        self._wraps = wraps
        self._left = length
        self._began = False

    def chunk(self, chunk: bytes) -> bytes:
        """A chunk as it leaves the last wrap. Raises ValueError past the declared length, and what a wrap raises."""
        self._began = self._began or bool(chunk)
        for wrap in self._wraps:
            if chunk:
                chunk = wrap.data(chunk)
        return self._counted(chunk)

    async def end(self) -> bytes:
        """What the wraps held back until the end, each one's passed through those behind it. Raises like `chunk`, and
        ValueError short of the declared length, save where there was no body at all, as in an answer to HEAD."""
        held = b""
        for wrap in self._wraps:
            if held:
                held = wrap.data(held)
            last = wrap.end()
            held += await last if isinstance(last, Awaitable) else last
        held = self._counted(held)
        if self._left and (self._began or held):
            raise ValueError(f"a wrapped body ended {self._left} bytes short of its declared length")
        return held

    def _counted(self, chunk: bytes) -> bytes:
        if self._left is not None:
            self._left -= len(chunk)
            if self._left < 0:
                raise ValueError("a wrapped body is longer than its declared length")
        return chunk


class Intake:
    """A request's body on its way from the client to the call.

    Mutable state: `_held`, the chunks that no call has taken yet, at most `HELD_BYTES` and one read beyond the pause,
    or the limit of `read` and one read beyond it where a filter collects the whole body; `ended`, whether the client
    has sent all of it.
    """

    __slots__ = (
        "_client", "_collecting", "_failed", "_held", "_limit", "_message", "_spawn", "_wrapped", "call", "ended",
        "mirrored", "size",
    )  # fmt: skip

    def __init__(
        self, message: Request, client: Client | None, spawn: Spawn, failed: Callable[[Exception], None]
    ) -> None:
        self.call: Call | None = None
        self.mirrored: Mirrored | None = None  # hears what the call is sent
        self.ended = message.ended
        self.size = len(message.content)
        self._message = message
        self._client = client
        self._spawn = spawn
        self._failed = failed
        self._wrapped: Wrapped | None = None
        self._held: list[bytes] = [message.content] if message.content else []
        self._limit = HELD_BYTES
        self._collecting: asyncio.Future[None] | None = None
        if not message.ended:
            message.reader = self.read

    async def read(self, limit: int) -> bytes:
        """The whole body, at most `limit` bytes. Raises Failure("body_too_large")."""
        self._limit = limit
        if self.size > limit:
            raise _too_large(limit)
        if not self.ended:
            self._collecting = asyncio.get_running_loop().create_future()
            self._ask()
            await self._collecting
        message = self._message
        message.content = b"".join(self._held)
        message.ended = True
        message.length = len(message.content)
        return message.content

    def take(self, chunk: bytes, ended: bool) -> None:
        """The client's next bytes."""
        self.size += len(chunk)
        self.ended = ended
        if self.call is not None:
            self._pass(self.call, chunk, ended)
            return
        if chunk:
            self._held.append(chunk)
        collecting = self._collecting
        if collecting is None or collecting.done():
            if self.size >= HELD_BYTES and self._client is not None:
                self._client.pause(HELD)
        elif self.size > self._limit:
            collecting.set_exception(_too_large(self._limit))
            if self._client is not None:
                self._client.pause(HELD)
        elif ended:
            collecting.set_result(None)

    def release(self) -> bytes:
        """All that is held: from now on it belongs to the caller, who sends it."""
        held = b"".join(self._held)
        self._held.clear()
        return held

    def replace(self, content: bytes) -> None:
        """Send this in place of the whole body, which is held."""
        self._held = [content] if content else []

    def follow(self, call: Call) -> None:
        """From now on bytes go straight to the call, those that are held first."""
        self.call = call
        if self._message.wraps is not None:
            self._wrapped = Wrapped(self._message.wraps, self._message.length)
        self._pass(call, self.release(), self.ended)
        if not self.ended:
            self._ask()

    def _ask(self) -> None:
        if self._client is not None:
            self._client.proceed()
            self._client.resume(HELD)

    def fail(self, failure: Failure) -> None:
        """No more will come: whoever reads the whole body hears why."""
        if self._collecting is not None and not self._collecting.done():
            self._collecting.set_exception(failure)

    def _pass(self, call: Call, chunk: bytes, ended: bool) -> None:
        wrapped = self._wrapped
        if wrapped is not None:
            try:
                chunk = wrapped.chunk(chunk)
            except Exception as error:
                self._failed(error)
                return
        if chunk:
            call.write(chunk)
        if self.mirrored is not None and (chunk or ended):
            self.mirrored.take(chunk, ended and wrapped is None)
        if not ended:
            return
        if wrapped is None:
            call.finish()
        else:
            self._spawn(self._finish(call, wrapped))

    async def _finish(self, call: Call, wrapped: Wrapped) -> None:
        try:
            held = await wrapped.end()
        except Exception as error:
            self._failed(error)
            return
        if held:
            call.write(held)
        if self.mirrored is not None:
            self.mirrored.take(held, True)
        call.finish()


class Outlet:
    """A response's body on its way from the call to the client, where it does not leave in the turn it came.

    Mutable state: `held`, what came while a filter waits (the call is paused meanwhile, so it is one read at most),
    None when nothing is held; `call`, None once the answer has been read to its end.
    """

    __slots__ = ("_client", "_done", "_failed", "_over", "_spawn", "_wrapped", "call", "held", "size")

    def __init__(
        self, client: Client | None, call: Call | None, spawn: Spawn, done: Callable[[], None],
        failed: Callable[[Exception], None],
    ) -> None:  # fmt: skip
        self.call = call
        self.held: list[bytes] | None = None
        self.size = 0
        self._client = client
        self._wrapped: Wrapped | None = None
        self._over = False
        self._spawn = spawn
        self._done = done
        self._failed = failed

    def hold(self) -> None:
        """Keep what comes until `release`."""
        if self.held is None:
            self.held = []
        if self.call is not None:
            self.call.pause(HELD)

    def release(self, message: Message) -> None:
        """The head has left: pass on what was held, and from now on what comes."""
        held, self.held = self.held, None
        if message.wraps is not None:
            self._wrapped = Wrapped(message.wraps, message.length)
        for chunk in held or ():
            self.take(chunk, False)
        if self._over:
            return
        if self.call is None:
            self._end()
        else:
            self.call.resume(HELD)

    def take(self, chunk: bytes, ended: bool) -> None:
        """The call's next bytes."""
        if ended:
            self.call = None
        if self.held is not None:
            if chunk:
                self.held.append(chunk)
            return
        if self._over:
            return
        wrapped = self._wrapped
        if wrapped is not None:
            try:
                chunk = wrapped.chunk(chunk)
            except Exception as error:
                self._over = True
                self._failed(error)
                return
        last = ended and wrapped is None
        self.size += len(chunk)
        if self._client is not None and (chunk or last):
            self._client.data(chunk, last)
        if last:
            self._done()
        elif ended:
            self._end()

    def lose_client(self) -> None:
        """Read the answer to its end for nobody's sake but the filters'."""
        self._client = None
        if self.call is not None:
            self.call.resume(PEER)

    def _end(self) -> None:
        if self._wrapped is None:
            if self._client is not None:
                self._client.data(b"", True)
            self._done()
        else:
            self._spawn(self._end_wrapped(self._wrapped))

    async def _end_wrapped(self, wrapped: Wrapped) -> None:
        try:
            last = await wrapped.end()
        except Exception as error:
            self._failed(error)
            return
        self.size += len(last)
        if self._client is not None:
            self._client.data(last, True)
        self._done()


def _too_large(limit: int) -> Failure:
    return Failure("body_too_large", f"the body is larger than {limit} bytes")
