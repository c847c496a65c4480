"""Sticky draws: fair, minimal in whom they move, independent under different salts, the same everywhere."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from itertools import combinations
from math import log, sqrt

import pytest
import xxhash
from hypothesis import example, given
from hypothesis import strategies as st
from understudy.filters.bucketing import Race, Rollout, Sample, arm_seed, uniform, unit

from tests.architecture.tree import ROOT
from tests.kit import reference
from tests.kit.vectors import HEADING, VECTORS, table

COUNT = 200_000
KEYS = [b"user-%d" % number for number in range(COUNT)]


def arms_of(salt: str, weights: dict[str, float], keys: list[bytes] = KEYS) -> list[str]:
    race = Race(salt, weights)
    winner, arms = race.winner, race.arms
    return [arms[winner(key)] for key in keys]


def within(count: int, share: float, sigmas: float = 3.0, of: int = COUNT) -> bool:
    """Whether so many of all keys are as many as their share says, give or take the spread of a binomial."""
    return abs(count - of * share) <= sigmas * sqrt(of * share * (1 - share))


# The reference and its vectors.


def test_the_vectors_of_the_hash() -> None:
    for each in VECTORS["xxh64"]:
        data, seed = bytes.fromhex(each["bytes_hex"]), int(each["seed"], 16)
        assert f"{reference.xxh64(data, seed):016x}" == each["hash"] == f"{xxhash.xxh64_intdigest(data, seed):016x}"


def test_the_vectors_of_the_draws() -> None:
    for each in VECTORS["draws"]:
        salt, weights, key = each["salt"], each["weights"], each["key"].encode()
        race = Race(salt, weights)
        assert race.arms[race.winner(key)] == each["winner"] == reference.winner(salt, weights, key)
        assert {standing.arm for standing in race.standings(key)} == set(each["arms"])
        for standing in race.standings(key):
            told = each["arms"][standing.arm]
            seed = arm_seed(salt, standing.arm)
            assert f"{seed:016x}" == told["seed"]
            assert f"{reference.xxh64(key, seed):016x}" == told["hash"]
            assert standing.u == told["u"] == reference.u_of(salt, standing.arm, key)
            assert standing.score == pytest.approx(told["score"], rel=1e-14)


def test_the_vectors_of_the_samples() -> None:
    for each in VECTORS["samples"]:
        sample, key = Sample(each["salt"], 0.1), each["key"].encode()
        assert f"{sample.seed:016x}" == each["seed"]
        assert uniform(key, sample.seed) == each["u"]
        assert sample.takes(key) is each["in_at_10_percent"]


def test_every_page_that_shows_the_vectors_shows_these() -> None:
    for page in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")):
        text = page.read_text("utf-8")
        assert HEADING not in text or table() in text, f"{page.name}: python -m tests.kit.vectors prints the table"


_weights = st.dictionaries(st.text(max_size=8), st.floats(0, 1_000_000), max_size=12).filter(
    lambda weights: any(weights.values())
)


@given(st.text(max_size=12), _weights, st.binary(max_size=80))
@example("", {"": 5e-324}, b"")
def test_any_draw_is_that_of_the_reference(salt: str, weights: dict[str, float], key: bytes) -> None:
    race = Race(salt, weights)
    assert race.arms[race.winner(key)] == reference.winner(salt, weights, key)
    standings = race.standings(key)
    assert standings[0].arm == race.arms[race.winner(key)]
    assert {each.arm: each.score for each in standings} == reference.scores(salt, weights, key)


@pytest.mark.parametrize("hashed", [0, 1, 4095, 4096, 2**63, 2**64 - 1024, 2**64 - 1])
def test_no_hash_falls_on_0_or_1(hashed: int) -> None:
    assert 0.0 < unit(hashed) < 1.0
    assert log(unit(hashed)) < 0.0


def test_a_fresh_interpreter_draws_the_same() -> None:
    script = (
        "import json; from understudy.filters.bucketing import Race;"
        "race = Race('ranker-v2', {'a': 1, 'b': 2, 'c': 3});"
        "print(json.dumps([race.arms[race.winner(b'user-%d' % n)] for n in range(1000)]))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30)
    assert json.loads(done.stdout) == arms_of("ranker-v2", {"c": 3, "b": 2, "a": 1}, KEYS[:1000])


# Shares.


@pytest.mark.parametrize(
    "weights",
    [
        {"stable": 90.0, "canary": 10.0},
        {"stable": 99.9, "canary": 0.1},
        {"stable": 50.0, "canary": 30.0, "third": 20.0},
        {f"arm-{number}": float(number) for number in range(1, 11)},
    ],
    ids=len,
)
def test_every_arm_gets_its_share(weights: dict[str, float]) -> None:
    got = Counter(arms_of("ranker-v2", weights))
    total = sum(weights.values())
    for arm, weight in weights.items():
        assert within(got[arm], weight / total), f"{arm}: {got[arm]} of {COUNT}, wanted {weight / total:.4f}"


def test_a_weight_of_0_drains_an_arm_and_nobody_else_moves() -> None:
    before = arms_of("s", {"a": 1.0, "b": 1.0, "c": 1.0}, KEYS[:20_000])
    after = arms_of("s", {"a": 1.0, "b": 0.0, "c": 1.0}, KEYS[:20_000])
    assert "b" not in after
    assert all(was == now for was, now in zip(before, after, strict=True) if was != "b")


def test_no_weight_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="above 0"):
        Race("s", {"a": 0.0})


# Who moves when weights change.


def changes(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    """By how much each arm's share grows."""
    return {arm: after[arm] / sum(after.values()) - before[arm] / sum(before.values()) for arm in before}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"a": 95.0, "b": 5.0}, {"a": 90.0, "b": 10.0}),
        ({"a": 90.0, "b": 10.0}, {"a": 99.0, "b": 1.0}),
        ({"a": 1.0, "b": 1.0}, {"a": 3.0, "b": 1.0}),
        ({"a": 60.0, "b": 30.0, "c": 10.0}, {"a": 60.0, "b": 30.0, "c": 40.0}),
        ({"a": 60.0, "b": 30.0, "c": 10.0}, {"a": 20.0, "b": 30.0, "c": 10.0}),
    ],
)
def test_two_arms_or_one_weight_move_the_minimum_and_nobody_leaves_an_arm_that_grew(
    before: dict[str, float], after: dict[str, float]
) -> None:
    moved = Counter(
        (was, now) for was, now in zip(arms_of("s", before), arms_of("s", after), strict=True) if was != now
    )
    grown = changes(before, after)
    assert all(grown[was] < 0 < grown[now] for was, now in moved)
    assert within(sum(moved.values()), sum(map(abs, grown.values())) / 2)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"a": 50.0, "b": 30.0, "c": 20.0}, {"a": 30.0, "b": 45.0, "c": 25.0}),
        ({"a": 1.0, "b": 1.0, "c": 1.0, "d": 1.0}, {"a": 4.0, "b": 1.0, "c": 0.0, "d": 2.0}),
        ({"a": 98.0, "b": 1.0, "c": 1.0}, {"a": 1.0, "b": 1.0, "c": 98.0}),
    ],
)
def test_otherwise_no_more_move_than_the_bound(before: dict[str, float], after: dict[str, float]) -> None:
    moved = sum(was != now for was, now in zip(arms_of("s", before), arms_of("s", after), strict=True))
    delta = sum(map(abs, changes(before, after).values())) / 2
    bound = 2 * delta / (1 + delta)
    assert delta * COUNT - 3 * sqrt(COUNT) / 2 <= moved <= bound * COUNT + 3 * sqrt(COUNT * bound * (1 - bound))


@given(_weights, st.data())
def test_one_weight_that_grows_only_takes(weights: dict[str, float], data: st.DataObject) -> None:
    arm = data.draw(st.sampled_from(sorted(weights)))
    larger = {**weights, arm: data.draw(st.floats(weights[arm], 2_000_000))}
    if not larger[arm]:
        return
    for was, now in zip(arms_of("s", weights, KEYS[:50]), arms_of("s", larger, KEYS[:50]), strict=True):
        assert now in (was, arm)


# Rollouts and samples.


def test_a_flag_of_1_percent_is_part_of_a_split_of_10_percent_with_the_same_salt() -> None:
    flag = Rollout("ranker-v2", "canary", 1.0)
    inside = [key for key in KEYS if flag.takes(key, "stable")]
    assert within(len(inside), 0.01)
    assert set(arms_of("ranker-v2", {"stable": 90.0, "canary": 10.0}, inside)) == {"canary"}


@given(st.floats(0, 100), st.floats(0, 100), st.sampled_from(["stable", "canary", "flag"]))
def test_who_is_in_at_a_percentage_stays_in_at_a_larger_one(one: float, other: float, default: str) -> None:
    small, large = Rollout("s", "canary", min(one, other)), Rollout("s", "canary", max(one, other))
    for key in KEYS[:50]:
        assert large.takes(key, default) or not small.takes(key, default)


@pytest.mark.parametrize("default", ["stable", "canary"], ids=["another", "its-own-name"])
@pytest.mark.parametrize("percent", [0.0, 5.0, 70.0, 100.0])
def test_a_rollout_takes_its_percentage_whatever_the_default_backend(percent: float, default: str) -> None:
    flag = Rollout("s", "canary", percent)
    inside = sum(flag.takes(key, default) for key in KEYS[:50_000])
    assert within(inside, percent / 100, of=50_000)


def test_a_rollout_serves_several_default_backends_in_turn() -> None:
    flag, other = Rollout("s", "canary", 30.0), Rollout("s", "canary", 30.0)
    for key in KEYS[:200]:
        assert flag.takes(key, "stable") is Rollout("s", "canary", 30.0).takes(key, "stable")
        assert flag.takes(key, "next") is other.takes(key, "next")


@pytest.mark.parametrize("fraction", [0.0, 0.01, 0.5, 1.0])
def test_a_sample_takes_its_share_and_grows_by_addition(fraction: float) -> None:
    sample, larger = Sample("mirror/next", fraction), Sample("mirror/next", min(1.0, fraction * 2))
    inside = [key for key in KEYS if sample.takes(key)]
    assert within(len(inside), fraction)
    assert all(larger.takes(key) for key in inside)


# Independence.


def chi_square(one: list[bool], other: list[bool]) -> float:
    """Pearson's statistic of two yes-or-no draws over the same keys: one degree of freedom."""
    seen = Counter(zip(one, other, strict=True))
    total, found = len(one), 0.0
    for row in (True, False):
        for column in (True, False):
            expected = one.count(row) * other.count(column) / total
            found += (seen[row, column] - expected) ** 2 / expected
    return found


DRAWS: dict[str, list[bool]] = {}


def draws() -> dict[str, list[bool]]:
    if not DRAWS:
        flags = {f"flag {salt}": Rollout(salt, "canary", 20.0) for salt in ("dogfood", "eu-trial", "ranker-v2 ")}
        DRAWS.update({name: [flag.takes(key, "stable") for key in KEYS] for name, flag in flags.items()})
        for salt in ("ranker-v2", "ranker-v3", "ui"):
            DRAWS[f"split {salt}"] = [arm == "canary" for arm in arms_of(salt, {"stable": 70.0, "canary": 30.0})]
        for salt in ("mirror/next", "mirror/other", "ranker-v2"):
            sample = Sample(salt, 0.4)
            DRAWS[f"sample {salt}"] = [sample.takes(key) for key in KEYS]
    return DRAWS


NAMES = ["flag dogfood", "flag eu-trial", "flag ranker-v2 ", "split ranker-v2", "split ranker-v3", "split ui"]
NAMES += ["sample mirror/next", "sample mirror/other", "sample ranker-v2"]


@pytest.mark.parametrize(("one", "other"), list(combinations(NAMES, 2)))
def test_draws_with_different_salts_know_nothing_of_each_other(one: str, other: str) -> None:
    assert chi_square(draws()[one], draws()[other]) < 15.1  # one in 10,000 pairs of independent draws is beyond


def test_draws_with_the_same_salt_do() -> None:
    flag = Rollout("ranker-v2", "canary", 20.0)
    same = [flag.takes(key, "stable") for key in KEYS]
    assert chi_square(same, draws()["split ranker-v2"]) > 10_000
