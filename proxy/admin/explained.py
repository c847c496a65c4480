"""What becomes of a request by what runs now: answered in a thread, since it compiles the whole configuration."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ...config.explanation import Explanation
from ..explain import Question, Wrong, decide

if TYPE_CHECKING:
    from ..control import Control

_MOST_AT_ONCE = 1
"""Each takes memory and a processor that workers may need."""


class Explaining:
    """Mutable state: whether a question is being answered."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._turn = asyncio.Semaphore(_MOST_AT_ONCE)

    async def answer(self, question: Question) -> Explanation:
        """Decide by the running configuration, its secret, and the endpoints that are up now.

        Raises Wrong, or ValueError where a file or variable is gone.
        """
        async with self._turn:
            configuration = self._control.configuration
            running = configuration.running
            if running is None:
                raise Wrong("nothing is served yet")
            live = [pool for pool in self._control.totals.pools() if pool.role == "live"]  # not a shadow's connections
            down = {pool.backend for pool in live} - {pool.backend for pool in live if pool.up}
            return await asyncio.to_thread(
                decide,
                running.document,
                configuration.base,
                question,
                configuration.secret,
                lambda name: name not in down,
            )
