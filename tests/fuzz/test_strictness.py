"""Every case of the corpus, damaged: whatever is sent, front and back agree and everybody gets his own answer.

A short seeded sample by default. `LENGTH=full` damages each case 100 times and writes bench/results/strictness.json.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import Literal

import pytest
from understudy.proxy.http1 import head

from tests.kit.raw import Answer
from tests.kit.strict import Response, read_response
from tests.wire import answers, verdict
from tests.wire.corpus import CLASSES
from tests.wire.corpus.answers import ANSWERS
from tests.wire.harness import Harness
from tests.wire.judge import NEVER, Finding, judge

from .mutate import mutant

FULL = os.environ.get("LENGTH") == "full"
MUTANTS = 100 if FULL else 2
RESULTS = Path(__file__).parents[2] / "bench" / "results" / "strictness.json"
LARGE = 20_000  # bytes; cases beyond test limits, which damage does not change
MESSAGES = [case.sent for cases in CLASSES.values() for case in cases if len(case.sent) < 300]


@pytest.fixture(scope="module")
def tally() -> Iterator[dict[str, Counter[str]]]:
    """Counts by class, written to the results of a full run."""
    counts: dict[str, Counter[str]] = {}
    started = time.monotonic()
    yield counts
    if FULL and len(counts) == len(CLASSES) + len(ANSWERS):
        total = sum(counts.values(), Counter())
        document = {
            "what": "each corpus case as it is and damaged; 'never' must be 0, the rest is told for completeness",
            "mutants_per_case": MUTANTS,
            "data_plane": "compiled" if str(head.__file__).endswith(".so") else "interpreted",
            "seconds": round(time.monotonic() - started),
            "never": {kind: total[kind] for kind in (*NEVER, "crash")},
            "total": dict(sorted(total.items())),
            "by_class": {kind: dict(sorted(each.items())) for kind, each in counts.items()},
        }
        RESULTS.write_text(json.dumps(document, indent=2) + "\n")


@pytest.mark.timeout(3000 if FULL else 60)
@pytest.mark.parametrize("kind", CLASSES)
def test_damaged_requests(wire: Harness, tally: dict[str, Counter[str]], kind: str) -> None:
    count = tally[kind] = Counter()
    never: list[str] = []
    for case in CLASSES[kind]:
        for number in range(MUTANTS + FULL if len(case.sent) < LARGE else FULL):
            rng = Random(f"{kind}/{case.name}/{number}")
            undamaged = FULL and number == 0
            segments = list(case.segments) if undamaged else mutant(rng, case.segments, MESSAGES)
            told = wire.converse(segments)
            findings = judge(told)
            count["cases" if undamaged else "mutants"] += 1
            if undamaged:
                count["cases not as their verdict"] += bool(verdict.wrongs(case, told))
            never.extend(_note(findings, count, wire, f"{case.name}/{number}: {segments}"))
    assert not never, "\n" + "\n".join(never[:20])


@pytest.mark.timeout(3000 if FULL else 60)
@pytest.mark.parametrize("kind", ANSWERS)
def test_damaged_answers(wire: Harness, tally: dict[str, Counter[str]], kind: str) -> None:
    count = tally[kind] = Counter()
    never: list[str] = []
    for case in ANSWERS[kind]:
        for number in range(MUTANTS + FULL if len(case.answer) < LARGE else FULL):
            rng = Random(f"{kind}/{case.name}/{number}")
            undamaged = FULL and number == 0
            segments = list(case.segments) if undamaged else mutant(rng, case.segments)
            answer = b"".join(segments)
            then = case.then if undamaged else _ending(rng, answer)
            told = wire.converse([case.sent], [Answer(_together(segments, case.sent), then)])
            findings = answers.safety(told) + answers.against_oracle(told, answer, closed=then != "keep")
            count["cases" if undamaged else "mutants"] += 1
            if undamaged:
                count["cases not as their verdict"] += bool(answers.wrongs(case, told))
            never.extend(_note(findings, count, wire, f"{case.name}/{number}: {segments} {then}"))
    assert not never, "\n" + "\n".join(never[:20])


def _together(segments: list[bytes], sent: bytes) -> tuple[bytes, ...]:
    """Bytes behind a whole answer must come with its end: later ones would look like the next answer to anybody."""
    said = read_response(b"".join(segments), method=sent.split(b" ")[0])
    sizes = list(accumulate(map(len, segments)))
    last = next((at for at, size in enumerate(sizes) if isinstance(said, Response) and size >= said.end), len(sizes))
    return (*segments[:last], b"".join(segments[last:]))


def _ending(rng: Random, answer: bytes) -> Literal["keep", "close"]:
    """A whole answer may leave its connection open; one that is not must end, or the test would wait for more."""
    whole = isinstance(read_response(answer), Response) and isinstance(read_response(answer, method=b"HEAD"), Response)
    return "keep" if whole and rng.random() < 0.7 else "close"


def _note(findings: list[Finding], count: Counter[str], wire: Harness, what: str) -> list[str]:
    """Count the findings, one of a kind for a conversation; return those that must never be."""
    count.update({each.kind for each in findings})
    never = [f"{each.kind}: {each.text[:300]} | {what[:600]}" for each in findings if each.kind in NEVER]
    if wire.program.process.poll() is not None or wire.alarms():
        count["crash"] += 1
        never.append(f"crash: {wire.alarms()[:3]} | {what[:600]}")
    return never
