"""What a worker tells of single exchanges waits for control: in rows, within bounds, and every loss is counted."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
from understudy.proxy import messages
from understudy.proxy.channel import MAX_FRAME_BYTES
from understudy.proxy.telemetry.record_sheet import BATCH, MOST_WAITING, ROW, RecordSheet
from understudy.proxy.telemetry.records import FailedExchange
from understudy.proxy.telemetry.spans import Spans

from tests.kit.lines import rich, told
from tests.kit.spans import Span, read, spans_by
from tests.kit.told import told_call, told_exchange

from .test_spans import document

FAILED = FailedExchange("iris", "stable", "", 503, "overloaded", "f", 1.0)
LONG = "/" + "x" * 1000
EACH = 3  # spans of an exchange


@pytest.fixture
def writer() -> Spans:
    return spans_by(document())


def spans_in(sheet: RecordSheet) -> list[Span]:
    """All that wait, taken; their number is what is said."""
    _, _, batch = sheet.take()
    if batch is None:
        return []
    found = read([batch.encoded])
    assert len(found) == batch.count
    return found


def ids(spans: list[Span]) -> list[str]:
    return [span.attributes["understudy.request_id"] for span in spans if "understudy.request_id" in span.attributes]


def test_each_exchange_becomes_what_it_is_told_for_and_nothing_else(writer: Spans) -> None:
    sheet = RecordSheet()
    sheet.tell(told_exchange(request_id="a", traced=True, logged=False), writer)
    sheet.offer(FAILED)
    sheet.tell(told_exchange(request_id="b", traced=False, logged=True), writer)
    sheet.tell(told_exchange(request_id="c", traced=True, logged=True), writer)
    late = told_exchange(request_id="d", live_told=False, calls=[told_call(role="shadow")])
    sheet.tell(late, writer)
    failures, lines, batch = sheet.take()
    assert batch is not None
    assert failures == [FAILED]
    assert [(line.request_id, bool(line.trace_id)) for line in lines] == [("b", False), ("c", True)]
    assert ids(read([batch.encoded])) == ["a", "c"]
    assert batch.count == 2 * EACH + 1, "and the late copy's"
    assert sheet.take() == ([], [], None)
    assert len(sheet) == sheet.dropped == 0


def test_control_understands_all_of_it(writer: Spans) -> None:
    sheet = RecordSheet()
    sheet.offer(FAILED)
    sheet.tell(rich(), writer)
    sheet.tell(told(), writer)
    notice = messages.Records(*sheet.take(), dropped=3)
    assert len(notice.lines) == 2
    assert messages.decode_notice(messages.encode(notice)) == notice


def test_spans_are_made_of_a_batch_in_rows_each_in_a_turn_of_its_own_and_then_handed_over(writer: Spans) -> None:
    sheet, turns, handed = RecordSheet(), list[Callable[[], None]](), list[int]()
    sheet.soon, sheet.full = turns.append, lambda: handed.append(len(sheet))
    for number in range(BATCH + ROW - 1):
        assert bool(turns) == (number >= BATCH), "nothing is done in the turns of requests"
        sheet.tell(told_exchange(request_id=f"r{number}"), writer)
    left = len(sheet.told)
    while turns:
        assert not handed and len(turns) == 1
        turns.pop()()
        assert len(sheet.told) == (left := left - ROW)
    assert (left, handed) == (ROW - 1, [BATCH + ROW - 1]), "what came meanwhile is of the next batch"
    assert ids(spans_in(sheet)) == [f"r{number}" for number in range(BATCH + ROW - 1)]


def test_the_largest_batch_is_far_from_what_a_frame_may_hold(writer: Spans) -> None:
    sheet, handed = RecordSheet(), list[int]()
    sheet.full = lambda: handed.append(len(messages.encode(messages.Records(*sheet.take()))))
    calls = [told_call(role="shadow", span_id="1" * 16)] * 7
    for _ in range(BATCH):
        sheet.tell(told_exchange(path=LONG, calls=calls), writer)
    assert 0 < handed[0] < MAX_FRAME_BYTES / 16


def test_failures_are_handed_over_too() -> None:
    sheet, handed = RecordSheet(), list[int]()
    sheet.full = lambda: handed.append(len(sheet.take()[0]))
    for _ in range(2 * BATCH + 1):
        sheet.offer(FAILED)
    assert handed == [BATCH, BATCH]
    assert len(sheet) == 1


def test_what_nobody_takes_is_bounded_and_what_comes_then_is_dropped_and_counted(writer: Spans) -> None:
    sheet = RecordSheet()
    for _ in range(MOST_WAITING + 5):
        sheet.tell(told_exchange(logged=False), writer)
    sheet.offer(FAILED)
    assert (len(sheet), sheet.dropped) == (MOST_WAITING, 6)
    assert len(spans_in(sheet)) == EACH * MOST_WAITING


def test_after_a_reload_each_exchange_is_told_by_the_configuration_that_it_was_served_by() -> None:
    sheet, former = RecordSheet(), spans_by(document(), ["x-tenant"])
    fields = {"x-tenant": "blue"}
    sheet.tell(told_exchange(request_id="a", fields=fields), former)
    sheet.tell(told_exchange(request_id="b", fields=fields), spans_by(document()))
    sheet.tell(told_exchange(request_id="c", fields=fields), former)
    told = {span.attributes.get("understudy.request_id"): span.attributes for span in spans_in(sheet)}
    name = "http.request.header.x-tenant"
    assert [each for each in "abc" if name in told[each]] == ["a", "c"]


def test_an_exchange_of_which_no_span_can_be_made_is_lost_counted_and_no_other(
    writer: Spans, caplog: pytest.LogCaptureFixture
) -> None:
    sheet = RecordSheet()
    for request_id, trace_id in (("a", "0" * 32), ("b", "nonsense"), ("c", "1" * 32)):
        sheet.tell(told_exchange(request_id=request_id, trace_id=trace_id), writer)
    with caplog.at_level(logging.ERROR):
        assert ids(spans_in(sheet)) == ["a", "c"]
    assert "route iris: an exchange cannot be told of" in caplog.text
    assert sheet.dropped == 1
