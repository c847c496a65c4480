"""A thread that exports one signal, so that neither signal waits for the other's backend, and the loop for none.

The SDK's exporter retries within the timeout of one request; what it gives up on and may be taken later is offered
again, ever later, for as long as the load is worth it. What is never taken is counted as lost.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from ...giving_way import step_aside
from ...log import logger
from ..losses import Losses
from .outcome import Health, Outcome, words
from .plan import Target

KEEP_S: Final = 120.0
"""What is older when it is refused, or when its turn comes, is lost: a backend that is away for less loses nothing, as
far as the bounds of what waits go. Twice what a backend may ask for at once (`over_http.MOST_PATIENCE_S`)."""
FIRST_PAUSE_S: Final = 1.0
MOST_PAUSE_S: Final = 15.0

Batch = TypeVar("Batch")


@dataclass(frozen=True, slots=True)
class Load(Generic[Batch]):
    """What is sent at once, for how many items it counts, and until when (monotonic) it is offered again where it is
    refused; the wait for that may reach beyond, as nothing else is sent meanwhile."""

    batch: Batch
    items: int
    until_s: float


class Sender(ABC, Generic[Batch]):
    """One thread. Mutable state, behind `_changed`: what waits, what is being sent, and whether the end was asked for.

    `make` is called in the thread: it may import what it needs, and what it returns sends a request.
    """

    def __init__(
        self, target: Target, kind: str, losses: Losses, make: Callable[[], Callable[[bytes], Outcome]]
    ) -> None:
        self.target = target
        self.health = Health(target.signal, target.endpoint)
        self.done = threading.Event()
        self.kind = kind
        self._losses = losses
        self._make = make
        self._has_begun = False  # what `make` imports may take a second and more
        self._changed = threading.Condition()
        self._sending = 0  # items
        self._not_before_s = 0.0  # monotonic: a backend that failed is left alone until then
        self._end_s: float | None = None  # monotonic: nothing is tried after it
        self._abandoned = False
        losses.add(kind, 0)
        if target.problem:
            self.health.now(Outcome(target.problem))  # nobody should have to wait for the first loss to hear of it
        self._thread = threading.Thread(target=self._run, name=f"otlp-{target.signal}", daemon=True)

    def start(self) -> None:
        """Begin. Where the system gives no thread more, whatever is offered is lost, which is counted and warned of."""
        try:
            self._thread.start()
        except RuntimeError as problem:
            self.health.now(Outcome(words(str(problem))))
            self.abandon()
            self.done.set()

    def stop(self, within_s: float) -> None:
        """Send what waits, for at most this time, then end; `done` is set when it has. Returns at once."""
        with self._changed:
            self._end_s = time.monotonic() + within_s
            self._changed.notify()

    def abandon(self) -> int:
        """The time is over: what was not sent is lost, whatever the thread may still hear of it. Returns how much."""
        with self._changed:
            if self._abandoned:
                return 0
            self._abandoned = True
            lost = self._sending + self._drop_waiting()
            self._changed.notify()
        self._losses.add(self.kind, lost)
        return lost

    @abstractmethod
    def _take(self, at_once: bool) -> Load[Batch] | None:
        """The next load, with the lock held; None when nothing is to be sent yet, or at all where `at_once`."""

    @abstractmethod
    def _due_in_s(self) -> float | None:
        """How long to wait for more, with the lock held; None: until something is offered."""

    @abstractmethod
    def _drop_waiting(self) -> int:
        """Forget all that waits, with the lock held. Returns how many items that were."""

    @abstractmethod
    def _prepared(self, batch: Batch) -> bytes:
        """The batch as it is sent: worked out once, in the thread, however often it is sent."""

    def _run(self) -> None:
        send = self._sending_function()
        self._has_begun = True
        while (load := self._next()) is not None:
            try:
                lost = self._lost_of(load, send)
            except Exception as problem:
                logger.exception("OTLP export of %s failed", self.target.signal)
                self.health.now(Outcome(type(problem).__name__))
                lost = load.items
            self._settle(lost)
        with self._changed:
            lost = 0 if self._abandoned else self._drop_waiting()
        self._losses.add(self.kind, lost)
        self.done.set()

    def _sending_function(self) -> Callable[[bytes], Outcome]:
        try:
            return self._make()
        except Exception as problem:
            logger.exception("OTLP export of %s cannot begin", self.target.signal)
            never = Outcome(f"{type(problem).__name__}: {problem}")
            return lambda _: never

    def _next(self) -> Load[Batch] | None:
        """Wait for the next load; None at the end."""
        with self._changed:
            while not self._abandoned and self._left_s() > 0:
                is_ending = self._end_s is not None
                pause_s = 0.0 if is_ending else self._not_before_s - time.monotonic()
                load = self._take(is_ending) if pause_s <= 0 else None
                if load is not None:
                    self._sending = load.items
                    return load
                if is_ending:
                    return None
                self._changed.wait(pause_s if pause_s > 0 else self._due_in_s())
            return None

    def _lost_of(self, load: Load[Batch], send: Callable[[bytes], Outcome]) -> int:
        """Send it, again and again if need be. Returns how many items were lost."""
        request = self._prepared(load.batch)
        step_aside()
        pause_s = FIRST_PAUSE_S
        while True:
            outcome = send(request)
            self.health.now(outcome)
            if outcome.taken:
                return min(max(0, outcome.rejected), load.items)  # it is a peer's word
            wait_s = max(pause_s, outcome.after_s)
            pause_s = min(2 * pause_s, MOST_PAUSE_S)
            if outcome.again:
                self._not_before_s = time.monotonic() + wait_s
            if not outcome.again or time.monotonic() >= load.until_s or not self._pause(wait_s):
                return load.items

    def _pause(self, wait_s: float) -> bool:
        """Wait before the next attempt. False when there is none, because the end comes first."""
        due_s = time.monotonic() + wait_s
        with self._changed:
            while (left_s := due_s - time.monotonic()) > 0:
                if self._abandoned or self._left_s() < left_s:
                    return False
                self._changed.wait(left_s)
            return not self._abandoned

    def _left_s(self) -> float:
        return float("inf") if self._end_s is None else self._end_s - time.monotonic()

    def _settle(self, lost: int) -> None:
        """The load is over; its loss is counted here, or was by `abandon`."""
        with self._changed:
            self._sending = 0
            if not self._abandoned:
                self._losses.add(self.kind, lost)
