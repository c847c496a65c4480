"""One shadow's share of a mirror's budget: never more copies, bytes or copies a second than that."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from time import monotonic

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st
from understudy.config.snapshot import Backend, Endpoint, Mirror, Shadow
from understudy.filters.api import Request
from understudy.proxy.breaker import FAILURES_TO_OPEN, FIRST_PAUSE_S, OPEN
from understudy.proxy.lane import Lane
from understudy.proxy.plane import DataPlane
from understudy.proxy.telemetry.stats import Stats
from understudy.proxy.timers import Wheel

KIB = 1024
NEXT = Backend(name="next", version="9", endpoints=(Endpoint("127.0.0.1", 1),))
SHADOW = Shadow(backend=NEXT, max_body=64 * KIB, removed=frozenset(), set=())
MIRROR = Mirror(shadows={"next": SHADOW}, max_copies=4, max_bytes=100 * KIB)


class Clock:
    """Monotonic seconds that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@contextmanager
def lane_of(mirror: Mirror = MIRROR) -> Iterator[tuple[Lane, DataPlane, Clock]]:
    """A lane of a plane whose loop does not run, and the plane's clock."""
    loop, clock = uvloop.new_event_loop(), Clock()
    plane = DataPlane(loop, Stats())
    plane.wheel.stop()
    plane.wheel = Wheel(loop, clock)
    try:
        yield Lane(plane, "iris", mirror, next(iter(mirror.shadows.values()))), plane, clock
    finally:
        loop.close()


def refusal(lane: Lane, *, live: str = "stable", length: int | None = 3, size: int = 0, upgrades: bool = False) -> str:
    return lane.refusal(live, Request(b"POST", b"/", b"a", [], b"", False, length), size, upgrades)


def shares(count: int, **budget: float) -> Mirror:
    """A budget that so many shadows share."""
    shadows = {f"next{at}": replace(SHADOW, backend=replace(NEXT, name=f"next{at}")) for at in range(count)}
    return replace(MIRROR, shadows=shadows, **budget)  # type: ignore[arg-type]


def test_what_is_not_copied_and_why() -> None:
    with lane_of() as (lane, _, _):
        assert refusal(lane) == ""
        assert refusal(lane, live="next") == "same_backend"
        assert refusal(lane, upgrades=True) == "not_mirrorable"
        assert refusal(lane, length=64 * KIB) == ""
        assert refusal(lane, length=64 * KIB + 1) == "body_too_large"
        assert refusal(lane, length=None) == ""
        assert refusal(lane, length=None, size=64 * KIB + 1) == "body_too_large"


def test_a_backend_may_shadow_itself_for_calibration() -> None:
    with lane_of(replace(MIRROR, shadows={"next": replace(SHADOW, calibration=True)})) as (lane, _, _):
        assert refusal(lane, live="next") == ""


def test_nothing_is_copied_while_the_plane_drains() -> None:
    with lane_of() as (lane, plane, _):
        plane.draining = True
        assert refusal(lane) == "draining"


@pytest.mark.parametrize("count", [1, 3])
def test_every_shadow_has_an_equal_share(count: int) -> None:
    with lane_of(shares(count, max_copies=85, max_bytes=3000, rate_per_s=30.0)) as (lane, _, _):
        assert lane.max_copies == 85
        assert lane.max_bytes == 3000 // count
        assert lane.allowance is not None
        assert lane.allowance.rate_per_s == 30.0 / count


def test_the_idempotency_key_of_a_copy_is_one_of_its_own() -> None:
    with lane_of() as (lane, plane, _), lane_of(shares(1)) as (other, _, _):
        assert lane.own_key(b"key-1") == lane.own_key(b"key-1")
        found = {b"key-1", lane.own_key(b"key-1"), lane.own_key(b"key-2"), other.own_key(b"key-1")}
        assert len(found) == 4, "each shadow and each key has its own"
        before = lane.own_key(b"key-1")
        plane.secret = b"another secret of thirty-two bytes"
        lane.configure(MIRROR, SHADOW)
        assert lane.own_key(b"key-1") != before, "nobody without the secret can tell"


def test_a_probe_alone_decides_while_it_is_under_way() -> None:
    with lane_of() as (lane, plane, clock):
        for _ in range(FAILURES_TO_OPEN):
            assert refusal(lane) == ""
            lane.judge(lane.breaker, "shadow_timeout", probes=False)
        assert refusal(lane) == "breaker_open"
        clock.now += FIRST_PAUSE_S + 0.1
        plane.wheel.turn()
        assert (refusal(lane), lane.probed) == ("", True)
        for old in ("client_gone", "shadow_timeout", ""):  # copies from before the pause end now
            lane.judge(lane.breaker, old, probes=False)
        assert lane.probed
        assert refusal(lane) == "breaker_open", "one at a time"
        lane.judge(lane.breaker, "", probes=True)
        assert (refusal(lane), lane.probed) == ("", False)


def test_a_reload_with_other_endpoints_begins_anew_and_one_without_does_not() -> None:
    with lane_of() as (lane, _, _):
        for _ in range(FAILURES_TO_OPEN):
            lane.judge(lane.breaker, "shadow_error", probes=False)
        lane.configure(MIRROR, replace(SHADOW, backend=replace(NEXT, version="10")))
        assert refusal(lane) == "breaker_open"
        old = lane.breaker
        lane.configure(MIRROR, replace(SHADOW, backend=replace(NEXT, endpoints=(Endpoint("127.0.0.1", 2),))))
        assert refusal(lane) == ""
        for _ in range(FAILURES_TO_OPEN):  # copies that still hang at the old endpoint
            lane.judge(old, "shadow_timeout", probes=False)
        assert refusal(lane) == ""


@pytest.mark.parametrize("reason", ["budget_bytes", "client_gone", "live_over", "draining", "body_too_large"])
def test_what_is_not_the_shadows_fault_opens_nothing(reason: str) -> None:
    with lane_of() as (lane, _, _):
        for _ in range(3 * FAILURES_TO_OPEN):
            lane.judge(lane.breaker, reason, probes=False)
        assert refusal(lane) == ""


@pytest.mark.parametrize("reason", ["shadow_error", "shadow_timeout", "slow_shadow"])
def test_what_is_the_shadows_fault_opens_the_breaker(reason: str) -> None:
    with lane_of() as (lane, _, _):
        for _ in range(FAILURES_TO_OPEN):
            lane.judge(lane.breaker, reason, probes=False)
        assert refusal(lane) == "breaker_open"


def test_a_probe_that_the_rate_refuses_is_no_probe() -> None:
    with lane_of(replace(MIRROR, rate_per_s=0.001)) as (lane, plane, clock):
        assert refusal(lane) == ""
        for _ in range(FAILURES_TO_OPEN):
            lane.judge(lane.breaker, "shadow_error", probes=False)
        clock.now += FIRST_PAUSE_S + 0.1
        plane.wheel.turn()
        assert refusal(lane) == "budget_requests"
        assert lane.breaker.state == OPEN, "nobody would end it"


@given(rate=st.floats(0.1, 1e5), asked=st.integers(1, 400))
@settings(max_examples=50, deadline=None)
def test_never_more_copies_than_the_rate_allows(rate: float, asked: int) -> None:
    with lane_of(replace(MIRROR, rate_per_s=rate)) as (lane, _, _):
        begun = monotonic()
        admitted = sum(refusal(lane) == "" for _ in range(asked))
        passed_s = monotonic() - begun
        burst = max(1.0, 0.1 * rate)
        assert 1 <= admitted <= burst + passed_s * rate + 1e-6
        assert admitted >= min(asked, int(burst))
