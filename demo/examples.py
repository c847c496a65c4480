"""A few requests a person would make, shown as the curl command that makes them, with the answers that came."""

from __future__ import annotations

import asyncio
import shlex
import textwrap

import aiohttp

from .processes import Failed
from .questions import Question, delta_text

SHOWN = ("content-type", "x-model-version", "x-request-id", "via")
"""The fields of an answer that are printed."""
WIDTH = 118


async def show(session: aiohttp.ClientSession, base: str, question: Question) -> None:
    """Ask through the proxy and print both sides. Raises Failed for anything but 200."""
    print(f"$ {curl(base, question)}")
    began = asyncio.get_running_loop().time()
    url = base + question.path
    async with session.post(url, data=question.body, headers=question.headers) as response:
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


def curl(base: str, question: Question) -> str:
    """The command that asks the same."""
    headers = [f"-H {shlex.quote(f'{name}: {value}')}" for name, value in question.headers.items()]
    flags = ["-N"] if question.streamed else []
    return " ".join(["curl", *flags, base + question.path, *headers, "-d", shlex.quote(question.body.decode())])
