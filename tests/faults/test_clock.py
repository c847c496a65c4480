"""Fault 35: the wall clock jumps by an hour. Timeouts, durations and rates are of a clock that never jumps.

libfaketime stands between the program and the C library's clocks: one file says how far CLOCK_REALTIME is off, for
control and its workers alike, and CLOCK_MONOTONIC stays as it is, as it does when an operator or NTP sets a clock.
"""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from tests.kit.ask import status, until

from .logged import Logged, logged, records

CLOCK = "clock jumps +-1 h"
HOUR_S = 3600
TIMEOUT_S = 0.8


@pytest.fixture
def row(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The test's line of the table."""
    return next(value for name, value in request.node.user_properties if name == "fault")


class Clock:
    """The wall clock of one program. Mutable state: the file that says how far it is off."""

    def __init__(self, folder: Path) -> None:
        libraries = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
        assert libraries, "libfaketime is not installed: apt-get install faketime"
        self._file = folder / "clock"
        self.jump(0)
        self.environment = {
            "LD_PRELOAD": str(libraries[0]),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def jump(self, to_s: int) -> None:
        """So far from the real time."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{to_s:+d}")
        new.rename(self._file)


@contextmanager
def clocked(folder: Path) -> Iterator[tuple[Logged, Clock]]:
    """A program under a clock that can be set."""
    clock = Clock(folder)
    with logged(folder, "access.log", environment=clock.environment, timeout=f"{TIMEOUT_S * 1000:.0f}ms") as site:
        yield site, clock


def held(site: Logged) -> tuple[int, float]:
    """A request that B does not answer until told: its status, and how long it took."""
    connection = http.client.HTTPConnection(*site.program.address("ingress"), timeout=20)
    begun = monotonic()
    connection.request("GET", "/hold")
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status, monotonic() - begun


def off_s(site: Logged) -> float:
    """How far the program's wall clock is off, as its log and its API tell; both must say the same."""
    line = records((site.folder / "access.log").read_bytes())[-1]
    real = datetime.now(UTC)
    told = [datetime.fromisoformat(each) for each in (line["time"], status(site.program)["generated"])]
    assert abs((told[0] - told[1]).total_seconds()) < 30
    return (told[0] - real).total_seconds()


@pytest.mark.fault(35, CLOCK)
@pytest.mark.parametrize("by_s", [HOUR_S, -HOUR_S], ids=["ahead", "back"])
def test_an_exchange_in_flight_notices_nothing(tmp_path: Path, row: dict[str, Any], by_s: int) -> None:
    with clocked(tmp_path) as (site, clock):
        idle = http.client.HTTPConnection(*site.program.address("ingress"), timeout=20)
        idle.request("GET", "/")
        idle.getresponse().read()
        found: list[tuple[int, float]] = []
        asking = threading.Thread(target=lambda: found.append(held(site)))
        asking.start()
        site.backend.wait_held()
        clock.jump(by_s)
        site.backend.release.set()
        asking.join()
        assert found[0][0] == 200
        idle.request("GET", "/after")  # a connection that was idle for an hour by the wall clock
        assert idle.getresponse().read() == b"done\n"
        idle.close()
        until(lambda: len(records((tmp_path / "access.log").read_bytes())) == 3)
        assert abs(off_s(site) - by_s) < 30, "the clock did jump"
        lines = records((tmp_path / "access.log").read_bytes())
        assert all(0 < line["first_byte_ms"] <= line["total_ms"] < 5000 for line in lines)
        begun = monotonic()
        site.ask()
        row["recover_ms"], row["lost"] = round((monotonic() - begun) * 1000, 1), "nothing"


@pytest.mark.fault(35, CLOCK)
@pytest.mark.parametrize("by_s", [HOUR_S, -HOUR_S], ids=["ahead", "back"])
def test_timeouts_rates_and_the_end_are_of_another_clock(tmp_path: Path, row: dict[str, Any], by_s: int) -> None:
    with clocked(tmp_path) as (site, clock):
        site.ask(50)
        found: list[tuple[int, float]] = []
        asking = threading.Thread(target=lambda: found.append(held(site)))
        asking.start()
        site.backend.wait_held()
        clock.jump(by_s)
        asking.join()
        told, took_s = found[0]
        assert told == 504
        assert TIMEOUT_S * 0.9 < took_s < TIMEOUT_S + 1
        until(lambda: sum(each["requests"] for each in status(site.program)["calls"]) == 51)
        now = status(site.program)
        assert 0 < now["uptime_s"] < 60
        for each in now["processes"]:
            assert 0 <= each["uptime_s"] < 60
            assert each["lag_ms"] < 5000
        assert (now["worker_restarts"], now["warnings"]) == (0, [])
        (call,) = now["calls"]
        assert 0 < call["total_ms"]["p99"] < 5000
        assert call["rate_per_s"] is None or 0 < call["rate_per_s"] <= 51
        site.ask()
        site.ends()
        assert json.loads((tmp_path / "access.log").read_bytes().splitlines()[-1])["status"] == 200
        row["lost"] = "nothing"
