"""A real Prometheus scrapes the whole program under load: its quantiles are the load's own, its alerts fire."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import threading
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from math import isnan
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import pytest
from understudy.proxy.telemetry.family import BOUNDS_S

from tests.docs.pages import questions
from tests.kit.ask import status, until, worker_pids
from tests.kit.dashboard import RULES, expressions, filled, panels, rules
from tests.kit.delayed import delayed
from tests.kit.program import Program, running
from tests.kit.prometheus import Prometheus, prometheus
from tests.kit.talking import talking

CONFIG = """\
listeners: {ingress: {bind: 127.0.0.1:0}}
admin: {bind: 127.0.0.1:0}
backends:
  stable: {endpoints: [LIVE], version: "7"}
  canary: {endpoints: [LIVE], version: "8"}
  next: {endpoints: [SHADOW], version: "9"}
  gone: {endpoints: [GONE], version: "1"}
  lost: {endpoints: [GONE], version: "3"}
  chat: {endpoints: [TALKS], version: "4"}
  slow-chat: {endpoints: [TALKS], version: "5"}
  half: {endpoints: [GONE, LIVE], version: "2", balance: round_robin}
  patient: {endpoints: [LONG], version: "6"}
  well: {endpoints: [LONG], version: "1"}
routes:
  - {name: broken, match: {path_prefix: /broken}, backend: gone, filters: [{type: mirror, to: [{backend: lost}]}]}
  - {name: half, match: {path_prefix: /half}, backend: half}
  - {name: chat, match: {path_prefix: /chat}, backend: chat, filters: [{type: mirror, to: [{backend: slow-chat}]}]}
  - {name: left, match: {path_prefix: /left}, backend: patient, filters: [{type: mirror, to: [{backend: well}]}]}
  - name: iris
    match: {path_prefix: /}
    backend: stable
    filters:
      - {type: split, experiment: iris-8, key: {header: x-user-id}, arms: {stable: 90, canary: 10}}
      - {type: mirror, to: [{backend: next, max_body: 1KiB, first_byte_timeout: 150ms}]}
"""
LIVE_S = (0.003, 0.003, 0.003, 0.003, 0.03, 0.03, 0.03, 0.03, 0.03, 0.15)
SHADOW_S = 0.06
CLIENTS = 6
MINUTE_MS = 400  # workers report every second: no rate is asked over less than two
PROVOKED = (2, 30)  # requests of the route iris before the load: too large for a copy, and not


@contextmanager
def dead_end() -> Iterator[str]:
    """A URL where nobody listens, and nobody else will while the block lasts."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


def hastened(folder: Path) -> Path:
    """The shipped rules with every minute made shorter: what is tested is that they are true of a running program."""
    path = folder / "rules.yaml"
    minutes = re.compile(r"\b(\d+)m\b")  # noqa: TID251 - over our own file
    path.write_text(minutes.sub(lambda found: f"{int(found[1]) * MINUTE_MS}ms", RULES.read_text()))
    return path


class Site(NamedTuple):
    program: Program
    scraped: Prometheus
    folder: Path


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The program, scraped: for all tests, since Prometheus looks at nobody in its first five seconds."""
    folder = tmp_path_factory.mktemp("site")
    with ExitStack() as stack:
        live = stack.enter_context(delayed(lambda number: LIVE_S[number % len(LIVE_S)]))
        shadow = stack.enter_context(delayed(lambda number: 0.3 if number == 0 else SHADOW_S))
        text = CONFIG.replace("LIVE", live).replace("SHADOW", shadow).replace("GONE", stack.enter_context(dead_end()))
        text = text.replace("LONG", stack.enter_context(delayed(lambda _: 2.0)))
        text = text.replace("TALKS", stack.enter_context(talking(0.02, 0.005, words=3)))
        program = stack.enter_context(running(text, folder))
        yield Site(program, stack.enter_context(prometheus(folder, program.url("admin"), hastened(folder))), folder)


def asked(program: Program, path: str, count: int, size: int = 100) -> list[float]:
    """So many requests over one connection, of one user: how long each took, in seconds."""
    took = []
    with closing(http.client.HTTPConnection(*program.address("ingress"), timeout=20)) as connection:
        for number in range(count):
            started = perf_counter()
            connection.request("POST", path, body=b"x" * size, headers={"x-user-id": f"u{number}"})
            connection.getresponse().read()
            took.append(perf_counter() - started)
    return took


def load(program: Program, count: int) -> list[float]:
    """So many from each of several clients at once; all durations, rising."""
    took: list[float] = []
    clients = [threading.Thread(target=lambda: took.extend(asked(program, "/v2", count))) for _ in range(CLIENTS)]
    for each in clients:
        each.start()
    for each in clients:
        each.join()
    return sorted(took)


def bucket(seconds: float | None) -> int:
    assert seconds is not None
    return bisect_left(BOUNDS_S, seconds)


def provoke(program: Program) -> None:
    """All that the dashboard has a panel for and that does not come by itself."""
    asked(program, "/broken", 2)
    asked(program, "/half", 4)
    asked(program, "/chat", 4)
    asked(program, "/v2", PROVOKED[0], size=5000)
    asked(program, "/v2", PROVOKED[1])


def hang_up(program: Program, path: str) -> None:
    """Ask, and leave before an answer can be there."""
    with closing(http.client.HTTPConnection(*program.address("ingress"), timeout=20)) as connection:
        connection.request("POST", path, body=b"{}")


def numbers(scraped: Prometheus, expression: str) -> list[float]:
    """What Prometheus answers, without what is not a number."""
    return [value for value in scraped.query(expression).values() if not isnan(value)]


@pytest.mark.timeout(90)
def test_quantiles_are_those_of_the_load_and_no_panel_is_empty(site: Site) -> None:
    program, scraped, _ = site
    provoke(program)
    until(lambda: bool(scraped.query('understudy_mirror_copies_total{outcome="censored"} > 0')))
    counted = 'sum(http_server_request_duration_seconds_count{route="iris"})'
    until(lambda: scraped.value(counted) == sum(PROVOKED))
    took = load(program, 60)
    until(lambda: scraped.value(counted) == sum(PROVOKED) + len(took))
    until(lambda: max(scraped.query("understudy_pair_compared").values(), default=0) > 200)
    for share in (0.5, 0.8, 0.99):
        own_s = took[int(share * len(took))]
        for metric in ("http_server_request_duration_seconds", "http_client_request_duration_seconds"):
            selected = f'sum by (le) (rate({metric}_bucket{{route="iris"}}[1m]))'
            found_s = scraped.value(f"histogram_quantile({share}, {selected})")
            assert abs(bucket(found_s) - bucket(own_s)) <= 1, (metric, share, own_s, found_s)
    shadow_s = scraped.value(
        "histogram_quantile(0.5, sum by (le) (rate(understudy_shadow_request_duration_seconds_bucket[1m])))"
    )
    assert abs(bucket(shadow_s) - bucket(SHADOW_S)) <= 1
    shown = next(each for each in status(program)["calls"] if each["backend"] == "stable")["total_ms"]
    gauge = 'understudy_latency_quantile_seconds{backend="stable",role="live",measure="total",quantile="0.5"}'
    assert scraped.value(gauge) == pytest.approx(shown["p50"] / 1000)
    empty = [
        f"{panel['title']}: {each}"
        for panel in panels()
        for each in expressions(panel)
        if not scraped.query(filled(each))
    ]
    empty += [f"docs/metrics.md: {each}" for each in questions() if not numbers(scraped, each)]
    assert not empty, "\n".join(empty)


def test_heatmaps_are_shares_of_all_calls(site: Site) -> None:
    program, scraped, _ = site
    load(program, 5)
    for panel in panels():
        if panel["type"] == "heatmap":
            (expression,) = map(filled, expressions(panel))
            until(lambda asked=expression: scraped.query(asked).get((("le", "+Inf"),)) == pytest.approx(1))
            assert all(0 <= share <= 1 for share in scraped.query(expression).values())


@pytest.mark.timeout(90)
def test_copies_that_end_with_their_clients_are_no_errors_of_the_shadow(site: Site) -> None:
    program, scraped, _ = site
    ratio = 'understudy:errors:ratio_rate5m{route="left",role="shadow"}'

    def found() -> float | None:
        hang_up(program, "/left")
        return scraped.value(f"{ratio} >= 0")  # not a number before any is counted

    until(lambda: found() is not None)
    assert scraped.value(ratio) == 0
    assert scraped.query('understudy_shadow_requests_total{route="left"}').keys() == {
        (("__name__", "understudy_shadow_requests_total"), ("backend", "well"), ("route", "left"), ("status", "0"),
         ("version", "1")),
    }  # fmt: skip
    assert (scraped.value('understudy_shadow_failures_total{route="left",reason="client_gone"}') or 0) > 1


@pytest.mark.timeout(90)
def test_alerts_fire_on_what_they_are_for(site: Site) -> None:
    program, scraped, folder = site
    load(program, 20)
    recorded = {rule["record"] for rule in rules() if "record" in rule} - {"understudy:mirror_dropped:ratio_rate5m"}
    until(lambda: all(scraped.query(name) for name in recorded))
    until(lambda: not scraped.query('ALERTS{severity="page"}'))
    ended = threading.Event()

    def fails() -> None:
        while not ended.is_set():
            with suppress(OSError, http.client.HTTPException):  # a worker is killed meanwhile
                asked(program, "/broken", 5)

    client = threading.Thread(target=fails)
    client.start()
    try:
        (folder / "understudy.yaml").write_text("listeners: {}")
        program.signal(signal.SIGHUP)
        os.kill(worker_pids(program)[0], signal.SIGKILL)
        wanted = {
            "UnderstudyErrors", "UnderstudyEndpointDown", "UnderstudyConfigRejected", "UnderstudyWorkerDied",
            "UnderstudyShadowOut", "UnderstudyCopiesDropped",
        }  # fmt: skip

        def missing() -> set[str]:
            nonlocal wanted
            wanted -= scraped.firing()
            return wanted

        until(lambda: not missing(), within_s=30)
        paged = 'ALERTS{severity="page",alertstate="firing"}'  # which a worker's death may interrupt
        until(lambda: {dict(each)["route"] for each in scraped.query(paged)} == {"broken"})
    finally:
        ended.set()
        client.join()
