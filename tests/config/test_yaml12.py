"""YAML text to plain values: the 1.2 core schema, and bounds that hold against hostile files."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from understudy.config.places import places
from understudy.config.yaml12 import MAX_DEPTH, MAX_VALUES, read


def value_of(scalar: str) -> Any:
    content = read(f"key: {scalar}\n")
    assert content.flaws == []
    return content.value["key"]


def flaws_of(text: str) -> list[tuple[int, tuple[str | int, ...]]]:
    return [(flaw.line, flaw.path) for flaw in read(text).flaws]


@pytest.mark.parametrize(
    ("scalar", "value"),
    [
        *(
            (word, word)
            for word in ("off", "on", "yes", "no", "y", "n", "Yes", "OFF", "tRue", "1:30", "1_000", "0b1", "0x")
        ),
        *((word, word) for word in ("2030-12-31", "1e", "+", ".", "1.2.3", "nul", "127.0.0.1", "=", "0o8", "+0x1")),
        *((word, True) for word in ("true", "True", "TRUE")),
        *((word, False) for word in ("false", "False", "FALSE")),
        *((word, None) for word in ("null", "Null", "NULL", "~", "", "# comment")),
        *zip(("0", "-1", "+1", "010", "-0", "0o10", "0x1F"), (0, -1, 1, 10, 0, 8, 31), strict=True),
        *zip(("1.5", ".5", "1.", "-1e3", "1E-2", "1.0"), (1.5, 0.5, 1.0, -1000.0, 0.01, 1.0), strict=True),
        *(('"1"', "1"), ("'true'", "true"), ("!!str 1", "1"), ("!!int 1", 1), ("!!float 1", 1.0), ("! 1", "1")),
        *(
            ("!!null ''", None),
            ("!!bool true", True),
            ("[1, a]", [1, "a"]),
            ("!!seq [a]", ["a"]),
            ("!!map {a: b}", {"a": "b"}),
        ),
        *((str(2**63 - 1), 2**63 - 1), (str(-(2**63)), -(2**63))),
    ],
)
def test_scalars_are_those_of_yaml_1_2(scalar: str, value: object) -> None:
    read_value = value_of(scalar)
    assert (read_value, type(read_value)) == (value, type(value))


@pytest.mark.parametrize(
    "number", [str(2**63), str(-(2**63) - 1), ".inf", "-.INF", ".nan", "1e999", "0x" + "f" * 17, "9" * 9999]
)
def test_a_number_that_is_no_finite_64_bit_one_is_a_flaw(number: str) -> None:
    assert flaws_of(f"a:\n  - {number}\n") == [(2, ("a", 0))]


@pytest.mark.parametrize(
    "tag",
    [
        "!!binary aGk=",
        "!!timestamp 2030-01-01",
        "!!python/object:os.system x",
        "!own x",
        "!!set {a}",
        "!!str [a]",
        "!!int x",
    ],
)
def test_a_tag_beyond_the_core_schema_is_a_flaw(tag: str) -> None:
    assert flaws_of(f"a: {tag}\n") == [(1, ("a",))]


def test_both_lines_of_a_duplicate_are_told_and_the_first_counts() -> None:
    content = read("a: 1\nb:\n  c: 2\n  c: 3\na: 4\n")
    assert [(flaw.line, flaw.path, flaw.text) for flaw in content.flaws] == [
        (4, ("b", "c"), "is given twice, first on line 3; keep one"),
        (5, ("a",), "is given twice, first on line 1; keep one"),
    ]
    assert content.value == {"a": 1, "b": {"c": 2}}


@pytest.mark.parametrize("key", ["1", "true", "null", "1.5", "[a]", "{a: b}"])
def test_a_key_is_text(key: str) -> None:
    assert [line for line, _ in flaws_of(f"? {key}\n: b\n")] == [1]


def test_a_key_in_quotes_is_text() -> None:
    assert read('"1": a\n"<<": b\n').value == {"1": "a", "<<": "b"}


def test_a_merge_key_is_refused_and_nothing_is_merged() -> None:
    content = read("a: &a {x: 1}\nb: {<<: *a, y: 2}\n")
    assert content.value["b"] == {"y": 2}
    assert [(flaw.line, flaw.path) for flaw in content.flaws] == [(2, ("b", "<<"))]


def test_an_alias_stands_for_its_anchors_value() -> None:
    content = read("a: &a [1, &b {c: d}]\ne: *a\nf: *b\n")
    assert content.value == {"a": [1, {"c": "d"}], "e": [1, {"c": "d"}], "f": {"c": "d"}}
    assert content.flaws == []


@pytest.mark.parametrize("text", ["a: *b\n", "a: &a [*a]\n", "a: *b\nb: &b 1\n"])
def test_an_alias_without_a_finished_anchor_is_a_flaw(text: str) -> None:
    assert [line for line, _ in flaws_of(text)] == [1]


def test_a_billion_laughs_end_early() -> None:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    bomb += "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 30))
    began = time.perf_counter()
    content = read(bomb)
    assert content.value is None
    assert [flaw.text for flaw in content.flaws] == [f"holds more than {MAX_VALUES:,} values, aliases expanded"]
    assert time.perf_counter() - began < 1


@pytest.mark.parametrize("text", ["[" * 100_000, "- " * 100_000, "{a: " * 100_000])
def test_nesting_ends_at_a_bound(text: str) -> None:
    began = time.perf_counter()
    (flaw,) = read(text).flaws
    assert f"deeper than {MAX_DEPTH} levels" in flaw.text
    assert time.perf_counter() - began < 5


def test_the_bound_itself_is_allowed() -> None:
    assert read("[" * MAX_DEPTH + "]" * MAX_DEPTH).flaws == []
    assert read("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1)).flaws != []


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: [1\n", 2),
        ("a: 'b\n\n", 3),
        ("\ta: b\n", 1),
        ("a: b\n c: d\n", 2),
        ("a: \x01\n", 1),
        ("a: b\n---\nc: d\n", 2),
        ("", 1),
    ],
)
def test_what_is_no_document_says_on_which_line(text: str, line: int) -> None:
    assert flaws_of(text) == [(line, ())]


_text = st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]) | st.sampled_from("\n\t\r\0"))
_plain: Any = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_text, inner, max_size=4),
    max_leaves=20,
)


@given(_plain)
@settings(max_examples=200)
def test_json_is_yaml(value: Any) -> None:
    """Every JSON text is YAML 1.2 with the same value (floats keep their type: JSON writes them with . or e)."""
    content = read(json.dumps(value, ensure_ascii=False))
    assert content.flaws == []
    assert json.dumps(content.value) == json.dumps(value)


@given(st.text(alphabet=st.sampled_from("ab01:-,[]{}&*!|>'\"#%@`?~ \n\t<."), max_size=60))
@settings(max_examples=400)
def test_no_text_breaks_the_reader(text: str) -> None:
    content = read(text)
    assert all(1 <= flaw.line <= text.count("\n") + 2 for flaw in content.flaws)
    assert content.flaws or not isinstance(content.value, float) or content.value == content.value
    places(text)


def test_places_of_maps_lists_flows_and_aliases() -> None:
    place = places("a: &a\n  b:\n    - c\n    - {d: 1,\n       e: 2}\n\nf: *a\n")
    assert place.find(("a",)) == 1
    assert place.find(("a", "b", 0)) == 3
    assert place.find(("a", "b", 1, "e")) == 5
    assert place.find(("f",)) == 7
    assert place.find(("f", "b", 1, "d")) == 4  # where the text stands
    assert place.find(("a", "nothing", "like", "it")) == 1
    assert place.find(("nothing",)) == 1
