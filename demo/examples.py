"""A few requests a person would make, shown as the curl command that makes them, with the answers that came."""

from __future__ import annotations

import asyncio
import shlex
import textwrap
from collections.abc import Mapping

import aiohttp

from .processes import Failed
from .questions import Question, delta_text

SHOWN = ("content-type", "x-understudy-backend", "x-request-id", "set-cookie")
"""The fields of an answer that are printed."""
WIDTH = 118


async def show(
    session: aiohttp.ClientSession, base: str, question: Question, headers: Mapping[str, str] | None = None
) -> None:
    """Ask through the proxy and print both sides. Raises Failed for anything but 200."""
    asked = {"content-type": "application/json", **(headers or {})}
    print(f"$ {curl(base, question, asked)}")
    began = asyncio.get_running_loop().time()
    async with session.post(base + question.path, data=question.body, headers=asked) as response:
        print(f"  HTTP/1.1 {response.status} {response.reason}")
        for name in SHOWN:
            if name in response.headers:
                print(f"  {name}: {response.headers[name]}")
        if question.streamed:
            await _show_events(response, began)
        else:
            print(textwrap.indent(textwrap.shorten(await response.text(), 3 * WIDTH), "  "))
        if response.status != 200:
            raise Failed(f"{question.path} answered {response.status}")
    print()


async def _show_events(response: aiohttp.ClientResponse, began: float) -> None:
    """Print the words of a stream as they arrive, and when the first and the last one came."""
    clock = asyncio.get_running_loop().time
    times, words, event = [], [], ""
    async for line in response.content:
        event += line.decode()
        if not event.endswith("\n\n"):
            continue
        times.append(clock() - began)
        words.append(delta_text(event))
        event = ""
    if not times:
        raise Failed(f"no event came: {event}")
    print(f"  {len(times)} events, the first after {times[0] * 1000:.0f} ms, the last after {times[-1] * 1000:.0f} ms:")
    print("  " + "·".join(word for word in words if word))


def curl(base: str, question: Question, headers: Mapping[str, str]) -> str:
    """The command that asks the same."""
    fields = [f"-H {shlex.quote(f'{name}: {value}')}" for name, value in headers.items()]
    flags = ["-iN"] if question.streamed else ["-i"]
    return " ".join(["curl", *flags, base + question.path, *fields, "-d", shlex.quote(question.body.decode())])
