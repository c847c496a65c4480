"""Exports that cannot begin, or fail as nobody thought of: nothing is lost unseen."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
from understudy.proxy.telemetry.export.exporters import sending
from understudy.proxy.telemetry.export.outcome import Outcome
from understudy.proxy.telemetry.export.places import Places
from understudy.proxy.telemetry.export.senders import SpanSender
from understudy.proxy.telemetry.export.spans import Spans
from understudy.proxy.telemetry.export.wire import Wire
from understudy.proxy.telemetry.losses import Losses

from tests.kit.told import told_exchange

from .test_sender import SPANS_EACH, TARGET, Backend, end, measured, metric_sender, span_sender
from .test_spans import document


def test_an_exporter_that_cannot_be_made_loses_everything_and_says_why() -> None:
    losses = Losses()

    def broken() -> Callable[[bytes], Outcome]:
        raise FileNotFoundError("no such certificate")

    sender = span_sender(losses, broken)
    sender.start()
    sender.offer([told_exchange()])
    end(sender)
    assert losses.counts() == {"spans": SPANS_EACH}
    assert "no such certificate" in sender.health.warning()


def test_where_the_plan_has_a_problem_status_warns_before_the_first_loss_and_every_loss_is_counted() -> None:
    losses = Losses()
    target = replace(TARGET, problem="the header x-c has a line break")
    sender = SpanSender(target, losses, Wire({}, "u", "", ""), Spans(Places(document())), partial(sending, target))
    assert sender.health.warning().endswith("/v1/traces fails: the header x-c has a line break")
    sender.start()
    sender.offer([told_exchange()])
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
    spans.offer([told_exchange()])
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
    sender.offer([told_exchange()])
    end(sender)
    assert losses.counts() == {"spans": SPANS_EACH}
    assert sender.health.warning().endswith("fails: KeyError")
