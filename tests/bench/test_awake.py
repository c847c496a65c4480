"""The kernel is asked to keep a core awake, and asked no more afterwards."""

from __future__ import annotations

from pathlib import Path

from bench.loopback.awake import awake


def test_a_core_is_kept_awake_for_the_length_of_a_block(tmp_path: Path) -> None:
    wish = tmp_path / "cpu3" / "power" / "pm_qos_resume_latency_us"
    wish.parent.mkdir(parents=True)
    wish.write_text("0\n")
    (tmp_path / "cpu3" / "cpuidle").mkdir()
    with awake(3, tmp_path) as is_awake:
        assert (is_awake, wish.read_text()) == (True, "n/a")
    assert wish.read_text() == "0\n"


def test_where_nobody_listens_the_core_sleeps_as_it_likes(tmp_path: Path) -> None:
    wish = tmp_path / "cpu3" / "power" / "pm_qos_resume_latency_us"
    wish.parent.mkdir(parents=True)
    wish.write_text("0\n")
    for core in (3, 4):  # without idle states, and without anything
        with awake(core, tmp_path) as is_awake:
            assert not is_awake
    assert wish.read_text() == "0\n"
