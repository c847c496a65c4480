"""`make demo`: start three models and the proxy, ask, load, look, compare, and stop everything.

Exit status 0: every answer was right and every process ended well. 1: something failed, and says what.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import aiohttp

from . import ending, examples, load, view
from .classifiers import flowers
from .lineup import LINEUPS
from .load import Answer, Known, Load
from .processes import Failed
from .questions import all_questions, chat, classify, essence
from .stage import Stage
from .users import EMPLOYEE, crowd
from .view import Times

TIMEOUT = aiohttp.ClientTimeout(total=30)
FEWEST_USERS = 100
"""Else there are so many that each asks once a second: who asks once cannot change his arm."""
EXAMPLES = 3
"""Requests that are shown, which the proxy counts like the others."""
POLL_S = 0.1
"""Between two looks at what the proxy counted."""
ADMIN = "http://127.0.0.1:7081"
"""Where understudy's commands look for a running program when told nothing else."""


async def show_examples(stage: Stage) -> None:
    """One question by a user, by an employee, and by a visitor, each as a command and its answer."""
    flower = flowers()[100].features
    question = classify("a", flower) if "v2" in stage.lineup.protocols else chat(flower)
    shown = [question, question, chat(flower) if "chat" in stage.lineup.protocols else question]
    ada = {"x-user-id": "ada"}
    for each, headers in zip(shown, (ada, {**ada, **EMPLOYEE}, {}), strict=True):
        await examples.show(stage.session, stage.url("ingress"), each, headers)


async def known_answers(stage: Stage) -> Known:
    """What both models answer to every question without the proxy. Raises Failed."""
    known = {}
    # A connection for each: llama.cpp closes one after a stream without saying so.
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True), timeout=TIMEOUT) as session:
        for question in all_questions(stage.lineup.protocols):
            for backend in ("stable", "canary"):
                status, _, body = await load.ask(session, stage.url(backend), question)
                if status != 200:
                    raise Failed(f"{backend} itself answered {status}: {body[:200]!r}")
                known[question, backend] = essence(question, body)
    return known


async def run_load(stage: Stage, seconds: float) -> list[Answer]:
    """Load the proxy. Raises Failed when an answer was not the backend's own, or a user met another backend."""
    rate_per_s = stage.lineup.rate_per_s
    users = crowd(max(FEWEST_USERS, rate_per_s))
    plan = Load(stage.url("ingress"), users, await known_answers(stage), seconds, rate_per_s)
    print(
        f"Load: {len(users)} users, {rate_per_s} requests a second. Flags send employees to the canary, the split one"
    )
    print("      in ten of the others. All is mirrored, save at first and at last, when every user declines by a flag.")
    print(view.HEAD)
    before: Counter[str] = Counter()

    async def report(second: float, answers: Sequence[Answer]) -> None:
        now = await _counted(stage)
        live = now["live"] - before["live"]
        print(view.line(second, answers, (now["sent"] - before["sent"]) / live if live else None), flush=True)
        before.update(now - before)

    answers = await load.run(stage.session, plan, report)
    wrong = Counter(answer.complaint for answer in answers if answer.complaint)
    print(f"  {view.arms(users)}")
    print(
        f"  {len(answers):,} answers, compared with what their models say without the proxy; wrong: {wrong.total()}\n"
    )
    if wrong:
        raise Failed("\n".join(f"{count} times {what}" for what, count in wrong.most_common(5)))
    return answers


async def show_comparison(stage: Stage, answers: Sequence[Answer]) -> None:
    """What an operator sees, and what it means. Raises Failed when the proxy counted other than we did."""
    heard_of = sum(answer.rehearsed for answer in answers)
    expected = Counter(live=EXAMPLES + len(answers), selected=EXAMPLES + heard_of)
    clock = asyncio.get_running_loop().time
    end = clock() + 5
    while expected - (counted := await _counted(stage)) and clock() < end:
        await load.until(clock() + POLL_S)
    await stage.print_output("status")
    for name, count in expected.items():
        if counted[name] != count:
            raise Failed(f"the proxy counted {counted[name]} {name} exchanges, the users {count}")
    pair = ending.busiest(await stage.told("/compare"))
    heard, unheard = (
        Times.of(view.timed([answer for answer in answers if answer.rehearsed == rehearsed]))
        for rehearsed in (True, False)
    )
    print(ending.sentence(pair, stage.lineup.slower, heard, unheard) + "\n")


async def _counted(stage: Stage) -> Counter[str]:
    """The answers with status 200 that the proxy counted, and the copies; workers tell control every second."""
    status = await stage.told("/status")
    counted: Counter[str] = Counter()
    for call in status["calls"]:
        if call["role"] == "live":
            counted["live"] += call["statuses"].get("200", 0)
    for copies in status.get("copies", ()):
        counted.update(selected=copies["selected"], sent=copies["sent"])
    return counted


async def _run(options: argparse.Namespace) -> None:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    connector = aiohttp.TCPConnector(limit=0)
    with tempfile.TemporaryDirectory(prefix="understudy-demo-") as folder:
        async with aiohttp.ClientSession(
            connector=connector, cookie_jar=aiohttp.DummyCookieJar(), timeout=TIMEOUT
        ) as session:
            stage = Stage(LINEUPS[options.server], Path(folder), session)
            try:
                await _play(stage, options)
            except (aiohttp.ClientError, TimeoutError) as error:
                raise Failed(f"{type(error).__name__} {error}\n{stage.logs()}") from error
            finally:
                well = await stage.stop()
            if not well:
                raise Failed("a process did not end as it should, see above")


async def _play(stage: Stage, options: argparse.Namespace) -> None:
    await stage.start_models()
    await stage.start_proxy()
    await show_examples(stage)
    await stage.print_output("explain", "--running", "POST", main_path(stage), "-H", "x-user-id: ada")
    answers = await run_load(stage, options.seconds)
    await show_comparison(stage, answers)
    if options.stay:
        print(staying(stage), flush=True)
        await asyncio.Event().wait()


def staying(stage: Stage) -> str:
    """What to try while everything runs."""
    admin = stage.url("admin")
    elsewhere = [] if admin == ADMIN else [f"export UNDERSTUDY_ADMIN={admin}"]
    config = stage.folder / "understudy.yaml"
    commands = [
        ". .venv/bin/activate",
        *elsewhere,
        "understudy status --watch",
        f"understudy explain --running POST {main_path(stage)} -H 'x-user-id: you'",
        f"sed -i 's/stable: 90, canary: 10/stable: 50, canary: 50/' {config} && understudy reload",
        f"kill -STOP {stage.pid('next')}   # the shadow hangs, and no client waits for it; kill -CONT wakes it",
        f"curl -s {admin}/compare",
    ]
    lines = "".join(f"  $ {command}\n" for command in commands)
    return f"Staying until Ctrl-C. In a second terminal, in this folder, beside the curl commands above:\n{lines}"


def main_path(stage: Stage) -> str:
    """What most of the requests ask for."""
    return all_questions(stage.lineup.protocols)[0].path


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m demo", description="Three models, the proxy in front, and a load.")
    parser.add_argument("--server", choices=sorted(LINEUPS), default="builtin", help="which model servers to start")
    parser.add_argument("--seconds", type=float, default=8.0, help="length of the load")
    parser.add_argument("--stay", action="store_true", help="keep everything running until Ctrl-C")
    options = parser.parse_args(arguments)
    try:
        asyncio.run(_run(options))
    except Failed as failure:
        print(f"\nFailed: {failure}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 0 if options.stay else 130
    print("Everything answered, and nothing is left running.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
