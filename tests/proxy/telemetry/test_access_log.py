"""The access log as control keeps it: which exchanges it is made of, and what a reload, a signal and the end do."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from understudy.config.schema import AccessLogPart, TelemetryPart
from understudy.proxy.telemetry.access_log import AccessLog
from understudy.proxy.telemetry.line_writer import MOST_LINES
from understudy.proxy.telemetry.losses import Losses

from tests.kit.ask import until
from tests.kit.lines import line


def telemetry(**options: Any) -> TelemetryPart:
    return TelemetryPart(access_log=AccessLogPart(**options))


@pytest.fixture
def losses() -> Losses:
    return Losses()


@pytest.fixture
def log(losses: Losses) -> Iterator[AccessLog]:
    log = AccessLog(losses)
    yield log
    asyncio.run(log.close())


def ids(file: Path) -> list[str]:
    return [json.loads(line)["request_id"] for line in file.read_bytes().splitlines()]


def test_it_is_off_unless_it_is_configured(log: AccessLog, losses: Losses) -> None:
    for each in (None, TelemetryPart(), TelemetryPart(access_log="off")):
        log.configure(each, "/")
        log.take([line()])
    assert (losses.counts(), log.problem) == ({"logs": 0}, "")


def test_lines_are_written_in_the_order_in_which_they_come(log: AccessLog, tmp_path: Path) -> None:
    log.configure(telemetry(to="log"), str(tmp_path))
    log.take([line(request_id="a"), line(request_id="b")])
    log.take([])
    log.take([line(request_id="c")])
    asyncio.run(log.close())
    assert ids(tmp_path / "log") == ["a", "b", "c"]


def test_a_reload_exchanges_form_and_destination_and_loses_nothing(
    log: AccessLog, losses: Losses, tmp_path: Path
) -> None:
    def file(name: str) -> str:
        return (tmp_path / name).read_text()

    log.configure(telemetry(to="log"), str(tmp_path))
    log.take([line(request_id="a")])
    log.configure(telemetry(to="log", format="{request_id}"), str(tmp_path))
    log.take([line(request_id="b")])
    log.configure(telemetry(to="other", format="{request_id}"), str(tmp_path))
    log.take([line(request_id="c")])
    log.configure(TelemetryPart(), str(tmp_path))
    log.take([line(request_id="d")])
    asyncio.run(log.close())
    assert '"request_id":"a"' in file("log").splitlines()[0]
    assert (file("log").splitlines()[1:], file("other"), losses.counts()) == (["b"], "c\n", {"logs": 0})


def test_writers_that_have_ended_are_let_go(log: AccessLog, tmp_path: Path) -> None:
    for name in ("a", "b", "a", "b"):
        log.configure(telemetry(to=name), str(tmp_path))
        until(lambda: all(each.ended for each in log._former))
    assert len(log._former) <= 1


def test_a_signal_opens_it_anew(log: AccessLog, tmp_path: Path) -> None:
    log.reopen()
    log.configure(telemetry(to="log"), str(tmp_path))
    log.take([line(request_id="a")])
    until(lambda: (tmp_path / "log").exists() and ids(tmp_path / "log") == ["a"])
    (tmp_path / "log").rename(tmp_path / "log.1")
    log.reopen()
    until((tmp_path / "log").exists)
    log.take([line(request_id="b")])
    asyncio.run(log.close())
    assert (ids(tmp_path / "log.1"), ids(tmp_path / "log")) == (["a"], ["b"])


def test_a_fifo_that_nobody_reads_holds_neither_records_nor_the_end(
    log: AccessLog, losses: Losses, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "log")
    reader = os.open(tmp_path / "log", os.O_RDONLY | os.O_NONBLOCK)
    log.configure(telemetry(to="log", format="{request_id}" + "." * 50), str(tmp_path))
    batch = [line()] * 100
    slowest_s = 0.0
    for _ in range(2 * MOST_LINES // len(batch)):
        began_s = monotonic()
        log.take(batch)
        slowest_s = max(slowest_s, monotonic() - began_s)
    assert slowest_s < 0.5
    assert losses.counts()["logs"] >= MOST_LINES // 2
    until(lambda: log.problem == "nobody reads it")
    began_s = monotonic()
    asyncio.run(log.close(0.2))
    assert monotonic() - began_s < 1
    read = os.read(reader, 1 << 20)
    os.close(reader)
    assert read.count(b"\n") + losses.counts()["logs"] == 2 * MOST_LINES


def test_a_fifo_without_a_reader_is_told(log: AccessLog, losses: Losses, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "log")
    log.configure(telemetry(to="log"), str(tmp_path))
    log.take([line()])
    until(lambda: losses.counts()["logs"] == 1)
    assert log.problem == "nobody reads it"
