"""The wall clock jumps while an exporter of the SDK, which counts by it, is at work: our own deadline holds."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from opentelemetry.exporter.otlp.common import http
from opentelemetry.exporter.otlp.proto.grpc import exporter
from understudy.proxy.telemetry.export.deadline import Deadline
from understudy.proxy.telemetry.export.exporters import sending
from understudy.proxy.telemetry.export.outcome import Outcome

from tests.kit.collector import Answer, Collector, Seen, grpc_collector, http_collector

from .test_exporters import REQUEST, target

HOUR_S = 3600.0
TIMEOUT_S = 2.5  # the SDK's first pause is of 1.2 s at most
PROTOCOLS = pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])


class Wall:
    """The wall clock, as the SDK reads it: gRPC itself makes of it one that does not jump, at the call. Mutable state:
    how far it is off."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.off_s = 0.0
        monkeypatch.setattr(http, "time", SimpleNamespace(time=self.now))
        monkeypatch.setattr(exporter, "time", self.now)

    def now(self) -> float:
        """Seconds since 1970."""
        return time.time() + self.off_s  # noqa: TID251 - it is what jumps


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> Wall:
    return Wall(monkeypatch)


@contextmanager
def fails_once(protocol: str, then_holds: bool) -> Iterator[Collector]:
    """A backend that is unavailable at first; it takes the next request, or does not answer it for long."""

    def respond(_: Seen, context: grpc.ServicerContext) -> Any:
        if len(collector.seen) == 1:
            context.abort(grpc.StatusCode.UNAVAILABLE, "later")
        if then_holds:
            collector.release.wait(20)

    with grpc_collector(respond) if protocol == "grpc" else http_collector() as collector:
        collector.answer = lambda _: Answer(503) if len(collector.seen) == 1 else Answer(hold=then_holds)
        yield collector


def jumps_in_the_pause(monkeypatch: pytest.MonkeyPatch, wall: Wall, to_s: float) -> None:
    waits = Deadline.wait

    def wait(self: Deadline, timeout: float | None = None) -> bool:
        wall.off_s = to_s
        return waits(self, timeout)

    monkeypatch.setattr(Deadline, "wait", wait)


@PROTOCOLS
def test_set_back_an_hour_the_next_attempt_has_no_hour(
    protocol: str, wall: Wall, monkeypatch: pytest.MonkeyPatch
) -> None:
    jumps_in_the_pause(monkeypatch, wall, -HOUR_S)
    with fails_once(protocol, then_holds=True) as collector:
        begun = time.monotonic()
        outcome = sending(target(collector.url, protocol, timeout_s=TIMEOUT_S))(REQUEST)
        assert time.monotonic() - begun < 10
        assert len(collector.seen) == 2
    assert outcome.again, "it may be taken later"


@PROTOCOLS
def test_set_ahead_an_hour_the_next_attempt_has_what_is_left(
    protocol: str, wall: Wall, monkeypatch: pytest.MonkeyPatch
) -> None:
    jumps_in_the_pause(monkeypatch, wall, HOUR_S)
    with fails_once(protocol, then_holds=False) as collector:
        assert sending(target(collector.url, protocol, timeout_s=TIMEOUT_S))(REQUEST) == Outcome()
        assert len(collector.seen) == 2


def test_no_pause_reaches_beyond_the_deadline_whatever_the_backend_asks_for(wall: Wall) -> None:
    def asks(_: Seen) -> Answer:
        wall.off_s = -HOUR_S
        return Answer(503, {"retry-after": "60"})

    with http_collector() as collector:
        collector.answer = asks
        begun = time.monotonic()
        outcome = sending(target(collector.url, timeout_s=TIMEOUT_S))(REQUEST)
        assert time.monotonic() - begun < 10
    assert outcome == Outcome("HTTP 503 Service Unavailable", again=True, after_s=60)


def test_what_comes_too_late_to_be_tried_is_tried_later(monkeypatch: pytest.MonkeyPatch) -> None:
    with http_collector() as collector:
        monkeypatch.setattr(Deadline, "left_s", lambda _: 0.0)
        assert sending(target(collector.url))(REQUEST) == Outcome("no answer in time", again=True)
        assert collector.seen == []
