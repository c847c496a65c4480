"""What a configured header may be called and what it may say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from understudy.filters.fields import FRAMING, remove_mistakes, set_mistakes, value_text
from understudy.filters.units import SecretRef


@pytest.mark.parametrize("name", ["x-a", "X-Model-Version", "authorization", "a.b", "x_y", "via"])
def test_a_header_of_ones_own(name: str) -> None:
    assert set_mistakes({name: "value"}) == []
    assert remove_mistakes([name]) == []


@pytest.mark.parametrize(
    "name", ["", "x a", "x:a", "x\r\ny", "é", "x\0", *FRAMING, "Host", "X-Understudy-A", "x_understudy_a"]
)
def test_a_header_that_no_filter_writes(name: str) -> None:
    assert [path for path, _ in set_mistakes({name: "value"}, "set")] == [("set", name)]
    assert [path for path, _ in remove_mistakes([name], "remove")] == [("remove", 0)]


@given(st.text(), st.sampled_from([*map(chr, range(0x20)), "\x7f"]), st.text())
def test_no_control_character_but_a_tab_reaches_a_head(before: str, control: str, after: str) -> None:
    text = value_text(f"a{before}{control}{after}a")
    assert (text is not None) or control == "\t"


def test_a_wrong_value_is_never_repeated() -> None:
    ((_, text),) = set_mistakes({"authorization": "Bearer s3cret\n"})
    assert "s3cret" not in text


@pytest.mark.parametrize("value", [" a", "a ", "\ta"])
def test_blanks_that_no_recipient_would_see(value: str) -> None:
    assert value_text(value) is not None


@pytest.mark.parametrize("value", ["", "a b", "a\tb", "größe", '"quoted"'])
def test_visible_text(value: str) -> None:
    assert value_text(value) is None


def test_one_header_twice_in_two_cases() -> None:
    assert [path for path, _ in set_mistakes({"x-a": "1", "X-A": "2"}, "set")] == [("set", "X-A")]


def test_a_reference_is_checked_by_form_alone() -> None:
    assert set_mistakes({"x-a": SecretRef(env="NO_SUCH")}) == []
    assert [path for path, _ in set_mistakes({"x-a": SecretRef()}, "set")] == [("set", "x-a")]
