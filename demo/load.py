"""A bounded load: callers that ask and compare the answer with the one the model gives without the proxy."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

import aiohttp

from .questions import Question, essence

Known: TypeAlias = tuple[Question, bytes]
"""A question, and the essence of the answer that its model gives without the proxy."""


class Tally:
    """What a load came to. Mutable: every caller adds to it; `lap` begins a new lap."""

    def __init__(self) -> None:
        self.answers: Counter[str] = Counter()  # by backend
        self.wrong: Counter[str] = Counter()  # by what was wrong
        self.streams = 0
        self._lap_s: list[float] = []
        self._all_s: list[float] = []
        self._lap_streams = 0

    def add(self, question: Question, seconds: float, complaint: str | None) -> None:
        """Count one answer; streams are left out of the times, which they would swamp."""
        self.answers[question.backend] += 1
        if complaint is not None:
            self.wrong[complaint] += 1
        if question.streamed:
            self.streams += 1
        else:
            self._lap_s.append(seconds)
            self._all_s.append(seconds)

    def lap(self) -> str:
        """One line about the time since the last lap."""
        times, self._lap_s = self._lap_s, []
        streams, self._lap_streams = self.streams - self._lap_streams, self.streams
        return _line(times, streams)

    def summary(self) -> str:
        """One line about the whole load."""
        return _line(self._all_s, self.streams)


def _line(times_s: Sequence[float], streams: int) -> str:
    parts = []
    if times_s:
        ordered = sorted(times_s)
        p50, p99 = (ordered[int(len(ordered) * share)] * 1000 for share in (0.5, 0.99))
        parts.append(f"{len(ordered):6,} predictions   p50 {p50:5.1f} ms   p99 {p99:5.1f} ms")
    if streams:
        parts.append(f"{streams:5,} streams")
    return "   ".join(parts)


async def run(
    session: aiohttp.ClientSession,
    base: str,
    known: Sequence[Known],
    *,
    seconds: float,
    callers: int,
    report: Callable[[int, str], None],
) -> Tally:
    """Ask all questions in turn, over and over, for so many seconds; report each second."""
    loop = asyncio.get_running_loop()
    tally = Tally()
    end = loop.time() + seconds
    async with asyncio.TaskGroup() as group:
        pending = {group.create_task(_caller(session, base, turn, end, tally)) for turn in _turns(known, callers)}
        for lap in itertools.count(1):
            _, pending = await asyncio.wait(pending, timeout=1.0)
            if not pending:
                return tally
            report(lap, tally.lap())
    raise AssertionError("a task group ends only when its callers do")


def _turns(known: Sequence[Known], callers: int) -> list[Iterator[Known]]:
    """What each caller asks: one in four asks for streams if there are any, so that these do not hold up the others."""
    streams = [each for each in known if each[0].streamed]
    others = [each for each in known if not each[0].streamed]
    shared = [itertools.cycle(others or streams), itertools.cycle(streams or others)]
    return [shared[number % 4 == 3] for number in range(callers)]


async def _caller(session: aiohttp.ClientSession, base: str, turn: Iterator[Known], end: float, tally: Tally) -> None:
    clock = asyncio.get_running_loop().time
    while (began := clock()) < end:
        question, expected = next(turn)
        try:
            status, body = await ask(session, base, question)
            complaint = None if status == 200 else f"{question.path}: status {status}"
            if complaint is None and essence(question, body) != expected:
                complaint = f"{question.path}: not what {question.backend} answers without the proxy"
        except (aiohttp.ClientError, TimeoutError) as error:
            complaint = f"{question.path}: {type(error).__name__}: {error}"
        tally.add(question, clock() - began, complaint)


async def ask(session: aiohttp.ClientSession, base: str, question: Question) -> tuple[int, bytes]:
    """One request; its status and whole body."""
    async with session.post(base + question.path, data=question.body, headers=question.headers) as response:
        return response.status, await response.read()
