"""What a person reads while the load runs, and what the demo concludes."""

from __future__ import annotations

from typing import Any

import pytest

from demo import ending, view
from demo.load import Answer
from demo.processes import Failed
from demo.users import User
from demo.view import Times


def answer(kind: str, backend: str, seconds: float = 0.002, *, strayed: bool = False) -> Answer:
    return Answer(kind, backend, False, seconds, True, "wrong" if strayed else None, strayed)


def test_a_line_tells_shares_of_the_drawn_and_of_employees_apart() -> None:
    answers = [
        *[answer("member", "stable")] * 8,
        answer("visitor", "canary"),
        answer("private", "stable"),
        answer("employee", "canary"),
        answer("employee", "stable", strayed=True),
    ]

    assert view.line(3, answers, 0.95).split() == [
        "3", "12", "90.0%", "10.0%", "1", "of", "2", "95%", "1", "2.0", "2.0",
    ]  # fmt: skip
    assert len(view.line(3, answers, 0.95)) == len(view.HEAD)


def test_a_second_without_answers_has_no_times() -> None:
    assert view.line(1, [], None).split()[-2:] == ["nan", "nan"]


def test_arms_are_of_those_who_were_drawn() -> None:
    users = [User(f"user-{number}", "member") for number in range(100)]
    for number, user in enumerate(users):
        user.backend = "canary" if number < 12 else "stable"

    text = view.arms([*users, User("user-100", "employee")])

    assert text == "88 users belong to stable and 12 to canary (12.0%; 10 expected, give or take 9)"


def test_bounds_of_the_99th_percentile_are_ranks() -> None:
    times = Times.of([number / 1000 for number in range(1, 1001)])

    assert (times.answers, times.p50_ms, times.p99_ms) == (1000, 500, 990)
    assert (times.p99_low_ms, times.p99_high_ms) == (984, 997)  # 990 -+ 1.96 * sqrt(1000 * 0.99 * 0.01)


def pair(state: str, low: float | None, high: float | None, compared: int = 900) -> dict[str, Any]:
    return {
        "live": {"backend": "stable", "version": "7"},
        "shadow": {"backend": "next", "version": "9"},
        "counts": {"compared": compared},
        "latency_ms": {"total": {"ratio": {"low": low, "high": high, "pairs": compared}}},
        "verdict": {"state": state, "tolerance": 0.05},
    }


SAME = Times(1000, 2.0, 9.0, 8.0, 11.0)


@pytest.mark.parametrize(
    ("state", "low", "high", "said"),
    [
        ("slower", 1.29, 1.33, "next@9 is slower than stable@7 by 29 to 33 % (95 % sure after 900 pairs"),
        ("faster", 0.8, 0.9, "next@9 is faster than stable@7 by 10 to 20 % ("),
        ("same", 0.98, 1.01, "next@9 is as fast as stable@7, 0.98 to 1.01 of its time ("),
        ("undecided", 0.9, 1.2, "next@9 is at 0.90 to 1.20 of the time of stable@7, which decides nothing yet ("),
        ("undecided", None, None, "next@9 is not compared with stable@7 yet, 900 pairs being too few"),
    ],
)
def test_the_sentence_says_what_the_verdict_says(state: str, low: float | None, high: float | None, said: str) -> None:
    assert ending.sentence(pair(state, low, high), "does more", SAME, SAME).startswith(said)


def test_clients_noticed_nothing_where_nothing_can_be_told_apart() -> None:
    text = ending.sentence(pair("slower", 1.3, 1.4), "does more", SAME._replace(p50_ms=2.4, p99_ms=10.0), SAME)

    assert "it does more.\nClients noticed nothing: p50 2.4 and p99 10.0 ms (1,000 answers) while next@9" in text


@pytest.mark.parametrize("slower", [SAME._replace(p50_ms=3.1), SAME._replace(p99_low_ms=11.5)])
def test_clients_that_waited_are_not_hushed_up(slower: Times) -> None:
    assert "Clients waited longer" in ending.sentence(pair("slower", 1.3, 1.4), "does more", slower, SAME)


def test_the_comparison_told_is_the_one_with_most_pairs() -> None:
    few, many = pair("undecided", None, None, 20), pair("slower", 1.3, 1.4)

    assert ending.busiest({"pairs": [few, many]}) is many
    with pytest.raises(Failed):
        ending.busiest({"pairs": []})
