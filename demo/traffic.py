"""Users who ask for predictions at a constant rate, and who answered them: traffic for a rollout one tries by hand.

Run as `python -m demo.traffic http://127.0.0.1:7080 --rate 100 --seconds 8`. Whoever answered is read from
X-Understudy-Backend, which the proxy tells trusted peers. Exit status 1 where an answer was not 200.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import aiohttp

from .classifiers import flowers
from .load import BACKEND, ask, until
from .questions import Question, classify
from .view import Times

TIMEOUT = aiohttp.ClientTimeout(total=30)


class Traffic:
    """Mutable: `backends`, who answered each user; `seconds`, how long it took; `failed`, what was no answer."""

    def __init__(self) -> None:
        self.backends: dict[str, Counter[str]] = {}
        self.seconds: list[float] = []
        self.failed: Counter[str] = Counter()

    async def send(
        self, session: aiohttp.ClientSession, url: str, users: int, rate_per_s: float, seconds: float
    ) -> None:
        """Ask, each user in turn, each at his time."""
        questions = [classify(f"flower-{number}", flower.features) for number, flower in enumerate(flowers())]
        began = asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as group:
            for number in range(int(seconds * rate_per_s)):
                await until(began + number / rate_per_s)
                question = questions[number % len(questions)]
                group.create_task(self._visit(session, url, f"user-{number % users}", question))

    async def _visit(self, session: aiohttp.ClientSession, url: str, user: str, question: Question) -> None:
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            status, fields, _ = await ask(session, url, question, {"x-user-id": user})
        except (aiohttp.ClientError, TimeoutError) as error:
            self.failed[f"{type(error).__name__}: {error}"] += 1
            return
        if status != 200:
            self.failed[f"status {status}"] += 1
            return
        self.seconds.append(clock() - began)
        self.backends.setdefault(user, Counter())[fields.get(BACKEND, "nobody we are told of")] += 1

    def words(self) -> str:
        """What came of it, for a person."""
        answers = sum(self.backends.values(), Counter[str]())
        shares = [f"{backend} {count:,} ({count / answers.total():.1%})" for backend, count in sorted(answers.items())]
        told = [f"{answers.total():,} answers to {len(self.backends)} users: {', '.join(shares) or 'nobody'}"]
        if answers:
            times = Times.of(self.seconds)
            changed = sum(len(met) > 1 for met in self.backends.values())
            told.append(f"p50 {times.p50_ms:.1f} ms, p99 {times.p99_ms:.1f} ms")
            told.append(f"users who met more than one backend: {changed}")
        return "; ".join([*told, *(f"{count} times {what}" for what, count in self.failed.most_common(5))])


async def _run(options: argparse.Namespace) -> int:
    traffic = Traffic()
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), timeout=TIMEOUT) as session:
        await traffic.send(session, options.url, options.users, options.rate, options.seconds)
    print(traffic.words())
    if options.who is not None:
        lines = sorted(f"{user} {' '.join(sorted(met))}" for user, met in traffic.backends.items())
        options.who.write_text("".join(line + "\n" for line in lines))
    return 1 if traffic.failed else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Send the traffic; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m demo.traffic", description="Users who ask for predictions.")
    parser.add_argument("url", help="where the proxy listens")
    parser.add_argument("--users", type=int, default=200, help="how many, each with an x-user-id of its own")
    parser.add_argument("--rate", type=float, default=100.0, help="requests a second, of all together")
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--who", type=Path, help="a file for one line per user: who answered")
    return asyncio.run(_run(parser.parse_args(arguments)))


if __name__ == "__main__":
    sys.exit(main())
