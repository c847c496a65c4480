"""Known delays, injected on the far side of the whole program, and what `/compare` finds: four shadows at once.

The servers measure how long they held each request, and the truth is the ratio of that: a machine that is busy delays
timers too.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from math import exp, log
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from tests.kit.ask import until
from tests.kit.program import Program, running
from tests.kit.rehearsing import compared
from tests.kit.timed import Timed, timed

DELAYS = {"same": 1.0, "five": 1.05, "twenty": 1.2, "double": 2.0}
COSTS_MS = (60, 240)  # in turn
FIRST_BYTE = "170ms"  # twice the cheap cost is well below it, and twice the dear one beyond all that a timeout is late
CLIENTS = 4  # the breaker opens after five cuts in a row, and between two of a client stands its cheap copy
REQUESTS = 320
Found = dict[str, tuple[dict[str, Any], float]]
"""By shadow, what was found of it and the truth."""
CONFIG = """\
listeners: {{ingress: {{bind: 127.0.0.1:0}}}}
admin: {{bind: 127.0.0.1:0}}
workers: 1
backends: {backends}
routes:
  - name: iris
    match: {{path_prefix: /}}
    backend: stable
    filters: [{{type: mirror, to: {shadows}}}]
"""
pytestmark = pytest.mark.timeout(120)  # 12 s where nothing else runs


def config(live: Timed, shadows: dict[str, Timed]) -> str:
    """The double one alone has a timeout that cuts."""
    backends = {name: {"endpoints": [each.url]} for name, each in {"stable": live, **shadows}.items()}
    entries = [{"backend": name, "first_byte_timeout": FIRST_BYTE if name == "double" else "20s"} for name in shadows]
    return CONFIG.format(backends=json.dumps(backends), shadows=json.dumps(entries))


def load(program: Program) -> None:
    """Cheap and dear requests in turn; every other client begins with a dear one."""

    def one_client(number: int) -> None:
        connection = http.client.HTTPConnection(*program.address("ingress"), timeout=20)
        for at in range(REQUESTS // CLIENTS):
            connection.request("POST", "/", body=b"%d" % COSTS_MS[(number + at) % 2])
            assert connection.getresponse().read() == b"done\n"
        connection.close()

    with ThreadPoolExecutor(CLIENTS) as threads:
        list(threads.map(one_client, range(CLIENTS)))


def truth(live: Timed, shadow: Timed) -> float:
    """The geometric mean of how much longer the shadow held each request."""
    return exp(fmean(log(held_s / live.held_s[name]) for name, held_s in shadow.held_s.items()))


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Found]:
    """One run for all tests."""
    with timed(1.0, *DELAYS.values()) as (live, *servers):
        shadows = dict(zip(DELAYS, servers, strict=True))
        with running(config(live, shadows), Path(tmp_path_factory.mktemp("recovered"))) as program:
            load(program)

            def pairs() -> dict[str, Any]:
                return {each["shadow"]["backend"]: each for each in compared(program)["pairs"]}

            def all_told() -> bool:
                return sum(each["counts"]["selected"] for each in pairs().values()) == len(DELAYS) * REQUESTS

            until(all_told, 20)
            yield {name: (each, truth(live, shadows[name])) for name, each in pairs().items()}


@pytest.mark.parametrize(
    ("name", "verdicts"),
    [("same", ["same", "undecided"]), ("five", ["same", "undecided", "slower"]), ("twenty", ["slower"])],
)
def test_a_delay_that_cuts_nothing_is_recovered(found: Found, name: str, verdicts: list[str]) -> None:
    pair, really = found[name]
    ratio = pair["latency_ms"]["total"]["ratio"]
    print(f"{name}: really {really:.4f}, found {ratio['estimate']:.4f} [{ratio['low']:.4f}, {ratio['high']:.4f}]")
    assert pair["counts"]["compared"] == REQUESTS
    assert ratio["estimate"] == pytest.approx(really, rel=0.025)
    assert ratio["low"] <= really <= ratio["high"]
    assert ratio["high"] < ratio["low"] * 1.1
    assert pair["verdict"]["state"] in verdicts


def test_one_that_has_half_of_its_copies_cut_is_slower_and_the_truth_is_within(found: Found) -> None:
    pair, really = found["double"]
    counts, ratio = pair["counts"], pair["latency_ms"]["total"]["ratio"]
    print(f"double: really {really:.4f}, found {ratio['low']} to {ratio['high']}, {counts}")
    assert 0.4 < counts["censored"] / counts["sent"] < 0.7
    assert set(counts["dropped"]) <= {"breaker_open"}, "where a cheap one was late on a busy machine"
    assert ratio["estimate_is_lower_bound"]
    assert ratio["low"] <= really <= ratio["high"]
    assert pair["verdict"]["state"] == "slower"
