"""How a configuration file becomes what every worker serves, and how a new one takes its place or is refused."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ..config import own_secret
from ..config.environment import resolved
from ..config.load import Loaded, load
from ..config.schema import Document, encode
from .iso_time import now_text
from .listening import BindError, Listening
from .log import logger
from .supervisor import Generation, Rejected, Supervisor, Undone


@dataclass(frozen=True, slots=True)
class Running:
    """The configuration that is served now."""

    document: Document
    hash: str
    version: int
    since: str
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Refusal:
    """The last configuration that was refused, and why."""

    when: str
    mistakes: tuple[str, ...]
    version: int  # what served on


class Configuration:
    """Mutable state: what runs, the last refusal and how many there were. Sockets and workers are lent to it.

    `decided` gets every version that is going to be served, with its document, before any worker serves by it; the
    former one once more, where a version is undone.
    """

    def __init__(
        self, path: str, listening: Listening, supervisor: Supervisor, decided: Callable[[int, Document], None]
    ) -> None:
        self.path = path
        self.running: Running | None = None
        self._generation: Generation | None = None  # what runs, as workers got it
        self._started: Document | None = None  # what parts that a reload leaves alone still follow
        self.refusal: Refusal | None = None
        self.refusals = 0
        self.base = ""  # the folder that relative paths of what runs start from
        self.secret = b""  # the program's 32 bytes, of what runs
        self._drawn_secret = secrets.token_bytes(own_secret.BYTES)  # where none is kept: the same until the end
        self._listening = listening
        self._supervisor = supervisor
        self._decided = decided

    async def introduce(self, loaded: Loaded) -> None:
        """Open its listeners and have every worker serve by it, or change nothing.

        Raises BindError, Rejected when a worker could not build it or died as it swapped to it, or ValueError for a
        secret that cannot be had.
        """
        document = loaded.document
        assert document is not None, "a configuration with mistakes is never introduced"
        secret = own_secret.resolve(document, loaded.base) or self._drawn_secret
        version = self.running.version + 1 if self.running else 1
        planned = self._listening.plan({name: part.bind for name, part in document.listeners.items()})
        bound = self._listening.bound
        generation = Generation(
            version=version,
            document=encode(resolved(document, os.environ)),
            base=loaded.base,
            secret=secret,
            sockets={name: each.sock for name, each in planned.items()},
            fresh=frozenset(name for name in planned if planned[name] is not bound.get(name)),
        )
        try:
            await self._supervisor.introduce(generation, lambda: self._decided(version, document))
        except BaseException as problem:
            if isinstance(problem, Undone):
                await self._go_back(generation)
            self._listening.abandon(planned)
            raise
        self._listening.commit(planned)
        self._generation = generation
        self.base, self.secret = loaded.base, secret
        warnings = (*map(str, loaded.warnings), *self._waits(document))
        self.running = Running(document, loaded.hash, version, now_text(), warnings)

    async def _go_back(self, undone: Generation) -> None:
        """Have every worker serve by what runs, and no more by what a worker died of."""
        former, running = self._generation, self.running
        assert former is not None and running is not None, "the first configuration is never undone"
        lost = frozenset(name for name, sock in former.sockets.items() if undone.sockets.get(name) is not sock)
        self._decided(running.version, running.document)
        await self._supervisor.go_back(replace(former, fresh=lost))

    def _waits(self, document: Document) -> list[str]:
        """What it changes that only the next start takes over."""
        started = self._started = self._started or document
        return [
            f"{name}: the change takes effect at the next start"
            for name in ("admin", "workers")
            if getattr(document, name) != getattr(started, name)
        ]

    async def reload(self) -> Sequence[str]:
        """Read the file again and serve by it. Returns the mistakes: none, and it runs; else the former one runs on."""
        running = self.running
        assert running is not None
        loaded = load(self.path)
        mistakes = [str(mistake) for mistake in loaded.mistakes]
        if not mistakes:
            try:
                await self.introduce(loaded)
            except (BindError, Rejected, ValueError) as problem:
                mistakes = [why_not(loaded, problem)]
        if mistakes:
            self.refusals += 1
            self.refusal = Refusal(now_text(), tuple(mistakes), running.version)
            for mistake in mistakes:
                logger.error("configuration refused, v%d serves on: %s", running.version, mistake)
        else:
            self._tell_what_changed(running)
        return mistakes

    def _tell_what_changed(self, former: Running) -> None:
        running = self.running
        assert running is not None
        logger.info("configuration v%d (%s) replaces v%d", running.version, running.hash[:6], former.version)
        for warning in running.warnings:
            logger.warning("%s", warning)


def why_not(loaded: Loaded, problem: Exception) -> str:
    """Why a document without mistakes cannot be served: with its place, where the problem is of one key."""
    return str(loaded.at(problem.key, str(problem)) if isinstance(problem, BindError) else problem)
