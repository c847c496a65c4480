"""The damages themselves: repeatable, and none of them a no-op for long."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from .mutate import mutant, split

GET = b"GET /t HTTP/1.1\r\nHost: a.test\r\nX-A: 12\r\n\r\n"


def test_a_seed_gives_the_same_bytes() -> None:
    assert [mutant(Random(7), [GET], [GET]) for _ in range(3)] == [mutant(Random(7), [GET], [GET])] * 3


def test_most_mutants_differ_from_their_case() -> None:
    rng = Random(1)
    mutants = [b"".join(mutant(rng, [GET])) for _ in range(300)]
    assert sum(each != GET for each in mutants) > 270
    assert len(set(mutants)) > 250


@given(st.binary(max_size=40), st.integers())
def test_segments_make_up_the_bytes(data: bytes, seed: int) -> None:
    assert b"".join(split(Random(seed), data)) == data


@given(st.binary(max_size=40), st.integers())
def test_any_bytes_can_be_damaged(data: bytes, seed: int) -> None:
    mutant(Random(seed), [data])
