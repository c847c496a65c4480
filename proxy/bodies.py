"""Bodies between the two connections of an exchange: held within a bound, read whole on demand, passed through wraps."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence

from ..filters.api import BodyWrap, Failure, Message
from .exchange import Call, Client

HELD_BYTES = 64 * 1024
"""How much of a body waits for a connection before its sender is paused."""


def wrap_chunk(wraps: Sequence[BodyWrap], chunk: bytes) -> bytes:
    """A chunk as it leaves the last wrap."""
    for wrap in wraps:
        if chunk:
            chunk = wrap.data(chunk)
    return chunk


async def wrap_end(wraps: Sequence[BodyWrap]) -> bytes:
    """What the wraps held back until the end, each one's passed through those behind it."""
    held = b""
    for wrap in wraps:
        if held:
            held = wrap.data(held)
        last = wrap.end()
        held += await last if isinstance(last, Awaitable) else last
    return held


class Intake:
    """A request's body on its way from the client to the call.

    Mutable state: `_held`, the chunks that no call has taken yet, at most `HELD_BYTES` and one read beyond the pause,
    or the limit of `read` while a filter collects the whole body; `ended`, whether the client has sent all of it.
    """

    __slots__ = ("_client", "_collecting", "_held", "_limit", "call", "ended", "message", "size")

    def __init__(self, message: Message, client: Client) -> None:
        self.message = message
        self.call: Call | None = None
        self.ended = message.ended
        self.size = len(message.content)
        self._client = client
        self._held: list[bytes] = []
        self._limit = HELD_BYTES
        self._collecting: asyncio.Future[None] | None = None

    async def read(self, limit: int) -> bytes:
        """The whole body, at most `limit` bytes. Raises Failure("body_too_large")."""
        self._limit = limit
        if self.size > limit:
            raise Failure("body_too_large", f"the body is larger than {limit} bytes")
        if not self.ended:
            self._collecting = asyncio.get_running_loop().create_future()
            self._client.proceed()
            self._client.resume()
            await self._collecting
        content = b"".join(self._held)
        self._held.clear()
        self.message.ended = True
        self.message.length = len(content)
        return content

    def take(self, chunk: bytes, ended: bool) -> None:
        """The client's next bytes."""
        self.size += len(chunk)
        self.ended = ended
        call = self.call
        if call is not None:
            if chunk:
                call.write(chunk)
            if ended:
                call.finish()
            return
        if chunk:
            self._held.append(chunk)
        if self._collecting is None:
            if self.size >= HELD_BYTES:
                self._client.pause()
        elif self._collecting.done():
            return
        elif self.size > self._limit:
            self._collecting.set_exception(Failure("body_too_large", f"the body is larger than {self._limit} bytes"))
        elif ended:
            self._collecting.set_result(None)

    def release(self) -> bytes:
        """All that is held: from now on it belongs to the caller, who sends it."""
        held = b"".join(self._held)
        self._held.clear()
        return held

    def follow(self, call: Call) -> None:
        """From now on bytes go straight to the call."""
        self.call = call
        self._client.proceed()
        self._client.resume()

    def fail(self, failure: Failure) -> None:
        """No more will come: whoever reads the whole body hears why."""
        if self._collecting is not None and not self._collecting.done():
            self._collecting.set_exception(failure)
