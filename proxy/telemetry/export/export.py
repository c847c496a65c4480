"""What control exports: owns the senders, and changes them with the configuration."""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from importlib.metadata import version
from typing import Any, Final

from ....config.addresses import redacted
from ....config.environment import Environ, Signal, environment_warnings
from ....config.schema import Document
from ...log import logger
from ..family import Family
from ..losses import Losses
from ..records import SpanBatch
from .exporters import sending
from .metrics import Measured
from .plan import Plan, Target, plan_of
from .sender import Sender
from .senders import MetricSender, SpanSender
from .wire import SCHEMA_URL, SCOPE, Wire

FORMER_WITHIN_S: Final = 10.0
"""How long a sender that a reload replaced may send what it holds."""
_VERSION: Final = version("understudy")


class Export:
    """Mutable state: the plan in force, the sender of each signal, those that a reload replaced, when sums began, when
    metrics were last measured (monotonic), and the task that measures them.

    Nothing here waits for a backend, save `stop`, and that within a bound of its own.
    """

    def __init__(
        self,
        losses: Losses,
        base: str,
        measure: Callable[[], Awaitable[Sequence[Family]]],
        environ: Environ = os.environ,
    ) -> None:
        self._losses = losses
        self._base = base
        self._measure = measure
        self._environ = environ
        self._plan = Plan()
        self._spans: SpanSender | None = None
        self._metrics: MetricSender | None = None
        self._former: list[Sender[Any]] = []
        self._start_ns, self._start_s = time.time_ns(), time.monotonic()
        self._measured_s = -math.inf
        self._measuring: asyncio.Task[None] | None = None

    def configure(self, document: Document) -> None:
        """Export by this document, as it was written, from now on. What the former senders hold, they send."""
        for warning in environment_warnings(self._environ, document.telemetry):
            logger.warning("%s", warning)
        plan = plan_of(document, self._environ, self._base)
        former, self._plan = self._plan, plan
        if not _same(former, plan, "traces"):
            self._retire(self._spans)
            self._spans = self._span_sender(plan.target("traces"), plan)
        if not _same(former, plan, "metrics"):
            self._retire(self._metrics)
            self._metrics = self._metric_sender(plan.target("metrics"), plan)
        if plan != former and plan.targets:
            logger.info(
                "OTLP export: %s", ", ".join(f"{each.signal} to {redacted(each.endpoint)}" for each in plan.targets)
            )

    def take(self, spans: SpanBatch) -> None:
        """Export what a worker tells. Never blocks."""
        if self._spans is not None:
            self._spans.offer(spans)

    def tick(self, now_s: float) -> None:
        """Call it every second, monotonic: metrics leave when they are due."""
        is_measuring = self._measuring is not None and not self._measuring.done()
        is_due = now_s >= self._measured_s + self._plan.interval_s
        if self._metrics is not None and is_due and not is_measuring:
            self._measured_s = now_s
            self._measuring = asyncio.get_running_loop().create_task(self._offer(is_last=False))

    def warnings(self) -> list[str]:
        """What an operator should look at now."""
        return [warning for sender in (self._spans, self._metrics) if sender and (warning := sender.health.warning())]

    async def stop(self, within_s: float) -> None:
        """Send what there is, for at most this time; what is left then is lost, and said in one line."""
        before = self._losses.counts()
        due_s = time.monotonic() + within_s
        if self._measuring is not None:
            self._measuring.cancel()
        if self._metrics is not None and within_s > 0:
            await self._offer(is_last=True)
        senders: list[Sender[Any]] = [each for each in (self._spans, self._metrics, *self._former) if each is not None]
        for sender in senders:
            sender.stop(max(0.0, due_s - time.monotonic()))
        for sender in senders:
            await asyncio.to_thread(sender.done.wait, max(0.0, due_s - time.monotonic()))
        for sender in senders:
            if not sender.done.is_set():
                sender.abandon()
        lost = {each.kind: self._losses.counts()[each.kind] - before.get(each.kind, 0) for each in senders}
        if any(lost.values()):
            logger.warning("OTLP export ends: %s were not taken in time",
                           " and ".join(f"{count} {kind}" for kind, count in lost.items() if count))  # fmt: skip
        self._spans = self._metrics = None
        self._former = []

    async def _offer(self, *, is_last: bool) -> None:
        sender, now_ns = self._metrics, time.time_ns()
        if now_ns <= self._start_ns:  # the clock was set back; one start for all points that follow
            self._start_ns = now_ns - int((time.monotonic() - self._start_s) * 1e9)
        try:
            families = await self._measure()
        except Exception:
            logger.exception("metrics are not exported")
            return
        if sender is not None and sender is self._metrics:
            sender.offer(Measured(families, self._start_ns, now_ns), is_last=is_last)

    def _retire(self, sender: Sender[Any] | None) -> None:
        self._former = [each for each in self._former if not each.done.is_set()]
        if sender is not None:
            sender.stop(FORMER_WITHIN_S)
            self._former.append(sender)

    def _span_sender(self, target: Target | None, plan: Plan) -> SpanSender | None:
        if target is None:
            return None
        sender = SpanSender(target, self._losses, _wire(plan), partial(sending, target))
        sender.start()
        return sender

    def _metric_sender(self, target: Target | None, plan: Plan) -> MetricSender | None:
        if target is None:
            return None
        self._measured_s = -math.inf
        sender = MetricSender(target, self._losses, _wire(plan), partial(sending, target))
        sender.start()
        return sender


def _wire(plan: Plan) -> Wire:
    return Wire(dict(plan.resource), SCOPE, _VERSION, SCHEMA_URL)


def _same(former: Plan, plan: Plan, signal: Signal) -> bool:
    return (former.target(signal), former.resource) == (plan.target(signal), plan.resource)
