"""A bounded load: users who ask at a constant rate, first unheard by the shadow, then heard, then unheard again.

Each answer is compared with the one that the backend gives when asked without the proxy, and with who answered before.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Mapping, Sequence
from random import Random
from typing import NamedTuple, TypeAlias

import aiohttp

from .questions import Question, essence
from .users import PRIVATE, User

Known: TypeAlias = Mapping[tuple[Question, str], bytes]
"""The essence of each backend's answer to each question, as it gives it without the proxy."""

QUIET = 0.2
"""The share of the time before the rehearsal, and after it: what is drifting drifts in both."""

BACKEND = "x-understudy-backend"


class Answer(NamedTuple):
    """One answer, or what came instead of it."""

    kind: str  # of the user
    backend: str  # who answered; "" when nobody did
    streamed: bool
    seconds: float  # to the last byte
    rehearsed: bool  # the shadow may have heard it
    complaint: str | None
    strayed: bool  # the wrong backend for this user


class Load(NamedTuple):
    """How much is asked, by whom, and of whom."""

    base: str
    users: Sequence[User]
    known: Known
    seconds: float
    rate_per_s: float

    def rehearses(self, at_s: float) -> bool:
        """Whether the shadow is heard so many seconds after the start."""
        return QUIET * self.seconds <= at_s < (1 - QUIET) * self.seconds


async def run(
    session: aiohttp.ClientSession, load: Load, report: Callable[[float, Sequence[Answer]], Awaitable[None]]
) -> list[Answer]:
    """Ask at the rate of the load until its time is over; report the answers of each second. Return all of them."""
    loop = asyncio.get_running_loop()
    answers: list[Answer] = []
    began = loop.time()
    async with asyncio.TaskGroup() as group:
        asking = group.create_task(_ask_all(session, load, began, answers))
        told = 0
        for lap in itertools.count(1):
            await asyncio.wait([asking], timeout=began + min(lap, load.seconds) - loop.time())
            fresh, told = answers[told:], len(answers)
            await report(min(lap, load.seconds), fresh)
            if lap >= load.seconds:
                break
        await asking
    return answers


async def _ask_all(session: aiohttp.ClientSession, load: Load, began: float, answers: list[Answer]) -> None:
    """Start each visit at its time, whether or not those before it are over."""
    questions = sorted({question for question, _ in load.known})
    draw = Random(1936)
    turn = itertools.cycle(draw.sample(load.users, len(load.users)))
    async with asyncio.TaskGroup() as group:
        for number in range(int(load.seconds * load.rate_per_s)):
            due_s = number / load.rate_per_s
            await until(began + due_s)
            visit = _visit(session, load, next(turn), draw.choice(questions), load.rehearses(due_s), answers)
            group.create_task(visit)


async def until(when: float) -> None:
    """Until the loop's clock says `when`."""
    loop = asyncio.get_running_loop()
    reached = loop.create_future()
    loop.call_at(when, reached.set_result, None)
    await reached


async def _visit(
    session: aiohttp.ClientSession, load: Load, user: User, question: Question, rehearsed: bool, answers: list[Answer]
) -> None:
    clock = asyncio.get_running_loop().time
    headers = user.headers() if rehearsed else {**user.headers(), **PRIVATE}
    backend, stray, began = "", None, clock()
    try:
        status, fields, body = await ask(session, load.base, question, headers)
        seconds = clock() - began
        backend = fields.get(BACKEND, "")
        complaint = _complaint(load, question, status, backend, body)
        if complaint is None:
            complaint = stray = user.answered(backend, fields.get("set-cookie"))
    except (aiohttp.ClientError, TimeoutError) as error:
        seconds = clock() - began
        complaint = f"{question.path}: {type(error).__name__}: {error}"
    heard = rehearsed and user.kind != "private"
    answers.append(Answer(user.kind, backend, question.streamed, seconds, heard, complaint, stray is not None))


def _complaint(load: Load, question: Question, status: int, backend: str, body: bytes) -> str | None:
    if status != 200:
        return f"{question.path}: status {status}: {body[:300].decode(errors='replace')}"
    expected = load.known.get((question, backend))
    if expected is None:
        return f"{question.path}: {backend or 'nobody'} answered, who should not"
    if essence(question, body) != expected:
        return f"{question.path}: not what {backend} answers without the proxy"
    return None


async def ask(
    session: aiohttp.ClientSession, base: str, question: Question, headers: Mapping[str, str] | None = None
) -> tuple[int, Mapping[str, str], bytes]:
    """One request; its status, its fields and its whole body."""
    asked = {"content-type": "application/json", **(headers or {})}
    async with session.post(base + question.path, data=question.body, headers=asked) as response:
        return response.status, response.headers, await response.read()
