"""Fault 24: the OTLP backend is down, hangs, is slow, asks for patience, refuses or talks nonsense. Requests notice
nothing, every loss is counted, the end has a deadline of its own, and what was bounded by none of it arrives later."""

from __future__ import annotations

import http.client
import re
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from time import monotonic
from typing import Any, TypeAlias

import grpc
import pytest

from tests.kit.ask import get, status, until
from tests.kit.collector import PROTOBUF, Answer, Collector, grpc_collector, http_collector
from tests.kit.held import held_backend
from tests.kit.program import Program, running

OTLP = "OTLP down, hung, slow, 429, garbage"
CONFIG = """
listeners: {{ingress: {{bind: 127.0.0.1:0}}}}
admin: {{bind: 127.0.0.1:0}}
drain: {{grace: 1s}}
backends: {{stable: {{endpoints: ["{url}"], keep_alive: 60s}}}}
routes: [{{name: all, match: {{path_prefix: /}}, backend: stable}}]
telemetry:
  otlp: {{endpoint: "{otlp}", protocol: {protocol}, timeout: {timeout}}}
  traces: {{sample: 1}}
  metrics: {{interval: 1s}}
"""
AT_ONCE_S = 1.0
"""No request may take longer, on a busy machine too; how long they take at all is a test of its own."""
ENDS_WITHIN_S = 6.0
"""The grace period, two seconds for telemetry, and a busy machine."""
REQUESTS = 100
SPANS = 2 * REQUESTS
BAD = {
    "hung": Answer(hold=True),
    "429": Answer(429, {"retry-after": "1"}),
    "garbage": Answer(raw=b"\x00\xff no HTTP at all\r\n\r\n"),
}


Responds: TypeAlias = Callable[[grpc.ServicerContext], Any]


@dataclass
class Exporting:
    """The program, all of whose exchanges are traced."""

    program: Program

    def ask(self, count: int = REQUESTS) -> float:
        """So many requests, all answered well and at once; the slowest one's seconds."""
        slowest_s = max(self.times_s(count))
        assert slowest_s < AT_ONCE_S
        return slowest_s

    def times_s(self, count: int) -> list[float]:
        """Of so many requests on one connection, all answered well."""
        connection = http.client.HTTPConnection(*self.program.address("ingress"), timeout=20)
        found = []
        for _ in range(count):
            begun = monotonic()
            connection.request("GET", "/")
            answer = connection.getresponse()
            assert (answer.status, answer.read()) == (200, b"done\n")
            found.append(monotonic() - begun)
        connection.close()
        return found

    def lost(self, kind: str) -> int:
        """As status tells it, and metrics too."""
        count: int = status(self.program)["lost"][kind]
        page = get(self.program.url("admin") + "/metrics")[1]
        told = re.search(rf'^understudy_telemetry_dropped_total{{kind="{kind}"}} (\d+)$', page, re.MULTILINE)
        assert told is not None
        assert int(told[1]) >= count
        return count

    def warned(self, signal: str = "traces") -> bool:
        """Whether `understudy status` warns of its export."""
        return any(each.startswith(f"OTLP export of {signal} to ") for each in status(self.program)["warnings"])

    def said(self, text: str) -> int:
        """How many lines of the log have it."""
        return sum(text in line for line in self.program.lines)


@contextmanager
def exporting(folder: Path, otlp: str, protocol: str = "http/protobuf", timeout: str = "300ms") -> Iterator[Exporting]:
    """It must end well, and its log be free of tracebacks and of what libraries say."""
    with held_backend() as backend:
        text = CONFIG.format(url=backend.url, otlp=otlp, protocol=protocol, timeout=timeout)
        with running(text, folder) as program:
            yield Exporting(program)
        assert "Traceback" not in program.stderr
        foreign = [line for line in program.lines if " control[" not in line and " worker-" not in line]
        assert [line.split()[0] for line in foreign] == ["understudy"], foreign


@pytest.fixture
def row(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The test's line of the table."""
    return next(value for name, value in request.node.user_properties if name == "fault")


def recovers(site: Exporting, collector: Collector, row: dict[str, Any], slowest_s: float) -> None:
    """Measure until all that was traced has arrived, and nothing was lost but metrics, which were overtaken."""
    begun = monotonic()
    until(lambda: len(collector.span_ids()) == SPANS and not site.warned() and not site.warned("metrics"), 20)
    row["recover_ms"] = round((monotonic() - begun) * 1000, 1)
    row["lost"] = "metrics of the meantime, counted"
    row["measured"] = {"slowest request, ms": round(slowest_s * 1000, 1)}
    assert site.lost("spans") == 0
    assert site.lost("metrics") > 0


@pytest.mark.fault(24, OTLP)
def test_a_backend_that_answers_badly_for_a_while_has_everything_in_the_end(
    tmp_path: Path, row: dict[str, Any]
) -> None:
    with http_collector() as collector, exporting(tmp_path, collector.url) as site:
        for answer in BAD.values():
            collector.turns(lambda _, answer=answer: answer)
            slowest_s = site.ask()
            until(lambda: site.warned() and site.warned("metrics"))
            collector.turns(lambda _: Answer())
            recovers(site, collector, row, slowest_s)
        for signal in ("traces", "metrics"):
            assert 1 <= site.said(f"OTLP export of {signal} to {collector.url}/v1/{signal} fails: ") <= len(BAD)


def hang(collector: Collector) -> None:
    collector.release.wait(30)


@pytest.mark.timeout(150)
@pytest.mark.fault(24, OTLP)
def test_a_backend_over_grpc_that_fails_for_a_while_has_everything_in_the_end(
    tmp_path: Path, row: dict[str, Any]
) -> None:
    """Down, hung, out of room, away; and bytes that are no answer, which may mean that it has taken them: not again."""

    def refuses(code: grpc.StatusCode) -> Responds:
        return lambda context: context.abort(code, "later")

    turn: list[Responds] = [lambda _: None]
    with ExitStack() as stack:
        bound = stack.enter_context(socket.socket())
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        site = stack.enter_context(exporting(tmp_path, f"http://127.0.0.1:{port}", "grpc", "1s"))
        slowest_s = site.ask()
        until(lambda: site.warned() and site.warned("metrics"), 20)
        collector = stack.enter_context(grpc_collector(lambda _, context: turn[0](context), port=port))
        recovers(site, collector, row, slowest_s)
        for bad in (
            lambda _: hang(collector), refuses(grpc.StatusCode.RESOURCE_EXHAUSTED),
            refuses(grpc.StatusCode.UNAVAILABLE),
        ):  # fmt: skip
            turn[0] = bad
            collector.turns(lambda _: Answer())
            slowest_s = site.ask()
            until(lambda: site.warned() and site.warned("metrics"), 20)
            turn[0] = lambda _: None
            collector.turns(lambda _: Answer())
            recovers(site, collector, row, slowest_s)
        turn[0] = lambda _: b"\xff no message at all"
        site.ask()
        until(lambda: site.lost("spans") == SPANS, 20)
        assert site.warned()


@pytest.mark.timeout(150)
@pytest.mark.fault(24, OTLP)
@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_requests_take_as_long_beside_a_backend_that_hangs_as_beside_a_good_one(
    protocol: str, tmp_path: Path, row: dict[str, Any]
) -> None:
    """By turns, so that a busy machine is as busy for both."""
    hangs = [False]
    with ExitStack() as stack:
        if protocol == "grpc":
            collector = stack.enter_context(grpc_collector(lambda *_: hang(collector) if hangs[0] else None))
        else:
            collector = stack.enter_context(http_collector())
        site = stack.enter_context(exporting(tmp_path, collector.url, protocol, "1s"))
        site.ask()
        until(lambda: bool(collector.spans), 20)
        good: list[float] = []
        beside: list[float] = []
        for _ in range(4):
            for hangs[0], found in ((False, good), (True, beside)):
                collector.turns(lambda _: Answer(hold=hangs[0]))
                until(lambda: site.warned() is hangs[0], 20)
                found.extend(site.times_s(REQUESTS))
        row["measured"] = {"median beside hung over good": round(median(beside) / median(good), 2)}
        row["lost"] = "metrics of the meantime, counted"
        assert median(beside) < 2 * median(good) + 0.005
        assert quantiles(beside, n=50)[-1] < 2 * quantiles(good, n=50)[-1] + 0.05
        hangs[0] = False


@pytest.mark.fault(24, OTLP)
def test_a_backend_that_is_down_for_a_while_has_everything_in_the_end(tmp_path: Path, row: dict[str, Any]) -> None:
    with ExitStack() as stack:
        bound = stack.enter_context(socket.socket())
        bound.bind(("127.0.0.1", 0))
        site = stack.enter_context(exporting(tmp_path, f"http://127.0.0.1:{bound.getsockname()[1]}"))
        slowest_s = site.ask()
        until(lambda: site.warned() and site.warned("metrics"))
        assert site.said("fails: connection refused") == 2
        collector = stack.enter_context(http_collector(bound=bound))
        recovers(site, collector, row, slowest_s)
        site.program.stop(ENDS_WITHIN_S)


@pytest.mark.fault(24, OTLP)
def test_a_slow_backend_has_everything_and_what_one_will_never_take_is_lost_at_once(
    tmp_path: Path, row: dict[str, Any]
) -> None:
    """The slow one answers well within its timeout, on a busy machine too."""

    def slow(_: object) -> Answer:
        collector.release.wait(0.15)
        return Answer()

    with http_collector() as collector, exporting(tmp_path, collector.url, timeout="5s") as site:
        collector.turns(slow)
        slowest_s = site.ask()
        until(lambda: len(collector.span_ids()) == SPANS)
        assert (site.lost("spans"), site.lost("metrics")) == (0, 0)
        assert status(site.program)["warnings"] == []
        for number, answer in enumerate((Answer(400), Answer(302, {"location": "/login"})), 1):
            collector.turns(lambda _, answer=answer: answer)
            site.ask()
            until(lambda: site.lost("spans") == number * SPANS and site.lost("metrics") > 0)  # noqa: B023 - at once
            assert site.warned()
        row["lost"] = "what was refused, counted"
        row["measured"] = {"slowest request, ms": round(slowest_s * 1000, 1)}


@pytest.mark.fault(24, OTLP)
@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_the_end_does_not_wait_for_a_backend_that_hangs(protocol: str, tmp_path: Path, row: dict[str, Any]) -> None:
    """The SDK's own end may take 30 s. All that the backend never said a word about is lost, and counted."""
    with ExitStack() as stack:
        if protocol == "grpc":
            collector = stack.enter_context(grpc_collector(lambda seen, context: hang(collector)))
        else:
            collector = stack.enter_context(http_collector())
            collector.answer = lambda _: Answer(hold=True)
        site = stack.enter_context(exporting(tmp_path, collector.url, protocol))
        site.ask()
        until(site.warned)
        begun = monotonic()
        assert site.program.stop(ENDS_WITHIN_S) == 0
        row["measured"] = {"end, s": round(monotonic() - begun, 1)}
        row["lost"] = "what was never taken, counted"
        (line,) = (each for each in site.program.lines if "OTLP export ends: " in each)
        assert f" {SPANS} spans and " in line
        assert line.endswith(" metrics were not taken in time")


@pytest.mark.fault(24, OTLP)
def test_a_reload_leaves_a_backend_that_hangs_behind(tmp_path: Path, row: dict[str, Any]) -> None:
    with http_collector() as hung, http_collector() as good, exporting(tmp_path, hung.url) as site:
        hung.answer = lambda _: Answer(hold=True, headers=PROTOBUF)
        site.ask()
        until(site.warned)
        file = tmp_path / "understudy.yaml"
        file.write_text(file.read_text().replace(hung.url, good.url))
        site.program.signal(signal.SIGHUP)
        until(lambda: status(site.program)["config"]["version"] == 2)
        assert not site.warned()
        site.ask()
        until(lambda: len(good.span_ids()) >= SPANS)  # with what was still on its way to control
        hung.answer = lambda _: Answer()
        hung.release.set()
        until(lambda: len({*hung.span_ids(), *good.span_ids()}) == 2 * SPANS)
        until(lambda: site.lost("spans") == 0)
        row["lost"] = "nothing"
