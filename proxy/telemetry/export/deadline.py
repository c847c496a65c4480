"""When one export must be over, its retries included: by a clock that does not jump, as the SDK's does."""

from __future__ import annotations

import threading
import time


class Deadline(threading.Event):
    """Mutable state: when the export that is under way must be over, monotonic.

    It stands where the SDK waits between two attempts, and hears there that the end has come, where the pause would
    reach beyond: by its own clock, set back meanwhile, the SDK may have an hour left.
    """

    def __init__(self, timeout_s: float) -> None:
        super().__init__()
        self._timeout_s = timeout_s
        self._until_s = 0.0

    def begin(self) -> None:
        """From now on."""
        self._until_s = time.monotonic() + self._timeout_s

    def left_s(self) -> float:
        """0 or less: it is over."""
        return self._until_s - time.monotonic()

    def wait(self, timeout: float | None = None) -> bool:
        """As the SDK does, for so long; True: it is to give up."""
        return timeout is None or timeout > self.left_s() or super().wait(timeout)
