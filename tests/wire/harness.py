"""The whole program between a raw client and the raw backend, for as many conversations as a test module holds."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from tests.kit.program import Program, running
from tests.kit.raw import Answer, RawBackend

from .transcript import Transcript, converse

T = TypeVar("T")

CONFIG = """
listeners:
  ingress: {{bind: 127.0.0.1:0}}
admin: {{bind: 127.0.0.1:0}}
backends:
  raw: {{endpoints: ["http://127.0.0.1:{port}"], first_byte_timeout: 5s, idle_timeout: 5s, keep_alive: 60s}}
routes:
  - {{name: all, match: {{path_prefix: /}}, backend: raw}}
"""


class Harness:
    """Runs conversations one after another on a loop of its own. Mutable state: the loop, the backend, the program."""

    def __init__(self, runner: asyncio.Runner, backend: RawBackend, program: Program) -> None:
        self._runner = runner
        self.backend = backend
        self.program = program
        self.address = program.address("ingress")

    def converse(self, segments: Sequence[bytes], script: Sequence[Answer] = ()) -> Transcript:
        """One conversation, whole."""
        return self._runner.run(converse(self.address, self.backend, segments, script))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Something else than a conversation, on the backend's loop."""
        self.backend.forget()
        return self._runner.run(work)

    def alarms(self) -> list[str]:
        """Lines of the program's log that no traffic may cause: a traceback, a failed filter, a dead worker."""
        words = ("Traceback", "failed: request", "exited", "died", "Fatal")
        return [line for line in self.program.stderr.splitlines() if any(word in line for word in words)]


@contextmanager
def harness(folder: Path, config: str = CONFIG) -> Iterator[Harness]:
    """The program, ready, in front of a raw backend; stopped at the end."""
    with asyncio.Runner() as runner:
        backend = RawBackend()
        _, port = runner.run(backend.start())
        with running(config.format(port=port), folder) as program:
            yield Harness(runner, backend, program)
            runner.run(backend.close())
