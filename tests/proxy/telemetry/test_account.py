"""When an exchange is told: once, whatever the order in which its copies end and the waiting is over."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from understudy.proxy.telemetry.account import LATE, NOTHING, WHOLE, Progress


class Heard:
    """What control hears of one exchange. Mutable state: the counts."""

    def __init__(self) -> None:
        self.progress = Progress()
        self.traces = self.lines = self.late = 0
        self.pending: list[int] = []  # copies under way when the trace was told

    def take(self, due: int) -> None:
        progress = self.progress
        if due == WHOLE:
            self.traces += progress.traced
            self.lines += progress.logged
            if progress.traced:
                self.pending.append(progress.left)
        elif due == LATE:
            self.late += 1
        else:
            assert due == NOTHING


@given(st.booleans(), st.booleans(), st.lists(st.booleans(), max_size=4), st.integers(0, 5))
def test_it_is_told_once_and_each_copy_once(traced: bool, logged: bool, copies: list[bool], overdue_at: int) -> None:
    heard = Heard()
    progress = heard.progress
    heard.take(progress.live_over(traced, logged, len(copies)))
    for at, disagrees in enumerate(copies):
        if at == overdue_at:
            heard.take(progress.overdue())
            assert heard.lines == logged, "at the latest"
            assert heard.traces == (traced or any(copies[:at]))
        heard.take(progress.copy_ended(disagrees))
    assert heard.traces == (traced or any(copies))
    assert heard.lines == logged
    assert sum(heard.pending) == heard.late, "each copy that was under way is told later"
    assert progress.left == 0


@given(st.booleans(), st.booleans())
def test_without_copies_it_is_told_at_once_or_never(traced: bool, logged: bool) -> None:
    progress = Progress()
    assert progress.live_over(traced, logged, 0) == (WHOLE if traced or logged else NOTHING)
    assert progress.overdue() == NOTHING


def test_a_line_waits_for_the_copies_but_not_for_long() -> None:
    progress = Progress()
    assert progress.live_over(False, True, 1) == NOTHING
    assert progress.overdue() == WHOLE
    assert progress.copy_ended(False) == NOTHING, "nothing new for a line, and no trace"


def test_a_disagreement_behind_the_line_is_a_trace_and_no_second_line() -> None:
    progress = Progress()
    progress.live_over(False, True, 2)
    progress.overdue()
    assert progress.copy_ended(True) == WHOLE
    assert (progress.traced, progress.logged) == (True, False)
    assert progress.copy_ended(True) == LATE
