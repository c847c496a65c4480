"""What `understudy status` shows of flags, splits, mirrors and pairs: the exact screens beside this file.

After a deliberate change: `GOLDEN=write pytest tests/golden`, then read the difference.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

import msgspec
import pytest
from understudy.proxy.comparison.merging import merge, read
from understudy.proxy.merged import screen as merged_screen
from understudy.proxy.screen import screen
from understudy.proxy.telemetry.count import CopyTally
from understudy.proxy.telemetry.records import Pair
from understudy.proxy.telemetry.stats import Gauges, PoolGauge

from tests.kit.pairs import cut, dropped, pair, rehearsal, talks
from tests.kit.rehearsed import BEGUN, Rehearsed, rehearsed

SCREENS = Path(__file__).parent / "screens"
CONFIG = """\
listeners: {ingress: {bind: 127.0.0.1:7080}}
admin: {bind: 127.0.0.1:7081}
workers: 2
backends:
  stable: {endpoints: [http://127.0.0.1:9001, http://127.0.0.1:9002], version: "7"}
  canary: {endpoints: [http://127.0.0.1:9003], version: "8"}
  next: {endpoints: [http://127.0.0.1:9004], version: "9"}
routes:
  - name: iris
    match: {path_prefix: /}
    backend: stable
    filters:
      - {type: split, experiment: ranker-v2, key: {header: x-user-id}, arms: {stable: 90, canary: 10}}
      - {type: mirror, to: [{backend: next}]}
"""
A_A = CONFIG.replace(
    "arms: {stable: 90, canary: 10}", "arms: {a: {backend: stable, weight: 1}, b: {backend: stable, weight: 1}}"
).replace("{backend: next}", "{backend: stable, calibration: true}")
CHAT = CONFIG.replace("iris", "chat").replace(
    "      - {type: split, experiment: ranker-v2, key: {header: x-user-id}, arms: {stable: 90, canary: 10}}\n", ""
)


def live(fed: Rehearsed, backend: str, version: str, count: int, ms: float, *, arm: str = "") -> None:
    call = fed.stats.call("iris", backend, version, "live", arm)
    for number in range(count):
        seconds = ms / 1000 * (1 + number % 10 / 5)
        call.record(200, None, seconds * 0.9, seconds, 1024, 128)


def shadowed(fed: Rehearsed, backend: str, version: str, count: int, ms: float) -> CopyTally:
    call = fed.stats.call("iris", backend, version, "shadow")
    for number in range(count):
        seconds = ms / 1000 * (1 + number % 10 / 5)
        call.record(200, None, seconds * 0.9, seconds, 1024, 128)
    copies = fed.stats.copies_of("iris", backend)
    copies.exchanges = copies.selected = copies.sent = copies.complete = count
    copies.selected_by_size[1] = copies.compared_by_size[1] = count
    return copies


def pools(*named: tuple[str, str, str]) -> Gauges:
    return Gauges([PoolGauge(backend, endpoint, role) for backend, endpoint, role in named])  # type: ignore[arg-type]


def a_slower_shadow() -> Iterator[str]:
    """The screen of the contract."""
    with rehearsed(CONFIG) as fed:
        live(fed, "stable", "7", 1810, 12, arm="stable")
        live(fed, "canary", "8", 190, 11, arm="canary")
        live(fed, "canary", "8", 30, 11)  # whom a flag sent there
        copies = shadowed(fed, "next", "9", 1936, 16)
        copies.exchanges = copies.selected = copies.selected_by_size[1] = 2000
        copies.selected_by_size[1], copies.selected_by_size[5], copies.compared_by_size[1] = 1980, 20, 1931
        copies.dropped = {"budget_requests": 44, "body_too_large": 20}
        pairs = chain(
            rehearsal(1, 1750, slower=1.31), [cut(70.0)] * 8, [pair(tainted=True)] * 3, [pair(shadow_status=500)] * 2,
            [dropped("budget_requests")] * 40, [dropped("body_too_large")] * 17,
            rehearsal(2, 180, slower=1.4, live="canary", live_version="8"),
        )  # fmt: skip
        fed.tell(
            pairs,
            pools(("stable", "127.0.0.1:9001", "live"), ("stable", "127.0.0.1:9002", "live"),
                  ("canary", "127.0.0.1:9003", "live"), ("next", "127.0.0.1:9004", "shadow")),
        )  # fmt: skip
        yield screen(fed.status())


def a_shadow_that_talks_slower() -> Iterator[str]:
    """Answers that are streams of events; one copy in a hundred was cut before its first token."""
    with rehearsed(CHAT) as fed:
        for backend, version, role, first_s in (("stable", "7", "live", 0.2), ("next", "9", "shadow", 0.26)):
            call = fed.stats.call("chat", backend, version, role)  # type: ignore[arg-type]
            for number in range(800):
                call.record_stream(first_s * (1 + number % 10 / 5), 0.012)
                call.record(200, None, 0.005, 1.4 + first_s, 1024, 20_000)
        copies = fed.stats.copies_of("chat", "next")
        copies.exchanges = copies.selected = copies.sent = copies.selected_by_size[1] = copies.compared_by_size[1] = 800
        copies.complete, copies.censored = 792, 8
        fed.tell(talks(7, 800, first=1.3, cut_ms=900.0, route="chat"))
        yield screen(fed.status())


def one_backend_against_itself() -> Iterator[str]:
    """A/A: the arms share a backend, and so do live and shadow."""
    with rehearsed(A_A) as fed:
        live(fed, "stable", "7", 1010, 12, arm="a")
        live(fed, "stable", "7", 990, 12, arm="b")
        shadowed(fed, "stable", "7", 2000, 12)
        fed.tell(rehearsal(3, 12_000, shadow="stable", shadow_version="7", calibration=True))
        yield screen(fed.status())


def a_shadow_that_hangs() -> Iterator[str]:
    """Half of its copies are cut, then its breaker opens."""
    with rehearsed(CONFIG) as fed:
        live(fed, "stable", "7", 900, 12)
        copies = shadowed(fed, "next", "9", 400, 24)
        copies.selected, copies.exchanges, copies.selected_by_size[1] = 900, 900, 900
        copies.complete, copies.censored, copies.held_bytes = 200, 200, 3 << 20
        copies.dropped, copies.breaker = {"breaker_open": 500}, "open"
        failed = [pair(shadow_outcome="shadow_error", shadow_status=0)] * 20
        fed.tell(chain(rehearsal(4, 400, slower=2, timeout_ms=24.0), failed, [dropped("breaker_open")] * 500))
        yield screen(fed.status())


def large_bodies_are_cut_on_their_way() -> Iterator[str]:
    """Chunked uploads that turned out to be too large after they were sent: none was dropped, and none compared."""
    with rehearsed(CONFIG) as fed:
        live(fed, "stable", "7", 150, 12)
        copies = shadowed(fed, "next", "9", 150, 16)
        copies.complete, copies.selected_by_size[1], copies.compared_by_size[1] = 100, 100, 100
        copies.selected_by_size[5] = 50
        fed.tell(chain(rehearsal(8, 100), [pair(shadow_outcome="body_too_large", shadow_status=0)] * 50))
        yield screen(fed.status())


def a_shadow_that_is_an_arm_too() -> Iterator[str]:
    """What it answers itself it cannot be compared with: no row."""
    with rehearsed(CONFIG) as fed:
        live(fed, "next", "9", 40, 16)
        itself = [dropped("same_backend", live="next", live_version="9")] * 40
        fed.tell(chain(rehearsal(6, 200), itself))
        yield screen(fed.status())


def everyone_has_the_same_key() -> Iterator[str]:
    """A constant key puts everyone in one arm; few pairs yet."""
    with rehearsed(CONFIG) as fed:
        live(fed, "stable", "7", 400, 12, arm="stable")
        shadowed(fed, "next", "9", 42, 12)
        use = fed.stats.key_use("ranker-v2")
        for _ in range(300):
            use.note(1234)
        use.missing = 100
        fed.tell(rehearsal(5, 42))
        yield screen(fed.status())


def nothing_is_mirrored_yet() -> Iterator[str]:
    """No block where there is nothing to say."""
    with rehearsed(CONFIG.replace("      - {type: mirror, to: [{backend: next}]}\n", "")) as fed:
        live(fed, "stable", "7", 9, 12, arm="stable")
        fed.tell()
        yield screen(fed.status())


def many_programs_added_up() -> Iterator[str]:
    """`understudy status --from a.json b.json …`, one of them of an older configuration."""
    documents = []
    for number in range(3):
        with rehearsed(CONFIG) as fed:
            live(fed, "stable", "7", 400, 12, arm="stable")
            live(fed, "canary", "8", 40 + number, 12, arm="canary")
            fed.tell(rehearsal(number, 800, slower=0.8))
            compare = fed.compare()
            compare.run, compare.generated = str(number), BEGUN
            if number and compare.config is not None:
                compare.config.hash = "ffffff"
            documents.append(read(msgspec.json.encode(compare)))
    yield merged_screen(merge(documents, BEGUN))


def many_shadows() -> Iterator[str]:
    """More rows than a screen holds."""
    with rehearsed(CONFIG) as fed:
        pairs: list[Pair] = [pair(shadow=f"s{number:02}") for number in range(25) for _ in range(number + 1)]
        fed.tell(pairs)
        yield screen(fed.status())


def what_telemetry_lost() -> Iterator[str]:
    """A disk is full, and nobody takes spans."""
    with rehearsed(CONFIG) as fed:
        fed.control.losses.add("spans", 12_000)
        fed.control.losses.add("logs", 1_204)
        fed.tell()
        yield screen(fed.status())


CASES: list[Callable[[], Iterator[str]]] = [
    a_slower_shadow, a_shadow_that_talks_slower, one_backend_against_itself, a_shadow_that_hangs,
    large_bodies_are_cut_on_their_way,
    a_shadow_that_is_an_arm_too, everyone_has_the_same_key, nothing_is_mirrored_yet, many_programs_added_up,
    many_shadows, what_telemetry_lost,
]  # fmt: skip


def test_the_busiest_have_lines_everywhere_and_the_rest_is_counted() -> None:
    with rehearsed(CHAT) as fed:
        for number in range(60):
            call = fed.stats.call("chat", f"b{number:02}", "1")
            for _ in range(number + 1):
                call.record_stream(0.2, 0.01)
                call.record(200, None, 0.1, 0.2, 1, 1)
        fed.tell()
        shown = screen(fed.status()).splitlines()
    for head, rows in ("STREAMS", 1), ("ANSWERS", 2):
        first = next(at for at, line in enumerate(shown) if line.startswith(head)) + rows
        names = [line.split()[1] for line in shown[first : first + 50]]
        assert [name.removesuffix("@1") for name in names] == [f"b{number:02}" for number in range(10, 60)]
        assert shown[first + 50] == "… and 10 more; --json has all"


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case.__name__))
def test_the_screen(case: Callable[[], Iterator[str]]) -> None:
    (shown,) = case()
    expected = SCREENS / f"{case.__name__.replace('_', '-')}.txt"
    if os.environ.get("GOLDEN") == "write":
        expected.write_text(shown + "\n")
    assert shown + "\n" == expected.read_text()
