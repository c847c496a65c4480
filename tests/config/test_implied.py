"""What is proved about conditions holds for every request: a proof that fails one is a false alarm to an operator."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from understudy.config.implied import also, disjoint, implies, impossible, known_of
from understudy.filters.api import Request
from understudy.filters.matching import Condition, Match
from understudy.filters.predicates import compile_condition, compile_match


def condition(**written: Any) -> Condition:
    made = msgspec.convert(written, Condition)
    assert made.mistakes() == []
    return made


X = {"header": "x-a"}


@pytest.mark.parametrize(
    ("narrow", "wide"),
    [
        ({**X, "equals": "eu-1"}, {"header": "X-A", "prefix": "eu-"}),
        ({**X, "equals": "eu-1"}, {**X, "in": ["us-1", "eu-1"]}),
        ({**X, "in": ["a1", "a2"]}, {**X, "regex": "a[0-9]"}),
        ({**X, "prefix": "eu-west"}, {**X, "prefix": "EU-", "ignore_case": True}),
        ({**X, "suffix": "abc"}, {**X, "contains": "bc"}),
        ({**X, "range": [5, 9]}, {**X, "range": [5, 10]}),
        ({**X, "equals": ""}, {**X, "present": True}),
        ({"not": {**X, "present": True}}, {"not": {**X, "equals": "a"}}),
        ({"cookie": "a", "equals": "b"}, {"not": {"cookie": "a", "present": False}}),
        ({"all": [{**X, "equals": "a"}, {"method": "GET"}]}, {"method": ["GET", "HEAD"]}),
        ({"any": [{"path": "/a/b"}, {"path_prefix": "/a/c"}]}, {"path_prefix": "/a"}),
        ({"path_prefix": "/a/"}, {"path_prefix": "/a"}),
        ({"path_suffix": "/m/infer"}, {"path_suffix": "infer"}),
        ({"path": "/m/infer"}, {"path_suffix": "/infer"}),
        ({"path": "/%61"}, {"path_regex": "/[a-z]"}),
        ({"host": ["b.example", "*.c.example"]}, {"host": "*.example"}),
        ({"query": "n", "equals": "7"}, {"query": "n", "range": [1, 10]}),
        ({"method": "GET"}, {"path_prefix": "/"}),
        ({"method": "GET"}, {"any": [{"host": "*"}, {**X, "equals": "a"}]}),
    ],
)  # fmt: skip
def test_a_wider_condition(narrow: dict[str, Any], wide: dict[str, Any]) -> None:
    assert implies(condition(**narrow), condition(**wide))


@pytest.mark.parametrize(
    ("narrow", "wide"),
    [
        ({**X, "equals": "a", "ignore_case": True}, {**X, "equals": "a"}),
        ({**X, "equals": "a"}, {"header": "x-b", "equals": "a"}),
        ({"cookie": "a", "equals": "b"}, {"cookie": "A", "equals": "b"}),
        ({"cookie": "a", "equals": "b"}, {"not": {"cookie": "a", "equals": "c"}}),  # a=b; a=c
        ({"path_prefix": "/a"}, {"path_prefix": "/a/"}),
        ({"path_prefix": "/ab"}, {"path_prefix": "/a"}),
        ({"path_prefix": "/a"}, {"path_suffix": "/a"}),
        ({"path_suffix": "/a"}, {"path_prefix": "/a"}),
        ({**X, "range": [0, 10]}, {**X, "range": [1, 10]}),
        ({"host": "*"}, {"host": "*.example"}),
        ({"any": [{"path": "/a"}, {"path": "/b"}]}, {"path": "/a"}),
    ],
)
def test_a_condition_that_is_not_wider(narrow: dict[str, Any], wide: dict[str, Any]) -> None:
    assert not implies(condition(**narrow), condition(**wide))


def test_conditions_that_no_request_meets_together() -> None:
    assert impossible(condition(all=[{"method": "GET"}, {"any": [{"method": "PUT"}, {"method": "POST"}]}]))
    assert impossible(condition(all=[{**X, "prefix": "eu-"}, {**X, "in": ["us-1", "us-2"]}]))
    assert impossible(condition(all=[{"cookie": "a", "present": False}, {"cookie": "a", "contains": "b"}]))
    assert not impossible(condition(all=[{"cookie": "a", "equals": "b"}, {"cookie": "a", "equals": "c"}]))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({**X, "prefix": "eu-"}, {**X, "prefix": "eu-west"}),
        ({**X, "suffix": "west"}, {**X, "suffix": "eu-west"}),
        ({**X, "prefix": "eu"}, {**X, "suffix": "west"}),
        ({**X, "equals": "A"}, {**X, "equals": "a", "ignore_case": True}),
        ({**X, "equals": "a"}, {"header": "x-b", "equals": "b"}),
        ({**X, "range": [1, 5]}, {**X, "range": [4, 9]}),
        ({"path_prefix": "/a"}, {"path_prefix": "/a/b"}),
        ({"path_prefix": "/a"}, {"path_regex": "/b"}),
        ({"path_prefix": "/a"}, {"path_suffix": "/b"}),
        ({"path_suffix": "/a"}, {"path_suffix": "b/a"}),
        ({"host": "*.b"}, {"host": "*.a.b"}),
        ({"method": ["GET", "PUT"]}, {"method": ["PUT", "POST"]}),
    ],
)
def test_conditions_that_a_request_may_meet_together(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert not disjoint(condition(**one), condition(**other))
    assert not disjoint(condition(**other), condition(**one))


def test_deep_nests_take_no_time() -> None:
    deep: dict[str, Any] = {**X, "equals": "a"}
    other: dict[str, Any] = {**X, "equals": "b"}
    for at in range(15):
        deep = {("all", "any")[at % 2]: [deep, deep]}
        other = {("any", "all")[at % 2]: [other]}
    assert disjoint(condition(**deep), condition(**other))
    assert not implies(condition(**deep), condition(**other))


_texts = st.sampled_from(["a", "b", "ab", "A", "aB", "bab", "5", "12", ""])
_nonempty = st.sampled_from(["a", "b", "ab", "A", "aB", "bab", "5", "12"])
_values = st.one_of(
    st.builds(lambda text, fold: {"equals": text, "ignore_case": fold}, _texts, st.booleans()),
    st.builds(
        lambda texts, fold: {"in": texts, "ignore_case": fold}, st.lists(_texts, min_size=1, max_size=3), st.booleans()
    ),
    st.builds(
        lambda operator, text, fold: {operator: text, "ignore_case": fold},
        st.sampled_from(["prefix", "suffix", "contains"]),
        _nonempty,
        st.booleans(),
    ),
    st.builds(
        lambda text, fold: {"regex": text, "ignore_case": fold},
        st.sampled_from(["a.*", "[ab]+", "[0-9]"]),
        st.booleans(),
    ),
    st.builds(lambda start, length: {"range": [start, start + length]}, st.integers(0, 12), st.integers(1, 8)),
    st.builds(lambda there: {"present": there}, st.booleans()),
)
_paths = st.lists(st.sampled_from(["a", "b", "", "%61"]), max_size=3).map(lambda parts: "/" + "/".join(parts))
_hosts = st.sampled_from(["a", "A.b", "*.b", "*.a.b", "b", "*"])
_methods = st.sampled_from(["GET", "PUT", "POST"])
_atoms = st.one_of(
    st.builds(
        lambda subject, name, value: {subject: name, **value},
        st.sampled_from(["header", "cookie", "query"]), st.sampled_from(["x", "X"]), _values,
    ),
    st.builds(lambda kind, path: {kind: path}, st.sampled_from(["path", "path_prefix", "path_suffix"]), _paths),
    st.sampled_from([{"path_regex": "/a.*"}, {"path_regex": "/[ab]"}]),
    st.builds(lambda several: {"method": several}, st.lists(_methods, min_size=1, max_size=2)),
    st.builds(lambda several: {"host": several}, st.lists(_hosts, min_size=1, max_size=2)),
)  # fmt: skip
_conditions = st.recursive(
    _atoms,
    lambda inner: st.one_of(
        st.builds(lambda each: {"not": each}, inner),
        st.builds(
            lambda kind, several: {kind: several},
            st.sampled_from(["all", "any"]),
            st.lists(inner, min_size=1, max_size=3),
        ),
    ),
    max_leaves=4,
)
_lines = st.lists(st.tuples(st.just(b"x"), _texts.map(str.encode)), max_size=1)
_pairs = st.lists(st.tuples(st.sampled_from(["x", "X"]), _texts), max_size=3)
_requests = st.builds(
    lambda method, path, pairs, host, lines, cookies: Request(
        method.encode(),
        path.encode() + b"?" + "&".join(f"{name}={value}" for name, value in pairs).encode(),
        host.encode(),
        [*lines, (b"cookie", "; ".join(f"{name}={value}" for name, value in cookies).encode())],
    ),
    _methods, _paths, _pairs, st.sampled_from(["a", "a.b:80", "c.a.b", "b", ""]), _lines, _pairs,
)  # fmt: skip


@given(_conditions, _conditions, st.lists(_requests, min_size=10, max_size=10))
@settings(max_examples=600, deadline=None)
@example({"header": "x", "prefix": "a"}, {"header": "x", "contains": "A", "ignore_case": True}, [])
def test_proofs_hold_for_every_request(one: dict[str, Any], other: dict[str, Any], requests: list[Request]) -> None:
    first, second = condition(**one), condition(**other)
    holds, also_holds = compile_condition(first), compile_condition(second)
    is_narrower, is_apart, is_nothing = implies(first, second), disjoint(first, second), impossible(first)
    for request in requests:
        assert not (is_narrower and holds(request) and not also_holds(request))
        assert not (is_apart and holds(request) and also_holds(request))
        assert not (is_nothing and holds(request))


@given(_paths, st.lists(_methods, max_size=2), _values, _conditions, _requests)
@settings(max_examples=200, deadline=None)
def test_what_a_match_makes_certain(
    path: str, methods: list[str], value: dict[str, Any], when: dict[str, Any], request: Request
) -> None:
    written = {"path_prefix": path, "headers": {"X": value}, "query": {"x": value}, "when": when}
    match = msgspec.convert(written | ({"methods": methods} if methods else {}), Match)
    known = known_of(match, heads=True)
    assert compile_match(match)(request) == compile_condition(known)(request)
    assert implies(known, known_of(match, heads=False))
    assert also(known, None) is known
