"""Child processes of the demo: started, waited for until they answer, and stopped by their id."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

import aiohttp

REPOSITORY = Path(__file__).parent.parent
STOP_S = 30.0
"""How long a process may take to end after SIGTERM before it is killed; the proxy's grace is 25 s."""


class Failed(Exception):
    """Something of the demo did not do what it should; the text is for the person who watches."""


class Process:
    """One child in a session of its own, so that Ctrl-C reaches only us. Its output goes to a file."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name = name
        self._process = process
        self._log = log
        self._began = asyncio.get_running_loop().time()

    @classmethod
    async def start(
        cls, name: str, command: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None
    ) -> Process:
        """Start a command in the repository; whatever it writes, temporary files too, stays in `folder`.

        `environment` is added to ours.
        """
        log = folder / f"{name}.log"
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=REPOSITORY,
                env={**os.environ, "TMPDIR": str(folder), "PYTHONUNBUFFERED": "1", **(environment or {})},
                start_new_session=True,
            )
        return cls(name, process, log)

    @property
    def pid(self) -> int:
        return self._process.pid

    async def answers(self, session: aiohttp.ClientSession, url: str, *, within_s: float = 60.0) -> float:
        """Wait until the URL answers 200; return the seconds since the start. Raises Failed."""
        clock = asyncio.get_running_loop().time
        while clock() - self._began < within_s:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with session.get(url, timeout=aiohttp.ClientTimeout(total=2)) as response:
                    if response.status == 200 and self._process.returncode is None:
                        return clock() - self._began
            with contextlib.suppress(TimeoutError):
                status = await asyncio.wait_for(self._process.wait(), 0.05)
                raise Failed(f"{self.name} ended with status {status}:\n{self.log_tail()}")
        raise Failed(f"{self.name} did not answer {url} within {within_s:.0f} s:\n{self.log_tail()}")

    async def stop(self) -> int:
        """SIGTERM, and SIGKILL after STOP_S seconds. Return the exit status, negative for a signal."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self._process.returncode is None:
                self._process.send_signal(number)
                self._process.send_signal(signal.SIGCONT)  # one that somebody stopped hears nothing else
            with contextlib.suppress(TimeoutError):
                return await asyncio.wait_for(self._process.wait(), STOP_S)
        raise Failed(f"{self.name} (pid {self.pid}) survived SIGKILL")

    def log_tail(self, lines: int = 15) -> str:
        """The last lines that it wrote."""
        return "\n".join("    " + line for line in self._log.read_text(errors="replace").splitlines()[-lines:])


def free_port(wanted: int, taken: set[int]) -> int:
    """The wanted port of 127.0.0.1 if nobody has it, else one that the system chooses. It is added to `taken`."""
    for port in (wanted, 0, 0, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            found: int = probe.getsockname()[1]
            if found not in taken:
                taken.add(found)
                return found
    raise Failed("no free port on 127.0.0.1")
