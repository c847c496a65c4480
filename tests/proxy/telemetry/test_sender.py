"""The threads that export: bounds, retries, and that every loss is counted once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from understudy.proxy.telemetry.export import sender as sending
from understudy.proxy.telemetry.export import senders
from understudy.proxy.telemetry.export.metrics import Measured
from understudy.proxy.telemetry.export.outcome import Outcome
from understudy.proxy.telemetry.export.plan import Target
from understudy.proxy.telemetry.export.senders import MetricSender, SpanSender
from understudy.proxy.telemetry.export.wire import Wire
from understudy.proxy.telemetry.family import Family, Point
from understudy.proxy.telemetry.losses import Losses
from understudy.proxy.telemetry.records import SpanBatch

from tests.kit.spans import encoded, sent_of, spans_by, spans_in
from tests.kit.told import told_exchange
from tests.proxy.telemetry.test_spans import document

TARGET = Target("traces", "http://collector:4318/v1/traces", "http/protobuf", (), "none", 1.0, None, None, None, None)
SPANS_EACH = 3
DOWN = Outcome("connection refused", again=True)


class Backend:
    """Stands for an exporter. Mutable state: what it was sent, and what it says to the next ones."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.says: list[Outcome] = []
        self.entered = threading.Semaphore(0)
        self.held = threading.Event()
        self.held.set()

    def __call__(self, request: Any) -> Outcome:
        self.sent.append(request)
        self.entered.release()
        assert self.held.wait(20)
        return self.says.pop(0) if self.says else Outcome()

    def was_asked(self) -> None:
        assert self.entered.acquire(timeout=10)

    @property
    def spans(self) -> list[int]:
        """Of each request."""
        return [len(sent_of(each)) for each in self.sent]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(senders, "GATHER_S", 0.0)
    monkeypatch.setattr(sending, "FIRST_PAUSE_S", 0.0)


@pytest.fixture
def backend() -> Iterator[Backend]:
    found = Backend()
    yield found
    found.held.set()


@pytest.fixture
def losses() -> Losses:
    return Losses()


def batch(exchanges: int = 1, request_id: str = "r1") -> SpanBatch:
    """What a worker hands over of so many."""
    spans = encoded(spans_by(document()), *[told_exchange(request_id=request_id)] * exchanges)
    return SpanBatch(len(spans), b"".join(spans))


def span_sender(losses: Losses, make: Callable[[], Callable[[bytes], Outcome]]) -> SpanSender:
    return SpanSender(TARGET, losses, Wire({}, "u", "", ""), make)


@pytest.fixture
def sender(backend: Backend, losses: Losses) -> Iterator[SpanSender]:
    found = span_sender(losses, lambda: backend)
    found.start()
    yield found
    backend.held.set()
    found.stop(5)
    assert found.done.wait(10)


def end(sender: SpanSender | MetricSender) -> None:
    sender.stop(10)
    assert sender.done.wait(10)


def test_what_waits_leaves_together(backend: Backend, losses: Losses, sender: SpanSender) -> None:
    backend.held.clear()
    sender.offer(batch())
    backend.was_asked()
    for _ in range(5):
        sender.offer(batch())
    backend.held.set()
    end(sender)
    assert backend.spans == [SPANS_EACH, 5 * SPANS_EACH]
    assert losses.counts() == {"spans": 0}
    assert sender.health.warning() == ""


@pytest.mark.parametrize(
    ("bound", "value"),
    [
        ("MOST_SPANS_AT_ONCE", 6),
        ("MOST_BYTES_AT_ONCE", 2 * len(batch().encoded)),
        ("MOST_BYTES_AT_ONCE", 3 * len(batch().encoded) - 1),  # it is never passed
    ],
)
def test_one_request_is_bounded(
    backend: Backend, losses: Losses, sender: SpanSender, monkeypatch: pytest.MonkeyPatch, bound: str, value: int
) -> None:
    monkeypatch.setattr(senders, bound, value)
    backend.held.clear()
    sender.offer(batch())
    backend.was_asked()
    for _ in range(5):
        sender.offer(batch())
    backend.held.set()
    end(sender)
    assert backend.spans == [3, 6, 6, 3]
    assert losses.counts() == {"spans": 0}


def test_what_waits_is_bounded_and_the_oldest_make_room(
    backend: Backend, losses: Losses, sender: SpanSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(senders, "MOST_BYTES", 4 * len(batch().encoded))
    backend.held.clear()
    sender.offer(batch())
    backend.was_asked()
    for number in range(10):
        sender.offer(batch(request_id=f"r{number}"))
    assert losses.counts() == {"spans": 6 * SPANS_EACH}
    backend.held.set()
    end(sender)
    kept = [span.attributes["understudy.request_id"] for span in spans_in(backend.sent[-1])[::SPANS_EACH]]
    assert kept == ["r6", "r7", "r8", "r9"]
    assert losses.counts() == {"spans": 6 * SPANS_EACH}


def test_what_may_be_taken_later_is_offered_again_and_nothing_is_lost(
    backend: Backend, losses: Losses, sender: SpanSender
) -> None:
    backend.says = [DOWN, DOWN, Outcome()]
    sender.offer(batch())
    for _ in range(3):
        backend.was_asked()
    end(sender)
    assert backend.sent == [backend.sent[0]] * 3
    assert losses.counts() == {"spans": 0}


def test_what_is_refused_is_lost_at_once_and_what_is_taken_in_part_in_part(
    backend: Backend, losses: Losses, sender: SpanSender
) -> None:
    backend.says = [Outcome("HTTP 400 Bad Request")]
    sender.offer(batch())
    backend.was_asked()
    end(sender)
    assert losses.counts() == {"spans": SPANS_EACH}
    assert (
        sender.health.warning()
        == "OTLP export of traces to http://collector:4318/v1/traces fails: HTTP 400 Bad Request"
    )


def test_what_a_backend_takes_in_part_is_lost_in_part(backend: Backend, losses: Losses, sender: SpanSender) -> None:
    backend.says = [Outcome(rejected=2)]
    sender.offer(batch())
    backend.was_asked()
    end(sender)
    assert losses.counts() == {"spans": 2}
    assert sender.health.warning() == ""


def test_a_backend_that_asks_for_patience_gets_it(backend: Backend, losses: Losses, sender: SpanSender) -> None:
    backend.says = [Outcome("HTTP 429 Too Many Requests", again=True, after_s=0.3)]
    sender.offer(batch())
    backend.was_asked()
    begun = time.monotonic()
    backend.was_asked()
    assert time.monotonic() - begun >= 0.25
    end(sender)
    assert losses.counts() == {"spans": 0}


class Later:
    """Stands for the module `time`. Mutable state: by how much it is ahead."""

    off_s = 0.0

    def monotonic(self) -> float:
        """Seconds."""
        return time.monotonic() + self.off_s


def test_patience_outlasts_what_was_lost_for_it(
    backend: Backend, losses: Losses, sender: SpanSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record that is too old when it is refused is lost at once, and the next one is not sent before."""
    clock = Later()
    for module in (sending, senders):
        monkeypatch.setattr(module, "time", clock)
    backend.says = [Outcome("HTTP 503 Service Unavailable", again=True, after_s=0.4)]
    backend.held.clear()
    sender.offer(batch())
    backend.was_asked()
    clock.off_s = sending.KEEP_S
    sender.offer(batch())
    begun = time.monotonic()
    backend.held.set()
    backend.was_asked()
    assert time.monotonic() - begun >= 0.3
    end(sender)
    assert losses.counts() == {"spans": SPANS_EACH}
    assert len(backend.sent) == 2


def test_what_is_too_old_is_lost(
    backend: Backend, losses: Losses, sender: SpanSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(senders, "KEEP_S", 0.0)
    sender.offer(batch(2))
    end(sender)
    assert backend.sent == []
    assert losses.counts() == {"spans": 2 * SPANS_EACH}


def test_the_end_has_a_deadline_and_what_hangs_then_is_lost_once(
    backend: Backend, losses: Losses, sender: SpanSender
) -> None:
    backend.held.clear()
    backend.says = [DOWN]
    sender.offer(batch())
    backend.was_asked()
    sender.offer(batch())
    sender.stop(0.05)
    assert not sender.done.wait(0.2)
    assert sender.abandon() == 2 * SPANS_EACH
    assert sender.abandon() == 0
    backend.held.set()
    assert sender.done.wait(10)
    assert losses.counts() == {"spans": 2 * SPANS_EACH}


def test_an_end_within_a_pause_does_not_wait_for_it(
    backend: Backend, losses: Losses, sender: SpanSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "FIRST_PAUSE_S", 30.0)
    backend.says = [DOWN] * 9
    sender.offer(batch())
    backend.was_asked()
    sender.stop(0.5)
    assert sender.done.wait(5)
    assert losses.counts() == {"spans": SPANS_EACH}


def test_a_reload_lets_the_former_one_send_what_it_holds(backend: Backend, losses: Losses, sender: SpanSender) -> None:
    backend.held.clear()
    sender.offer(batch())
    backend.was_asked()
    sender.offer(batch())
    sender.stop(10)
    backend.held.set()
    assert sender.done.wait(10)
    assert backend.spans == [SPANS_EACH, SPANS_EACH]
    assert losses.counts() == {"spans": 0}


def measured(value: int, points: int = 2) -> Measured:
    found = [Point((), (f"b-{number}",), value) for number in range(points)]
    return Measured([Family("a", "", "gauge", ("b",), "", found), Family("n", "", "gauge", (), "", [])], 1, 2)


def metric_sender(losses: Losses, backend: Backend) -> MetricSender:
    return MetricSender(TARGET, losses, Wire({}, "u", "", ""), lambda: backend)


def values(backend: Backend) -> list[list[int]]:
    """Of the points of each request."""
    requests = [ExportMetricsServiceRequest.FromString(each) for each in backend.sent]
    metrics = [request.resource_metrics[0].scope_metrics[0].metrics for request in requests]
    return [[point.as_int for metric in each for point in metric.gauge.data_points] for each in metrics]


def test_of_metrics_only_the_last_ones_wait(backend: Backend, losses: Losses) -> None:
    sender = metric_sender(losses, backend)
    sender.start()
    backend.held.clear()
    sender.offer(measured(1))
    backend.was_asked()
    sender.offer(measured(2))
    sender.offer(measured(3))
    assert losses.counts() == {"metrics": 2}
    sender.offer(measured(4), is_last=True)
    backend.held.set()
    end(sender)
    assert values(backend) == [[1, 1], [4, 4]]
    assert losses.counts() == {"metrics": 2}


def test_metrics_that_others_overtake_before_anything_can_be_sent_are_not_lost(
    backend: Backend, losses: Losses
) -> None:
    imported = threading.Event()

    def imports() -> Backend:
        assert imported.wait(20)
        return backend

    sender = MetricSender(TARGET, losses, Wire({}, "u", "", ""), imports)
    sender.start()
    sender.offer(measured(1))
    sender.offer(measured(2))
    imported.set()
    backend.was_asked()
    end(sender)
    assert values(backend) == [[2, 2]]
    assert losses.counts() == {"metrics": 0}


def test_metrics_are_not_offered_again_as_the_next_ones_say_more(backend: Backend, losses: Losses) -> None:
    sender = metric_sender(losses, backend)
    sender.start()
    backend.says = [DOWN]
    sender.offer(measured(1))
    backend.was_asked()
    end(sender)
    assert len(backend.sent) == 1
    assert losses.counts() == {"metrics": 2}


def test_many_metrics_leave_in_requests_that_a_backend_takes(
    backend: Backend, losses: Losses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(senders, "MOST_POINTS_AT_ONCE", 3)
    sender = metric_sender(losses, backend)
    sender.start()
    backend.held.clear()
    both = measured(1, 7)
    sender.offer(both._replace(families=[*both.families, both.families[0]._replace(name="c")]))
    backend.was_asked()
    sender.offer(measured(2, 4))
    assert losses.counts() == {"metrics": 11}
    backend.held.set()
    end(sender)
    assert values(backend) == [[1, 1, 1], [2, 2, 2], [2]]
