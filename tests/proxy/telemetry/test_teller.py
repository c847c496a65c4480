"""Which exchanges are told of: the draws and the reasons, without a socket."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from random import Random
from time import monotonic

import pytest
from hypothesis import given
from hypothesis import strategies as st
from understudy.config.compile_telemetry import flags, telemetry
from understudy.config.schema import convert
from understudy.config.snapshot import Flag, Telemetry
from understudy.filters.flags import FlagsConfig, Rule
from understudy.proxy.allowance import Allowance
from understudy.proxy.telemetry.account import BEYOND, DRAWN, NOT_DRAWN, Waiting
from understudy.proxy.telemetry.record_sheet import RecordSheet
from understudy.proxy.telemetry.teller import SPANS_BEYOND_RATE, Teller
from understudy.proxy.timers import Wheel
from understudy.proxy.trace import Context, continued

from tests.kit.spans import spans_by
from tests.proxy.telemetry.test_spans import document

TRACES = Telemetry(traces=True, sample=0.0)
TRACE, SPAN = b"4bf92f3577b34da6a3ce929d0e0e4736", b"00f067aa0ba902b7"

shares = st.floats(0, 1)
settings = st.builds(
    Telemetry, traces=st.booleans(), sample=shares, errors=st.booleans(), slow=st.floats(0.001, 10) | st.just(math.inf),
    over_p99=st.booleans(), log=st.booleans(), log_sample=shares, log_errors=st.booleans(),
)  # fmt: skip


def teller(
    settings: Telemetry, random: Callable[[], float] = lambda: 0.5, counted: dict[str, int] | None = None
) -> Teller:
    loop = asyncio.new_event_loop()
    waiting = Waiting(Wheel(loop))  # for nobody
    loop.close()
    counters = {} if counted is None else counted
    spans = spans_by(document())
    return Teller(settings, random, lambda: b"5" * 16, RecordSheet(), spans, counters, waiting)


def flags_of(sampled: bool | None, trusted: bool, teller: Teller, trace: bytes = TRACE) -> bytes:
    """The flags that go on for a request whose caller says so; None: it says nothing."""
    if sampled is None:
        spans = Context(trace, SPAN)
    else:
        parent = b"00-%b-%b-%b" % (trace, b"c" * 16, b"01" if sampled else b"00")
        spans = continued([(b"traceparent", parent)], b"d" * 32, SPAN, trusted)
    teller.draw(spans, trusted, monotonic())
    return spans.flags


@pytest.mark.parametrize("sample", [0.0, 1.0])
def test_a_trusted_parent_decides_whatever_the_draw(sample: float) -> None:
    asked = teller(replace(TRACES, sample=sample))
    assert flags_of(True, True, asked) == b"01"
    assert flags_of(False, True, asked) == b"00"


@pytest.mark.parametrize(("sample", "flags"), [(0.0, b"00"), (1.0, b"01")])
@pytest.mark.parametrize("says", [True, False, None])
def test_nobody_else_does(says: bool | None, sample: float, flags: bytes) -> None:
    asked = teller(replace(TRACES, sample=sample))
    assert flags_of(says, False, asked) == flags
    if says is None:
        assert flags_of(says, True, asked) == flags, "a trusted peer that began no trace"


@pytest.mark.parametrize("share", [0.01, 0.05, 0.5, 0.9])
def test_the_draw_takes_its_share(share: float) -> None:
    asked = teller(replace(TRACES, sample=share), Random(7).random)
    count = 20_000
    taken = sum(flags_of(None, False, asked) == b"01" for _ in range(count))
    assert abs(taken - share * count) <= 3 * math.sqrt(count * share * (1 - share))


def test_no_trace_id_is_drawn_more_often_than_another() -> None:
    """A client that has found one which was sampled gains nothing by sending it again."""
    asked = teller(replace(TRACES, sample=0.5), Random(7).random)
    for trace in (b"0" * 31 + b"1", b"f" * 32, TRACE):
        taken = sum(flags_of(True, False, asked, trace) == b"01" for _ in range(2_000))
        assert abs(taken - 1_000) <= 3 * math.sqrt(500)


def test_where_nothing_is_traced_a_trusted_flag_still_goes_on() -> None:
    asked = teller(Telemetry(traces=False, log=True, log_sample=1.0))
    assert flags_of(True, True, asked) == b"01"
    assert flags_of(True, False, asked) == flags_of(None, False, asked) == b"00"


@given(settings, st.booleans(), st.booleans(), st.floats(0, 20), st.floats(0, 20))
def test_every_reason_to_trace_is_enough_and_none_is_none(
    chosen: Telemetry, sampled: bool, failed: bool, total_s: float, p99_s: float
) -> None:
    reasons = (
        sampled,
        chosen.errors and failed,
        total_s > chosen.slow,
        chosen.over_p99 and total_s > p99_s,
    )
    asked = teller(chosen)
    befell = asked.befell(failed, total_s, p99_s)
    assert asked.traced(NOT_DRAWN, sampled, befell, 2, monotonic()) == (chosen.traces and any(reasons))


def drawn(asked: Teller) -> bool:
    """Whether a request is drawn, and told as a trace of two spans."""
    said = asked.draw(Context(TRACE, SPAN), False, monotonic())
    return asked.traced(said, said == DRAWN, False, 2, monotonic())


def test_a_rate_leaves_no_room_for_more_and_counts_what_it_leaves() -> None:
    counters: dict[str, int] = {}
    asked = teller(replace(TRACES, sample=1.0, spans_per_s=20.0), counted=counters)
    begun = monotonic()
    told = sum(drawn(asked) for _ in range(50))
    assert 8 <= told <= 9 + (monotonic() - begun) * 10, "a burst of 20 spans, of which 4 are kept for what befalls"
    assert counters[SPANS_BEYOND_RATE] == 2 * (50 - told)


def test_long_exchanges_that_begin_together_stay_within_the_rate() -> None:
    """All have begun before the first of them ends."""
    asked = teller(replace(TRACES, sample=1.0, spans_per_s=20.0))
    begun = monotonic()
    said = [asked.draw(Context(TRACE, SPAN), False, monotonic()) for _ in range(50)]
    assert 8 <= said.count(DRAWN) <= 9 + (monotonic() - begun) * 10
    assert [asked.traced(each, each == DRAWN, False, 2, monotonic()) for each in said] == [
        each == DRAWN for each in said
    ]


@pytest.mark.parametrize(("spans", "more"), [(1, 16), (2, 8), (10, 2)])
def test_the_end_settles_what_the_draw_took_too_much_or_too_little(spans: int, more: int) -> None:
    asked = teller(replace(TRACES, sample=1.0, spans_per_s=20.0))
    asked._allowance = Allowance(0.0, 20.0)
    asked._reserve = 4.0
    told = 0
    while (said := asked.draw(Context(TRACE, SPAN), False, monotonic())) == DRAWN:
        assert asked.traced(said, True, False, spans, monotonic())
        told += 1
    assert told == more


def test_what_was_not_drawn_for_want_of_room_is_not_passed_on_as_sampled() -> None:
    asked = teller(replace(TRACES, sample=1.0, spans_per_s=20.0))
    assert flags_of(None, False, asked) == b"01"
    for _ in range(10):
        drawn(asked)
    assert flags_of(None, False, asked) == b"00"
    assert flags_of(True, True, asked) == b"01", "a caller's word goes on whatever we tell"


def test_the_slowest_rate_tells_something() -> None:
    asked = teller(replace(TRACES, sample=1.0, spans_per_s=1e-6))
    assert asked.traced(NOT_DRAWN, False, True, 12, monotonic())
    assert not asked.traced(NOT_DRAWN, False, True, 1, monotonic()), "for as long as it takes to make up for those"
    assert drawn(teller(replace(TRACES, sample=1.0, spans_per_s=1e-6)))


def test_room_is_kept_for_what_befell() -> None:
    counters: dict[str, int] = {}
    asked = teller(replace(TRACES, sample=1.0, errors=True, spans_per_s=200.0), counted=counters)
    while drawn(asked):
        pass
    assert not asked.traced(NOT_DRAWN, True, False, 2, monotonic()), "what a caller sampled is nothing special"
    assert asked.traced(BEYOND, False, True, 2, monotonic()), "drawn in vain, then failed"
    told = 1
    while asked.traced(NOT_DRAWN, False, True, 2, monotonic()):
        told += 1
    assert told >= 19, "a fifth of 200 spans, less than what was drawn last"
    assert counters[SPANS_BEYOND_RATE] == 6


@given(settings, st.booleans(), st.floats(0, 1, exclude_max=True))
def test_a_line_is_drawn_or_tells_of_an_error(chosen: Telemetry, failed: bool, drawn: float) -> None:
    expected = chosen.log and (drawn < chosen.log_sample or (failed and chosen.log_errors))
    assert teller(chosen, lambda: drawn).logged(failed) == expected


def compiled(**part: object) -> Telemetry | None:
    document = convert(
        {
            "listeners": {"ingress": {"bind": "127.0.0.1:0"}},
            "backends": {"a": {"endpoints": ["http://127.0.0.1:1"]}},
            "routes": [{"name": "r", "match": {}, "backend": "a"}],
            "telemetry": part,
        }
    )
    return telemetry(document.telemetry, 2)


def test_nothing_is_told_without_a_place_to_tell_it_to() -> None:
    assert telemetry(None, 2) is None
    assert compiled() is None
    assert compiled(traces={"sample": 1.0}) is None, "no otlp"
    assert compiled(otlp={}, traces="off") is None
    assert compiled(access_log="off") is None


def test_what_is_written_is_what_is_told() -> None:
    assert compiled(otlp={}) == Telemetry(traces=True, sample=0.05, errors=True, spans_per_s=2500.0)
    written = {
        "sample": 0.2,
        "errors": False,
        "slow": "2s",
        "over_p99": True,
        "rate": 500,
        "shadow": "link",
        "headers": ["X-A", "B"],
    }
    log = {"sample": 0.5, "errors": False, "headers": ["b", "X-C"]}
    assert compiled(otlp={}, traces=written, access_log=log) == Telemetry(
        traces=True, sample=0.2, errors=False, slow=2.0, over_p99=True, spans_per_s=250.0, link=True, log=True,
        log_sample=0.5, log_errors=False, fields=("x-a", "b", "x-c"), traced_fields=("x-a", "b"),
    )  # fmt: skip
    assert compiled(otlp={}, traces={"slow": "0s"}) == compiled(otlp={}), "0: none"
    assert compiled(access_log={}) == Telemetry(traces=False, log=True, log_sample=1.0, log_errors=True)


def test_flags_as_telemetry_names_them() -> None:
    rules = (
        Rule(flag="dogfood", backend="canary", owner="ranking", expires=date(2031, 1, 31)),
        Rule(flag="pin", backend_from="x-variant", kind="operational"),
        Rule(flag="trial", percent=1, backend="canary", skip=("mirror",)),
        Rule(flag="quiet", skip=("mirror", "split"), set_headers={"X-Model": "a"}),
    )
    assert flags([FlagsConfig(rules=rules)]) == {
        "dogfood": Flag("canary", "", "targeting_match", {"owner": "ranking", "expires": "2031-01-31"}),
        "pin": Flag("", "", "targeting_match", {"kind": "operational"}),
        "trial": Flag("canary", "skip mirror", "split", {}),
        "quiet": Flag(None, "set x-model, skip mirror, skip split", "targeting_match", {}),
    }
    assert flags([]) is None
