"""Exports that cannot begin, fail as nobody thought of, or fail again and again: nothing is lost unseen."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
from understudy.proxy.telemetry.export import sender as sender_module
from understudy.proxy.telemetry.export import senders
from understudy.proxy.telemetry.export.exporters import sending
from understudy.proxy.telemetry.export.outcome import Outcome
from understudy.proxy.telemetry.export.over_http import MOST_PATIENCE_S
from understudy.proxy.telemetry.export.senders import SpanSender
from understudy.proxy.telemetry.export.wire import Wire
from understudy.proxy.telemetry.losses import Losses

from .test_sender import DOWN, SPANS_EACH, TARGET, Backend, batch, end, measured, metric_sender, span_sender


class Clock:
    """Stands for the module `time` and for waiting. Mutable state: the time, and the pauses so far."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.pauses: list[float] = []

    def monotonic(self) -> float:
        """Seconds."""
        return self.now_s

    def pause(self, wait_s: float) -> bool:
        """In place of a sender's."""
        self.pauses.append(wait_s)
        self.now_s += wait_s
        return True


def test_an_exporter_that_cannot_be_made_loses_everything_and_says_why() -> None:
    losses = Losses()

    def broken() -> Callable[[bytes], Outcome]:
        raise FileNotFoundError("no such certificate")

    sender = span_sender(losses, broken)
    sender.start()
    sender.offer(batch())
    end(sender)
    assert losses.counts() == {"spans": SPANS_EACH}
    assert "no such certificate" in sender.health.warning()


def test_where_the_plan_has_a_problem_status_warns_before_the_first_loss_and_every_loss_is_counted() -> None:
    losses = Losses()
    target = replace(TARGET, problem="the header x-c has a line break")
    sender = SpanSender(target, losses, Wire({}, "u", "", ""), partial(sending, target))
    assert sender.health.warning().endswith("/v1/traces fails: the header x-c has a line break")
    sender.start()
    sender.offer(batch())
    end(sender)
    assert losses.counts() == {"spans": SPANS_EACH}


def test_where_no_thread_is_to_be_had_every_loss_is_counted_and_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    backend, losses = Backend(), Losses()

    def none_left(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", none_left)
    spans, metrics = span_sender(losses, lambda: backend), metric_sender(losses, backend)
    spans.start()
    metrics.start()
    spans.offer(batch())
    metrics.offer(measured(1))
    assert losses.counts() == {"spans": SPANS_EACH, "metrics": 2}
    assert spans.health.warning().endswith("fails: can't start new thread")
    end(spans)
    end(metrics)


def test_what_nobody_thought_of_is_warned_of_too() -> None:
    losses = Losses()

    def broken(_: bytes) -> Outcome:
        raise KeyError("s3cret")

    sender = span_sender(losses, lambda: broken)
    sender.start()
    sender.offer(batch())
    end(sender)
    assert losses.counts() == {"spans": SPANS_EACH}
    assert sender.health.warning().endswith("fails: KeyError")


@pytest.mark.parametrize(
    ("rejected", "lost"), [(2**63 - 1, SPANS_EACH), (-5, 0)], ids=["more than there were", "less than none"]
)
def test_no_backend_makes_more_lost_than_it_was_sent(rejected: int, lost: int) -> None:
    backend, losses = Backend(), Losses()
    backend.says = [Outcome(rejected=rejected)]
    sender = span_sender(losses, lambda: backend)
    sender.start()
    sender.offer(batch())
    end(sender)
    assert losses.counts() == {"spans": lost}


def offered(backend: Backend, clock: Clock) -> int:
    """Offer one load by a clock that only pauses and the backend move, until it is over: how many items were lost."""
    losses = Losses()

    def takes_a_while(request: bytes) -> Outcome:
        clock.now_s += 0.01
        return backend(request)

    sender = span_sender(losses, lambda: takes_a_while)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sender_module, "time", clock)
        patch.setattr(senders, "time", clock)
        sender._pause = clock.pause  # type: ignore[method-assign]
        sender.offer(batch())
        sender.stop(1000.0)
        sender._run()
    return losses.counts()["spans"]


def test_pauses_grow_from_the_first_to_the_longest_and_no_further() -> None:
    backend, clock = Backend(), Clock()
    backend.says = [DOWN] * 99
    assert offered(backend, clock) == SPANS_EACH
    assert clock.pauses == [1, 2, 4, 8, *[15] * 7]
    assert clock.pauses[-1] == sender_module.MOST_PAUSE_S
    assert len(backend.sent) == 1 + len(clock.pauses)
    assert sum(clock.pauses) == sender_module.KEEP_S, "what is older is lost"


BUSY = Outcome("HTTP 503 Service Unavailable", again=True, after_s=MOST_PATIENCE_S)


@pytest.mark.parametrize(
    ("says", "pauses", "lost"),
    [
        ([BUSY], [60], 0),
        ([BUSY] * 2, [60, 60], 0),
        ([BUSY] * 99, [60, 60], SPANS_EACH),
        ([*[DOWN] * 10, BUSY], [1, 2, 4, 8, *[15] * 6, 60], 0),
    ],
    ids=["once", "twice", "for ever", "when it is nearly too old"],
)
def test_a_backend_that_asks_for_the_most_patience_is_asked_again_then_and_no_sooner(
    says: list[Outcome], pauses: list[float], lost: int
) -> None:
    backend, clock = Backend(), Clock()
    backend.says = says
    assert offered(backend, clock) == lost
    assert clock.pauses == pauses
    assert len(backend.sent) == 1 + len(pauses)
