"""How the state of an export is told: once for each change, in words that fit a line."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest
import requests
from understudy.proxy.telemetry.export.outcome import QUIET_S, Health, Outcome, why, words

GOOD, BAD = Outcome(), Outcome("HTTP 503 Service Unavailable", again=True)


@pytest.fixture
def health() -> tuple[Health, Callable[[float], None]]:
    now = [0.0]

    def later(seconds: float) -> None:
        now[0] += seconds

    return Health("traces", "http://me:secret@collector:4318/v1/traces?key=secret", lambda: now[0]), later


def test_a_change_is_told_once(
    health: tuple[Health, Callable[[float], None]], caplog: pytest.LogCaptureFixture
) -> None:
    state, later = health
    caplog.set_level("INFO")
    for outcome in (GOOD, GOOD, BAD, BAD, BAD, GOOD, GOOD):
        state.now(outcome)
        later(QUIET_S)
    name = "OTLP export of traces to http://***@collector:4318/v1/traces?***"
    assert caplog.messages == [f"{name} fails: HTTP 503 Service Unavailable", f"{name} works again"]


def test_what_comes_and_goes_is_told_now_and_then(
    health: tuple[Health, Callable[[float], None]], caplog: pytest.LogCaptureFixture
) -> None:
    state, later = health
    caplog.set_level("INFO")
    for _ in range(110):
        state.now(BAD)
        state.now(GOOD)
        later(QUIET_S / 100)
    assert len(caplog.messages) == 2
    assert state.warning() == ""
    state.now(BAD)
    assert state.warning().endswith("fails: HTTP 503 Service Unavailable")


def test_the_root_of_an_error_is_told() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(requests.ConnectionError) as refused:
            requests.get(f"http://127.0.0.1:{taken.getsockname()[1]}", timeout=5)
    assert why(refused.value) == "connection refused"
    assert why(requests.ReadTimeout("read timed out")) == "no answer in time"
    assert why(ValueError()) == "ValueError"
    assert why(ValueError("a\nb\x1b[2J")) == "a b\\x1b[2J"


def test_words_fit_a_line() -> None:
    assert words("a\r\n  b") == "a b"
    assert len(words("x" * 1000)) < 200
