"""Conditions of every subject and operator against a reading of them that is as plain as possible."""

from __future__ import annotations

import re
from typing import NamedTuple

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from understudy.filters.api import Request
from understudy.filters.matching import Condition
from understudy.filters.predicates import compile_condition

from tests.kit.heads import request

_texts = st.text("aAb1-", min_size=1, max_size=3)
_numbers = st.integers(-20, 20)
_patterns = st.sampled_from(["a", "a.*", "[ab]+", "A|b1?", ".", "-?1*"])
_operators = st.one_of(
    st.builds(
        lambda name, text, fold: {name: text, "ignore_case": fold},
        st.sampled_from(["equals", "prefix", "suffix", "contains"]), _texts, st.booleans(),
    ),
    st.builds(
        lambda texts, fold: {"one_of": tuple(texts), "ignore_case": fold},
        st.lists(_texts, min_size=1, max_size=3), st.booleans(),
    ),
    st.builds(lambda pattern, fold: {"regex": pattern, "ignore_case": fold}, _patterns, st.booleans()),
    st.builds(lambda first, size: {"range": (first, first + size)}, _numbers, st.integers(1, 20)),
    st.builds(lambda wanted: {"present": wanted}, st.booleans()),
)  # fmt: skip
_names = st.sampled_from(["a", "b"])
_values = _texts | _numbers.map(str)
_segments = st.lists(st.sampled_from(["a", "ab", "b"]), min_size=1, max_size=3)
_paths = st.builds(lambda several, end: "/" + "/".join(several) + end, _segments, st.sampled_from(["", "/"]))
_hosts = st.sampled_from(["a.test", "b.a.test", "A.test", "c.b.a.test"])
_conditions = st.recursive(
    st.one_of(
        st.builds(
            lambda subject, name, operator: Condition(**{subject: name}, **operator),
            st.sampled_from(["header", "cookie", "query"]), _names, _operators,
        ),
        st.builds(lambda subject, path: Condition(**{subject: path}), st.sampled_from(["path", "path_prefix"]), _paths),
        st.builds(lambda path, at: Condition(path_suffix=path[at % len(path) :]), _paths, st.integers(0, 9)),
        st.builds(lambda regex: Condition(path_regex=regex), st.sampled_from(["/a.*", "/[^/]+", "/(a|b)/ab?/?"])),
        st.builds(lambda several: Condition(method=several), st.sampled_from(["GET", ("GET", "PUT"), ("POST",)])),
        st.builds(lambda several: Condition(host=several), st.sampled_from(["a.test", "*.a.test", ("b.A.test", "c")])),
    ),
    lambda inner: (
        st.builds(lambda each: Condition(negated=each), inner)
        | st.builds(lambda several: Condition(every=tuple(several)), st.lists(inner, min_size=1, max_size=4))
        | st.builds(lambda several: Condition(some=tuple(several)), st.lists(inner, min_size=1, max_size=4))
    ),
    max_leaves=8,
)  # fmt: skip
_pairs = st.lists(st.tuples(_names, _values), max_size=3)


class Plain(NamedTuple):
    """A request before it is written down."""

    method: str
    path: str
    host: str
    headers: list[tuple[str, str]]
    cookies: list[tuple[str, str]]
    query: list[tuple[str, str]]

    def written(self) -> Request:
        query = "?" + "&".join(f"{name}={value}" for name, value in self.query) if self.query else ""
        lines = [f"{self.method} {self.path}{query} HTTP/1.1", f"Host: {self.host}:8080"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        lines += ["Cookie: " + "; ".join(f"{name}={value}" for name, value in self.cookies)] if self.cookies else []
        return request("\n".join(lines))


_plain = st.builds(Plain, st.sampled_from(["GET", "POST", "PUT"]), _paths, _hosts, _pairs, _pairs, _pairs)


def interpreted(condition: Condition, asked: Plain) -> bool:
    """The same condition, told as plainly as possible."""
    if condition.negated is not None:
        return not interpreted(condition.negated, asked)
    if condition.every is not None:
        return all(interpreted(each, asked) for each in condition.every)
    if condition.some is not None:
        return any(interpreted(each, asked) for each in condition.some)
    if condition.method is not None:
        return asked.method in _listed(condition.method)
    if condition.host is not None:
        return any(_is_host(pattern.lower(), asked.host.lower()) for pattern in _listed(condition.host))
    return (
        _is_path(condition, asked.path)
        if _named(condition) is None
        else _passes(condition, _values_of(condition, asked))
    )


def _named(condition: Condition) -> str | None:
    return condition.header or condition.cookie or condition.query


def _values_of(condition: Condition, asked: Plain) -> list[str]:
    pairs = asked.cookies if condition.cookie else asked.query if condition.query else asked.headers
    values = [value for name, value in pairs if name == _named(condition)]
    return [", ".join(values)] if condition.header and values else values


def _listed(value: str | tuple[str, ...]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else value


def _is_host(pattern: str, host: str) -> bool:
    wanted, labels = pattern.split("."), host.split(".")
    return (
        len(labels) >= len(wanted) and labels[1 - len(wanted) :] == wanted[1:] if wanted[0] == "*" else host == pattern
    )


def _is_path(condition: Condition, path: str) -> bool:
    if condition.path is not None:
        return path == condition.path
    if condition.path_prefix is not None:
        *segments, last = condition.path_prefix.split("/")
        wanted = [*segments, last] if last else segments
        found = path.split("/")
        return found[: len(wanted)] == wanted and (bool(last) or len(found) > len(wanted))
    if condition.path_suffix is not None:
        return path[max(0, len(path) - len(condition.path_suffix)) :] == condition.path_suffix
    return re.fullmatch(condition.path_regex or "", path) is not None


def _passes(condition: Condition, values: list[str]) -> bool:
    if condition.present is not None:
        return bool(values) is condition.present
    return any(_is_value(condition, value) for value in values)


def _is_value(test: Condition, value: str) -> bool:
    def same(one: str, other: str) -> bool:
        return one.lower() == other.lower() if test.ignore_case else one == other

    if test.range is not None:
        return re.fullmatch("-?[0-9]+", value) is not None and int(value) in range(*test.range)
    if test.regex is not None:
        return re.fullmatch(test.regex, value, re.IGNORECASE if test.ignore_case else 0) is not None
    if test.one_of is not None:
        return any(same(each, value) for each in test.one_of)
    part = test.prefix or test.suffix or test.contains or test.equals or ""
    found = [at for at in range(len(value)) if same(value[at : at + len(part)], part)]
    at_start, at_end = 0 in found, len(value) - len(part) in found
    if test.prefix or test.suffix:
        return at_start if test.prefix else at_end
    return bool(found) if test.contains else at_start and len(value) == len(part)


@given(_conditions, _plain)
@settings(max_examples=500)
def test_compiled_conditions_agree_with_a_plain_reading(condition: Condition, asked: Plain) -> None:
    assert condition.mistakes() == []
    assert compile_condition(condition)(asked.written()) is interpreted(condition, asked)


@given(_conditions)
def test_conditions_survive_the_way_to_the_workers(condition: Condition) -> None:
    assert msgspec.json.decode(msgspec.json.encode(condition), type=Condition) == condition
