"""Lines on stderr: one per event, and none that anybody waits for."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import pytest
from understudy.proxy.log import MOST_BYTES, LineHandler


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    yield reading, writing
    os.close(reading)
    os.close(writing)


def logger(descriptor: int) -> logging.Logger:
    each = logging.Logger("test")
    each.addHandler(LineHandler("worker-0", descriptor))
    return each


def test_a_line_says_when_how_bad_who_and_what(pipe: tuple[int, int]) -> None:
    logger(pipe[1]).warning("endpoint %s is down", "h:1")
    when, level, process, text = os.read(pipe[0], 1000).decode().split(maxsplit=3)
    assert (when[10], when[-1], level, process) == ("T", "Z", "warning", f"worker-0[{os.getpid()}]")
    assert text == "endpoint h:1 is down\n"


def test_a_traceback_and_a_forged_line_break_stay_on_one_line(pipe: tuple[int, int]) -> None:
    try:
        raise ValueError("first\nsecond\u2028third")
    except ValueError:
        logger(pipe[1]).exception("it failed:\r\n%s", "forged")
    said = os.read(pipe[0], 10_000).decode()
    assert len(said.splitlines()) == 1
    assert "it failed: | forged | Traceback" in said
    assert "ValueError: first | second | third\n" in said


def test_nobody_waits_for_a_reader_and_the_lost_lines_are_counted(pipe: tuple[int, int]) -> None:
    log = logger(pipe[1])
    for _ in range(1000):
        log.error("x" * 1000)
    os.set_blocking(pipe[0], False)
    written = b""
    while True:
        try:
            written += os.read(pipe[0], 1 << 20)
        except BlockingIOError:
            break
    lost = 1000 - written.count(b"\n")
    assert lost > 0
    log.error("again")
    assert os.read(pipe[0], 10_000).endswith(
        f"again ({lost} lines before this one were lost: nobody read them)\n".encode()
    )
    log.error("and again")
    assert os.read(pipe[0], 10_000).endswith(b"and again\n")


def test_a_long_line_keeps_its_beginning_and_its_end(pipe: tuple[int, int]) -> None:
    logger(pipe[1]).error("begin %s end", "x" * 100_000)
    said = os.read(pipe[0], 1_000_000)
    assert len(said) == MOST_BYTES
    assert b"begin x" in said
    assert said.endswith(b"x end\n")


def test_a_reader_that_has_gone_harms_nobody() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    log = logger(writing)
    log.error("nobody reads")
    os.close(writing)
    log.error("nor writes")
