"""`/compare` documents of many replicas, added up."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from understudy.proxy.comparison.merging import Unusable, merge, read
from understudy.proxy.comparison.sums import Book
from understudy.proxy.comparison.view import (
    SCHEMA,
    Arm,
    ArmLatency,
    ArmState,
    Compare,
    ConfigName,
    Epoch,
    comparison_of,
    live_ms,
)
from understudy.proxy.comparison.words import block
from understudy.proxy.telemetry.records import Pair

from tests.kit.pairs import cut, dropped, pair, rehearsal, streamed, told

NOW = "2026-11-21T02:00:00Z"


def document(
    pairs: list[Pair], *, run: str = "a", epoch: int = 1, generated: str = NOW, tolerance: float = 0.05,
    exchanges: int = 0, config: str = "7c1e9a", arms: tuple[Arm, ...] = (), with_state: bool = True,
) -> Compare:  # fmt: skip
    book = Book(200, 0)
    book.take(told(pairs))
    return Compare(
        SCHEMA, "pod", generated, Epoch(epoch, f"2026-11-21T01:00:0{epoch}Z", "start"),
        [comparison_of(key, sums, exchanges, tolerance, with_state=with_state)
         for key, sums in sorted(book.comparisons.items())],
        list(arms), run, ConfigName(config, 1),
    )  # fmt: skip


def sent(compare: Compare) -> Compare:
    """As it arrives over HTTP or from a file."""
    return read(msgspec.json.encode(compare))


def figures(compare: Compare) -> Any:
    """All that is said of pairs, numbers to nine digits."""

    def rounded(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: rounded(each) for name, each in value.items()}
        if isinstance(value, list):
            return [rounded(each) for each in value]
        return pytest.approx(value, rel=1e-9, abs=1e-9) if isinstance(value, float) else value

    return rounded(msgspec.to_builtins(compare.pairs))


PAIRS = st.lists(
    st.builds(
        pair, live_total_ms=st.floats(1, 1e4), shadow_total_ms=st.floats(1, 1e4), shadow=st.sampled_from(["next", "b"]),
        censored=st.booleans(), shadow_status=st.sampled_from([0, 200, 500]),
        live_stream=st.none() | st.builds(streamed, st.floats(1, 1e4)), shadow_stream=st.builds(streamed),
    ),
    max_size=40,
)  # fmt: skip


@given(st.lists(PAIRS, min_size=1, max_size=5))
def test_the_merged_document_says_what_one_program_that_saw_all_pairs_would_say(replicas: list[list[Pair]]) -> None:
    documents = [sent(document(pairs, run=str(number))) for number, pairs in enumerate(replicas)]
    alone = document([each for pairs in replicas for each in pairs])
    assert figures(merge(documents, NOW).compare) == figures(alone)


def test_forty_replicas_know_more_than_one() -> None:
    replicas = [list(rehearsal(seed, 60, slower=1.3)) for seed in range(40)]
    documents = [sent(document(pairs, run=str(seed), exchanges=70)) for seed, pairs in enumerate(replicas)]
    assert documents[0].pairs[0].verdict.state == "undecided"
    compare, warnings = merge(documents, NOW)
    (found,) = compare.pairs
    assert (found.verdict.state, found.counts.compared, found.counts.exchanges) == ("slower", 2400, 2800)
    assert (compare.instance, compare.instances, warnings) == ("40 instances", 40, [])
    assert compare.epoch == Epoch(None, "2026-11-21T01:00:01Z", "merged")
    assert figures(compare) == figures(document([each for pairs in replicas for each in pairs], exchanges=2800))


def test_one_document_stays_what_it_is() -> None:
    given_ = sent(document([pair(), cut(50.0), dropped("budget_bytes")], exchanges=5))
    compare, warnings = merge([given_], NOW)
    assert (compare.instance, compare.epoch, warnings) == ("pod", given_.epoch, [])
    assert figures(compare) == figures(given_)


def test_a_document_given_twice_counts_once_and_the_later_of_two_moments() -> None:
    early = sent(document([pair()] * 3, generated="2026-11-21T01:59:00Z"))
    late = sent(document([pair()] * 5))
    compare, warnings = merge([late, late, early], NOW)
    assert compare.pairs[0].counts.selected == 5
    assert warnings == ["2 of 3 documents are older ones of the same epochs: not counted"]


def test_two_epochs_of_one_program_are_one_instance() -> None:
    merged = merge([sent(document([pair()], epoch=epoch)) for epoch in (1, 2)], NOW).compare
    assert (merged.instance, merged.instances) == ("pod", 1)
    assert next(block(merged)) == "PAIRS  1 instance, since 01:00:01"


def test_what_counts_since_the_start_counts_once_for_all_epochs_of_a_program() -> None:
    documents = [document([pair()], epoch=epoch, run=run) for run in "ab" for epoch in (1, 2)]
    for number, each in enumerate(documents):
        each.late, each.refused, each.lost = number, number * 10, number * 100
    merged = merge([sent(each) for each in documents], NOW).compare
    assert (merged.late, merged.refused, merged.lost) == (1 + 3, 10 + 30, 100 + 300)


def test_two_programs_of_one_machine_are_told_apart() -> None:
    compare, _ = merge([sent(document([pair()], run="a")), sent(document([pair()], run="b"))], NOW)
    assert compare.pairs[0].counts.selected == 2


def test_different_configurations_and_tolerances_are_told() -> None:
    compare, warnings = merge(
        [
            sent(document([pair()], run="a")),
            sent(document([pair()], run="b", config="ffffff", tolerance=0.02)),
        ],
        NOW,
    )
    assert compare.config is None
    assert compare.pairs[0].verdict.tolerance == 0.02
    assert warnings == [
        "the documents are of different configurations: 7c1e9a on 1, ffffff on 1",
        "tolerances of next@9 on iris differ: the verdict is by the strictest",
    ]


def test_arms_are_added_up() -> None:
    def arm(name: str, requests: int, sketch: dict[int, int]) -> Arm:
        latency = ArmLatency(live_ms(sketch), live_ms(sketch))
        state = ArmState(dict(sketch), dict(sketch))
        return Arm("iris", "ranker", name, "stable", "7", 0.5, None, requests, 1, latency, state)

    first = sent(document([], run="a", arms=(arm("a", 10, {300: 10}), arm("b", 30, {300: 30}))))
    second = sent(document([], run="b", arms=(arm("a", 20, {320: 20}), arm("b", 40, {300: 40}))))
    a, b = merge([first, second], NOW).compare.arms
    assert (a.requests, a.errors, a.want, a.got) == (30, 2, 0.5, 0.3)
    assert (b.requests, b.got) == (70, 0.7)
    assert a.latency_ms.total == live_ms({300: 10, 320: 20})


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "no answer of GET /compare"),
        (b"not json", "no answer of GET /compare"),
        (b"[]", "no answer of GET /compare"),
        (b'{"schema": "understudy.status/1"}', "no answer of GET /compare"),
        (b'{"schema": "understudy.compare/2"}', "its schema is understudy.compare/2; this program reads"),
        (b'{"schema": "understudy.compare/1"}', "no answer of GET /compare: Object missing required field"),
        (msgspec.json.encode(document([pair()], with_state=False)), "it carries no state"),
    ],
)
def test_what_is_no_document_of_ours_is_refused_with_the_reason(text: bytes, why: str) -> None:
    with pytest.raises(Unusable, match=why):
        read(text)


AT_ONCE = """
import sys
from concurrent.futures import ThreadPoolExecutor

from understudy.proxy.comparison.merging import read

sys.setswitchinterval(1e-6)  # seconds: as often as can be
text = sys.stdin.buffer.read()
with ThreadPoolExecutor(16) as threads:
    print({each.instance for each in threads.map(read, [text] * 64)})
"""


@pytest.mark.parametrize("attempt", range(3))
def test_the_first_documents_of_a_program_may_be_read_by_many_threads_at_once(attempt: int) -> None:
    text = msgspec.json.encode(document([pair()]))
    done = subprocess.run([sys.executable, "-c", AT_ONCE], input=text, capture_output=True, check=False, timeout=30)
    assert (done.returncode, done.stdout) == (0, b"{'pod'}\n")


def test_sums_are_added_up_too() -> None:
    def late(run: str) -> Compare:
        each = sent(document([pair()], run=run))
        each.late = 1
        return each

    first, second = (merge([late(run) for run in runs], NOW).compare for runs in ("ab", "cd"))
    both = merge([first, second], NOW)
    assert (both.compare.instances, both.compare.late, both.warnings) == (4, 4, [])
    assert both.compare.pairs[0].counts.compared == 4
    assert merge([first, first], NOW).compare.instances == 2
