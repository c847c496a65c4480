"""Where a listener binds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from understudy.config.binds import Bind, clash, parse_bind


@pytest.mark.parametrize(
    ("text", "bind"),
    [
        ("127.0.0.1:7080", Bind("tcp", host="127.0.0.1", port=7080)),
        ("localhost:0", Bind("tcp", host="localhost", port=0)),
        ("Model.Example:65535", Bind("tcp", host="model.example", port=65_535)),
        ("[::1]:7080", Bind("tcp", host="::1", port=7080)),
        ("[0:0::1]:7080", Bind("tcp", host="::1", port=7080)),
        ("unix:/run/understudy.sock", Bind("unix", path="/run/understudy.sock")),
        ("fd:3", Bind("fd", fd=3)),
    ],
)
def test_what_may_be_bound(text: str, bind: Bind) -> None:
    assert parse_bind(text) == bind


def test_its_label_reads_back() -> None:
    for text in ("127.0.0.1:7080", "[::1]:7080", "unix:/a", "fd:3"):
        assert parse_bind(text).label == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "7080",
        ":7080",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:-1",
        "127.0.0.1:65536",
        "127.0.0.1:1e3",
        "::1:7080",
        "[::1]",
        "[::1%eth0]:1",
        "[]:1",
        "[a]:1",
        "1.2.3:1",
        "1.2.3.4.5:1",
        "256.0.0.1:1",
        "a b:1",
        "-a:1",
        "a-:1",
        "http://a:1",
        "*:1",
        "unix:",
        "unix:a",
        "unix:/" + "a" * 107,
        "unix:/a\x00",
        "fd:",
        "fd:2",
        "fd:-1",
        "fd:x",
        "fd:99999",
        "fd:٣",
        "a:٣",
    ],
)
def test_what_may_not(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_bind(text)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("127.0.0.1:1", "127.0.0.1:1"),
        ("127.0.0.1:1", "localhost:1"),
        ("0.0.0.0:1", "127.0.0.1:1"),
        ("[::]:1", "127.0.0.1:1"),
        ("[::]:1", "[::1]:1"),
        ("[::]:1", "0.0.0.0:1"),
        ("unix:/a", "unix:/a"),
        ("fd:3", "fd:3"),
    ],
)
def test_two_that_clash(one: str, other: str) -> None:
    assert clash(parse_bind(one), parse_bind(other))
    assert clash(parse_bind(other), parse_bind(one))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("127.0.0.1:1", "127.0.0.1:2"),
        ("127.0.0.1:0", "127.0.0.1:0"),
        ("127.0.0.1:1", "127.0.0.2:1"),
        ("0.0.0.0:1", "[::1]:1"),
        ("unix:/a", "unix:/b"),
        ("fd:3", "fd:4"),
        ("unix:/a", "127.0.0.1:1"),
    ],
)
def test_two_that_do_not(one: str, other: str) -> None:
    assert not clash(parse_bind(one), parse_bind(other))
    assert not clash(parse_bind(other), parse_bind(one))


@given(st.text(max_size=30) | st.from_regex(r"[\[\]:.0-9a-z/]{1,20}", fullmatch=True))
def test_anything_else_is_refused_in_words(text: str) -> None:
    try:
        bind = parse_bind(text)
    except ValueError as error:
        assert str(error)
    else:
        assert parse_bind(bind.label) == bind
