"""One conversation: a raw client, the proxy, the raw backend. What was sent, what came back, what the backend read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Literal, TypeAlias

from tests.kit.raw import Answer, Connection, RawBackend, RawClient
from tests.kit.strict import Incomplete, Refusal, Request, Response, read_response, read_responses

from .policy import read_front

Ending: TypeAlias = Literal["open", "closes", "refused", "incomplete"]
_numbers = count(1)


@dataclass(slots=True)
class Plan:
    """The client's bytes as the strict reader and the contract read them: what is owed, and how it ends."""

    requests: list[Request]
    ending: Ending
    refusal: Refusal | None = None


@dataclass(slots=True, repr=False)  # asyncio writes down what a task returned, at the length of everything in it
class Transcript:
    """Everything that happened in one conversation, for the judge."""

    sent: bytes
    plan: Plan
    received: bytes = b""
    ended: str = ""
    hung: bool = False
    log: list[tuple[Connection, Request]] = field(default_factory=list)
    connections: list[Connection] = field(default_factory=list)
    follow_up: bytes | None = None  # the target of the request that followed on the same connection
    after: bytes = b""  # the target of the request on a fresh client connection behind it
    after_received: bytes = b""


def plan_of(sent: bytes) -> Plan:
    """Read the client's bytes up to where a strict recipient would stop reading."""
    requests: list[Request] = []
    at = 0
    while at < len(sent):
        message = read_front(sent, at)
        if isinstance(message, Refusal):
            # A recipient may wait for the whole head before it judges a line of it.
            head_ended = message.rule.startswith("RFC 9112 2.1:") or any(
                sent.find(end, message.at + 2) >= 0 for end in (b"\n\n", b"\n\r\n", b"\n\r\r\n")
            )
            return Plan(requests, "refused" if head_ended or 431 in message.statuses else "incomplete", message)
        if isinstance(message, Incomplete):
            return Plan(requests, "incomplete")
        requests.append(message)
        if not message.keeps_alive:
            return Plan(requests, "closes")
        at = message.end
    return Plan(requests, "open")


class Progress:
    """The whole final answers so far, read on from where the last look ended. `more`: answers to GETs behind them."""

    def __init__(self, client: RawClient, requests: Sequence[Request], more: int = 0) -> None:
        self._client = client
        self._methods = [request.method for request in requests] + [b"GET"] * more
        self.answers: list[Response] = []

    def answered(self, owed: int) -> bool:
        """Whether as many answers are whole."""
        while len(self.answers) < min(owed, len(self._methods)):
            at = self.answers[-1].end if self.answers else 0
            answer = read_response(bytes(self._client.received[at:]), method=self._methods[len(self.answers)])
            if not isinstance(answer, Response):
                return False
            answer.end += at
            self.answers.append(answer)
        return True

    @property
    def keeps_alive(self) -> bool:
        """Whether no answer so far announces the end."""
        return all(answer.keeps_alive for answer in self.answers)


async def converse(
    proxy: tuple[str, int], backend: RawBackend, segments: Sequence[bytes], script: Sequence[Answer] = ()
) -> Transcript:
    """Send the segments, wait for what is owed, follow up on the same connection, then ask again on a fresh one."""
    backend.forget()
    backend.script.extend(script)
    sent = b"".join(segments)
    told = Transcript(sent, plan_of(sent))
    client = await RawClient.connect(proxy)
    progress = Progress(client, told.plan.requests, 1)
    try:
        await client.send(segments)
        await _collect(client, told, progress)
        if told.plan.ending == "open" and not client.ended and not told.hung and progress.keeps_alive:
            told.follow_up = b"/follow-up/%d" % next(_numbers)
            client.transport.write(b"GET %s HTTP/1.1\r\nHost: follow.test\r\n\r\n" % told.follow_up)
            owed = len(told.plan.requests) + 1
            told.hung = not await client.until(lambda: progress.answered(owed))
    finally:
        client.close()
    told.received, told.ended = bytes(client.received), client.ended
    told.log, told.connections = list(backend.log), list(backend.connections)
    backend.script.clear()
    await _ask_again(proxy, told)
    return told


async def _collect(client: RawClient, told: Transcript, progress: Progress) -> None:
    """Wait until everything owed came; then, where the stream must end, for its end."""
    plan = told.plan
    owed = len(plan.requests) + (plan.ending == "refused")  # an answer in its place ends the wait, refusal or not
    told.hung = not await client.until(lambda: progress.answered(owed))
    if plan.ending == "incomplete":
        client.finish()
    if not told.hung and (plan.ending in ("closes", "incomplete") or not progress.keeps_alive):
        told.hung = not await client.until(lambda: False)


async def _ask_again(proxy: tuple[str, int], told: Transcript) -> None:
    told.after = b"/after/%d" % next(_numbers)
    client = await RawClient.connect(proxy)
    try:
        client.transport.write(b"GET %s HTTP/1.1\r\nHost: after.test\r\n\r\n" % told.after)
        whole = await client.until(
            lambda: bool(read_responses(bytes(client.received), [b"GET"], closed=bool(client.ended))[0])
        )
        told.hung = told.hung or not whole
    finally:
        client.close()
    told.after_received = bytes(client.received)
