"""Durations, sizes, references to secrets: what YAML may say, and the way to a worker and back."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from understudy.filters.units import Duration, SecretRef, Size, dec_hook, enc_hook


class Holder(msgspec.Struct):
    duration: Duration = Duration(0)
    size: Size = Size(0)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1500ms", 1.5),
        ("10s", 10),
        ("2m", 120),
        ("24h", 86_400),
        (0, 0),
        ("0s", 0),
        ("1ms", 0.001),
        ("87600h", 3.1536e8),
    ],
)
def test_a_duration_has_a_unit(text: object, seconds: float) -> None:
    assert Duration.parse(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "10",
        10,
        1.5,
        "1.5s",
        "-1s",
        "s",
        "10 s",
        "10S",
        "1h30m",
        "1d",
        True,
        False,
        None,
        [],
        "\N{FULLWIDTH DIGIT ONE}s",
        "10s\n",
        "9" * 400 + "s",
    ],
)
def test_anything_else_is_no_duration(text: object) -> None:
    with pytest.raises(ValueError, match="1500ms, 10s, 2m or 24h, or 0"):
        Duration.parse(text)


def test_a_duration_of_more_than_ten_years_is_a_slip_of_the_pen() -> None:
    with pytest.raises(ValueError, match="at most 87600h"):
        Duration.parse("87601h")


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("8MiB", 8 << 20),
        ("64KiB", 65_536),
        ("1MB", 1_000_000),
        ("1KB", 1_000),
        ("512B", 512),
        ("1GiB", 1 << 30),
        (0, 0),
    ],
)
def test_a_size_has_a_unit(text: object, size_bytes: int) -> None:
    assert Size.parse(text) == size_bytes


@pytest.mark.parametrize("text", ["", "1024", 1024, "8mib", "8M", "8 MiB", "1.5MiB", "-1B", True, None, "9999999GiB"])
def test_anything_else_is_no_size(text: object) -> None:
    with pytest.raises(ValueError, match=r"512B, 64KiB, 8MiB, 1MB or 1GiB, or 0|at most"):
        Size.parse(text)


@given(st.integers(0, 87_600 * 3_600_000))
def test_every_duration_reads_back_as_it_was_written(milliseconds: int) -> None:
    duration = Duration(milliseconds / 1_000)
    assert Duration.parse(enc_hook(duration)) == duration


@given(st.integers(0, 1 << 50))
def test_every_size_reads_back_as_it_was_written(size_bytes: int) -> None:
    size = Size(size_bytes)
    assert Size.parse(enc_hook(size)) == size


@pytest.mark.parametrize("duration", [0, 0.001, 1.5, 60, 3_600, 86_399])
@pytest.mark.parametrize("codec", [msgspec.msgpack, msgspec.json])
def test_the_way_to_a_worker_changes_nothing(duration: float, codec: object) -> None:
    before = Holder(Duration(duration), Size(3 << 20))
    wire = codec.encode(before, enc_hook=enc_hook)  # type: ignore[attr-defined]
    assert codec.decode(wire, type=Holder, dec_hook=dec_hook) == before  # type: ignore[attr-defined]


def test_the_shortest_form_is_written() -> None:
    assert [str(Duration(each)) for each in (1.5, 10, 120, 86_400, 0)] == ["1500ms", "10s", "2m", "24h", "0"]
    assert [str(Size(each)) for each in (8 << 20, 1_000_000, 513, 0)] == ["8MiB", "1MB", "513B", "0"]


@pytest.mark.parametrize("ref", [SecretRef(), SecretRef(env="A", file="b"), SecretRef(env=""), SecretRef(file="")])
def test_a_reference_has_exactly_one_source(ref: SecretRef) -> None:
    assert ref.mistakes()
    assert SecretRef(env="A").mistakes() == SecretRef(file="a").mistakes() == []
