"""Every change between two documents is told, and who moves is what the race does. The words: tests/golden/diff."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from importlib import resources
from itertools import combinations
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from understudy.config.diff import diff
from understudy.config.diff_values import out_of_order
from understudy.config.moves import moving, reshuffled, shares
from understudy.config.schema import convert
from understudy.config.yaml12 import read
from understudy.filters.bucketing import Race

EXAMPLE = resources.files("understudy.config.examples").joinpath("understudy.yaml").read_text()
KEYS = [b"user-%d" % number for number in range(20_000)]


def raw() -> dict[str, Any]:
    written = read(EXAMPLE).value
    assert isinstance(written, dict)
    return {key: deepcopy(value) for key, value in written.items() if not key.startswith("x-")}


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, each in inner:
        yield (*path, step)
        yield from leaves(each, (*path, step))


def other(value: Any) -> Iterator[Any]:
    match value:
        case bool():
            yield not value
        case int() | float():
            yield value + 1
        case str():
            yield from (f"{value}x", value.replace("1", "2"), value.replace("s", "ms"))
        case list():
            yield value[1:]


def changes() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every document that is one step away from the example: a value is another one, or gone."""
    whole = raw()
    for path in leaves(whole):
        for at, kind in enumerate(("gone", "another", "another", "another")):
            changed = deepcopy(whole)
            holder = changed
            for step in path[:-1]:
                holder = holder[step]
            if kind == "gone":
                del holder[path[-1]]
            else:
                several = list(other(holder[path[-1]]))
                if at > len(several):
                    continue
                holder[path[-1]] = several[at - 1]
            yield f"{path} {kind}", changed


def test_no_change_goes_untold() -> None:
    before = convert(raw())
    told = 0
    for name, changed in changes():
        try:
            after = convert(changed)
        except msgspec.ValidationError:
            continue
        is_other = after != before
        assert bool(diff(before, after)) == bool(diff(after, before)) == is_other, name
        told += is_other
    assert told > 100
    assert diff(before, convert(raw())) == []


CASES = [
    ({"a": 90, "b": 10}, {"a": 75, "b": 25}),
    ({"a": 90, "b": 10}, {"a": 9, "b": 1}),
    ({"a": 90, "b": 10}, {"a": 100, "b": 0}),
    ({"a": 90, "b": 10}, {"a": 80, "b": 15, "c": 5}),
    ({"a": 1, "b": 1, "c": 1}, {"a": 3, "b": 2, "c": 1}),
    ({"a": 50, "b": 50}, {"c": 1}),
]


@pytest.mark.parametrize(("old", "new"), CASES)
def test_who_moves_is_what_the_race_does(old: dict[str, float], new: dict[str, float]) -> None:
    before, after, again = Race("s", old), Race("s", new), Race("t", new)
    for race, expected in ((after, moving(old, new)), (again, reshuffled(old, new))):
        moved = sum(before.arms[before.winner(key)] != race.arms[race.winner(key)] for key in KEYS) / len(KEYS)
        assert abs(moved - expected) <= 3 * (expected * (1 - expected) / len(KEYS)) ** 0.5 + 1e-9


_weights = st.dictionaries(st.sampled_from("abcd"), st.integers(0, 20), min_size=1).filter(
    lambda each: any(each.values())
)


@given(_weights, _weights)
@settings(deadline=None)
def test_no_fewer_move_than_must_and_no_more_than_the_bound(old: dict[str, float], new: dict[str, float]) -> None:
    before, after = shares(old), shares(new)
    least = sum(abs(before.get(arm, 0) - after.get(arm, 0)) for arm in before.keys() | after.keys()) / 2
    assert least - 1e-9 <= moving(old, new) <= 2 * least / (1 + least) + 1e-9
    raw_changed = [arm for arm in old.keys() | new.keys() if old.get(arm, 0) != new.get(arm, 0)]
    if len(raw_changed) < 2 or len(old.keys() | new.keys()) < 3:
        assert moving(old, new) == pytest.approx(least)


@given(st.permutations("abcdef"), st.sets(st.sampled_from("abcdefgh")))
@settings(deadline=None)
def test_the_fewest_that_must_have_moved(old: list[str], gone: set[str]) -> None:
    new = [name for name in "ghabcdef" if name not in gone]
    moved = out_of_order(old, new)
    both = [name for name in new if name in old]

    def in_order(names: set[str]) -> bool:
        return [name for name in old if name in names] == [name for name in new if name in names]

    assert moved <= set(both)
    assert in_order(set(both) - moved)
    assert not any(in_order(set(both) - set(fewer)) for fewer in combinations(both, max(0, len(moved) - 1)) if moved)
