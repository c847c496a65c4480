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
from tests.kit.collector import Answer, Collector, Seen, http_collector
from tests.kit.held import HeldBackend, held_backend
from tests.kit.program import Program, running

from .logged import Logged, logged, records

CLOCK = "clock jumps +-1 h"
HOUR_S = 3600
TIMEOUT_S = 0.8
WITHIN_S = 30.0
"""For control, which is nice, to import the SDK and tell, on a busy machine too."""
TOLD = """
listeners: {{ingress: {{bind: 127.0.0.1:0}}}}
admin: {{bind: 127.0.0.1:0}}
drain: {{grace: 1s}}
backends: {{stable: {{endpoints: ["{live}"]}}, next: {{endpoints: ["{shadow}"]}}}}
routes:
  - {{name: all, match: {{path_prefix: /}}, backend: stable, filters: [{{type: mirror, to: [{{backend: next}}]}}]}}
telemetry:
  otlp: {{endpoint: "{otlp}", timeout: 3s}}
  traces: {{sample: 1}}
  metrics: {{interval: 1s}}
"""


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


@contextmanager
def telling(folder: Path) -> Iterator[tuple[Program, Clock, Collector, HeldBackend]]:
    """Likewise, with every exchange told, and a shadow that may hold its copies."""
    clock = Clock(folder)
    with held_backend() as live, held_backend() as shadow, http_collector() as collector:
        live.release.set()
        text = TOLD.format(live=live.url, shadow=shadow.url, otlp=collector.url)
        with running(text, folder, environment=clock.environment) as program:
            yield program, clock, collector, shadow
        assert "Traceback" not in program.stderr


def asked(program: Program, path: str) -> None:
    connection = http.client.HTTPConnection(*program.address("ingress"), timeout=20)
    connection.request("GET", path)
    assert connection.getresponse().read() == b"done\n"
    connection.close()


def spans(collector: Collector) -> list[Any]:
    """All so far, in the order of their arrival."""
    held = [each.message.resource_spans for each in list(collector.seen) if each.spans]
    return [span for resources in held for each in resources for scope in each.scope_spans for span in scope.spans]


def sums(collector: Collector) -> list[tuple[int, int]]:
    """The start and the time of each point that is a sum, nanoseconds."""
    held = [getattr(each.message, "resource_metrics", ()) for each in list(collector.seen)]
    metrics = [metric for resources in held for each in resources for scope in each.scope_metrics
               for metric in scope.metrics]  # fmt: skip
    return [(point.start_time_unix_nano, point.time_unix_nano) for metric in metrics
            for point in (*metric.sum.data_points, *metric.histogram.data_points)]  # fmt: skip


def away_s(time_ns: int) -> float:
    """How far from the real time."""
    return time_ns / 1e9 - datetime.now(UTC).timestamp()


@pytest.mark.timeout(120)
@pytest.mark.fault(35, CLOCK)
@pytest.mark.parametrize("by_s", [HOUR_S, -HOUR_S], ids=["ahead", "back"])
def test_a_late_copy_lies_beside_its_live_call_and_no_sum_ends_before_it_began(
    tmp_path: Path, row: dict[str, Any], by_s: int
) -> None:
    with telling(tmp_path) as (program, clock, collector, shadow):
        asked(program, "/hold")
        until(lambda: len(spans(collector)) == 2 and sums(collector), WITHIN_S)
        assert all(start < end for start, end in sums(collector))
        clock.jump(by_s)
        shadow.release.set()
        until(lambda: len(spans(collector)) == 3, WITHIN_S)
        live, *_, late = sorted(spans(collector), key=lambda span: span.end_time_unix_nano)
        assert 0 < late.end_time_unix_nano - live.start_time_unix_nano < 30e9
        assert late.trace_id == live.trace_id
        asked(program, "/")
        until(lambda: len(spans(collector)) == 6, WITHIN_S)
        assert all(abs(away_s(span.end_time_unix_nano) - by_s) < 30 for span in spans(collector)[3:])
        collector.turns(lambda _: Answer())
        until(lambda: len({end for _, end in sums(collector)}) >= 2, WITHIN_S)
        found = sums(collector)
        assert all(start < end and abs(away_s(end) - by_s) < 30 for start, end in found)
        assert len({start for start, _ in found}) == 1, "another one would mean that sums began anew"
        row["lost"] = "nothing"


@pytest.mark.timeout(120)
@pytest.mark.fault(35, CLOCK)
@pytest.mark.parametrize("by_s", [HOUR_S, -HOUR_S], ids=["ahead", "back"])
def test_an_export_that_is_under_way_ends_in_time_and_loses_nothing(
    tmp_path: Path, row: dict[str, Any], by_s: int
) -> None:
    """It jumps while the SDK waits for its second attempt, which nobody answers."""
    tried: list[bool] = []

    def answer(seen: Seen) -> Answer:
        tried.append(bool(seen.spans))
        return Answer(hold=True) if seen.spans and tried.count(True) > 1 else Answer(503)

    with telling(tmp_path) as (program, clock, collector, _):
        collector.turns(answer)
        asked(program, "/")
        until(lambda: True in tried, WITHIN_S)
        clock.jump(by_s)
        begun = monotonic()
        until(lambda: any("traces" in each and "no answer in time" in each for each in status(program)["warnings"]), 15)
        row["measured"] = {"given up after, s": round(monotonic() - begun, 1)}
        collector.turns(lambda _: Answer())
        until(lambda: len(spans(collector)) == 3 and not status(program)["warnings"], WITHIN_S)
        assert status(program)["lost"]["spans"] == 0
        row["lost"] = "metrics of the meantime, counted"
