"""A headless Chromium, driven through its DevTools protocol: open a page, wait until it says something, picture it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import shutil
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp

from ..processes import Failed, Process

NAMES = ("chromium", "chromium-browser", "google-chrome")
POLL_S = 0.1
PATIENCE_S = 30.0


async def pause(seconds: float) -> None:
    """Between two looks at what tells nobody when it changes."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(asyncio.Event().wait(), seconds)


class Page:
    """One tab. Mutable: the number of the next command."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)

    async def command(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send one command of the protocol and return its result. Raises Failed."""
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        while True:
            told = await self._socket.receive_json(timeout=PATIENCE_S)
            if told.get("id") == number:
                if "error" in told:
                    raise Failed(f"Chromium refuses {method}: {told['error']}")
                result: dict[str, Any] = told["result"]
                return result

    async def open(self, url: str, *, width: int, height: int) -> None:
        """Go there, in a window of so many pixels."""
        await self.command(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )
        await self.command("Page.navigate", url=url)

    async def evaluate(self, script: str) -> Any:
        """The value of a JavaScript expression."""
        told = await self.command("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in told:
            raise Failed(f"{script}: {told['exceptionDetails']}")
        return told["result"].get("value")

    async def until(self, script: str) -> None:
        """Wait until a JavaScript expression is true. Raises Failed with what the page says instead."""
        clock = asyncio.get_running_loop().time
        end = clock() + PATIENCE_S
        while not await self.evaluate(f"Boolean({script})"):
            if clock() > end:
                said = await self.evaluate("document.body ? document.body.innerText.slice(0, 2000) : ''")
                raise Failed(f"the page never came to {script}; it says:\n{said}")
            await pause(POLL_S)

    async def says(self, *texts: str) -> None:
        """Wait until the page shows all these texts."""
        for text in texts:
            await self.until(f"document.body && document.body.innerText.includes({json.dumps(text)})")

    async def click(self, text: str) -> None:
        """Click the innermost element that shows exactly this text, once there is one."""
        found = _showing(text)
        await self.until(found)
        where = await self.evaluate(
            f"(box => [box.x + box.width / 2, box.y + box.height / 2])(({found}).getBoundingClientRect())"
        )
        await self._mouse("mousePressed", where)
        await self._mouse("mouseReleased", where)

    async def press(self, selector: str) -> None:
        """Press the button that a CSS selector names, once it is there."""
        found = f"document.querySelector({json.dumps(selector)})"
        await self.until(found)
        await self.evaluate(f"{found}.click()")

    async def drag(self, start: tuple[int, int], end: tuple[int, int]) -> None:
        """Take what is at one place of the window, such as the edge between two parts of a page, to another."""
        middle = ((start[0] + end[0]) // 2, (start[1] + end[1]) // 2)
        await self._mouse("mouseMoved", start)
        await self._mouse("mousePressed", start)
        for place in (middle, end):
            await self._mouse("mouseMoved", place)
        await self._mouse("mouseReleased", end)
        await self._mouse("mouseMoved", (1, 1))

    async def scroll_to_end(self, text: str) -> None:
        """Scroll the part of the page that holds exactly this text to its end."""
        await self.evaluate(
            f"(each => {{ for (; each; each = each.parentElement) "
            "if (each.scrollHeight > each.clientHeight && getComputedStyle(each).overflowY !== 'visible') "
            f"{{ each.scrollTop = each.scrollHeight; return }} }})({_showing(text)})"
        )

    async def _mouse(self, kind: str, place: Sequence[float]) -> None:
        await self.command(
            "Input.dispatchMouseEvent", type=kind, x=place[0], y=place[1], button="left", buttons=1, clickCount=1
        )

    async def picture(self) -> bytes:
        """What the window shows once it is still, as PNG."""
        before, now = b"", await self._captured()
        clock = asyncio.get_running_loop().time
        end = clock() + PATIENCE_S
        while now != before and clock() < end:
            await pause(5 * POLL_S)
            before, now = now, await self._captured()
        return now

    async def _captured(self) -> bytes:
        told = await self.command("Page.captureScreenshot", format="png")
        return base64.b64decode(told["data"])


def _showing(text: str) -> str:
    """The innermost element that shows exactly this text, as a JavaScript expression."""
    return (
        "[...document.querySelectorAll('body *')].filter(each => each.innerText && each.innerText.trim() === "
        f"{json.dumps(text)}).pop()"
    )


@contextlib.asynccontextmanager
async def chromium(session: aiohttp.ClientSession, folder: Path) -> AsyncIterator[Page]:
    """A browser with one empty tab, its profile in `folder`; ended with the block. Raises Failed without one."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        raise Failed("no Chromium (Debian: apt-get install chromium)")
    profile = folder / "chromium"
    options = ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run", "--lang=en-US")
    process = await Process.start(
        "chromium",
        [program, *options, "--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"],
        folder,
    )
    try:
        async with asyncio.timeout(PATIENCE_S):
            port = await _port(profile / "DevToolsActivePort")
        async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
            tab = next(each for each in await answer.json() if each["type"] == "page")
        async with session.ws_connect(tab["webSocketDebuggerUrl"], max_msg_size=0) as socket:
            yield Page(socket)
    finally:
        await process.stop()


async def _port(told: Path) -> int:
    """The port of its DevTools, which it chose and writes down when it listens."""
    while not (lines := _lines(told)):
        await pause(POLL_S)
    return int(lines[0])


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []
