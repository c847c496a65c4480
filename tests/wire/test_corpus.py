"""Every case of the corpus through the whole program, judged by the strict reader and by the case's own verdict."""

from __future__ import annotations

import pytest

from tests.kit.raw import Answer

from . import answers, verdict
from .corpus import CLASSES
from .corpus.answers import ANSWERS, Hostile
from .corpus.case import Case
from .harness import Harness
from .judge import judge
from .transcript import plan_of

REQUESTS = [(kind, case) for kind, cases in CLASSES.items() for case in cases]
HOSTILE = [(kind, case) for kind, cases in ANSWERS.items() for case in cases]


@pytest.mark.parametrize("kind", CLASSES)
def test_requests(wire: Harness, kind: str) -> None:
    wrong: list[str] = []
    for case in CLASSES[kind]:
        told = wire.converse(case.segments)
        problems = [f"{each.kind}: {each.text}" for each in judge(told)] + verdict.wrongs(case, told)
        wrong.extend(f"{case.name} ({case.verdict}, {case.rule}): {problem[:400]}" for problem in problems)
    assert not wrong, "\n" + "\n".join(wrong)


@pytest.mark.parametrize("kind", ANSWERS)
def test_hostile_answers(wire: Harness, kind: str) -> None:
    wrong: list[str] = []
    for case in ANSWERS[kind]:
        told = wire.converse([case.sent], [Answer(case.segments, case.then)])
        findings = answers.safety(told) + answers.against_oracle(told, case.answer, closed=case.then != "keep")
        problems = [f"{each.kind}: {each.text}" for each in findings] + answers.wrongs(case, told)
        wrong.extend(f"{case.name} ({case.verdict}, {case.rule}): {problem[:400]}" for problem in problems)
    assert not wrong, "\n" + "\n".join(wrong)


def test_the_names_of_a_class_are_unique() -> None:
    for group in (REQUESTS, HOSTILE):
        names = [(kind, case.name) for kind, case in group]
        assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize("kind", CLASSES)
def test_the_strict_reader_agrees_with_the_table(kind: str) -> None:
    readings = {case.name: (case.verdict, _reading(case)) for case in CLASSES[kind]}
    assert {name: pair for name, pair in readings.items() if pair[0] != pair[1]} == {}


def _reading(case: Case) -> str:
    plan = plan_of(case.sent)
    if plan.ending in ("refused", "incomplete"):
        return "refuse" if plan.ending == "refused" else "incomplete"
    return "either" if any(request.doubts for request in plan.requests) else "serve"


def test_the_corpus_is_large_and_has_every_verdict() -> None:
    verdicts = [case.verdict for _, case in REQUESTS]
    assert len(verdicts) > 1000
    assert min(verdicts.count("refuse"), verdicts.count("serve")) > 250
    told: list[Hostile] = [case for _, case in HOSTILE]
    assert {case.verdict for case in told} == {"bad", "cut", "passed", "either"}
