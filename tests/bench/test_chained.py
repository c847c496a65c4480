"""The whole chain: nobody's shadow is spared in silence, and what the program says of its copies is what is read."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from understudy.config.load import load

from bench.loopback.chained import FULL_PATH, Sums, apart, documents, heard
from bench.loopback.lab import Lab, Options
from bench.loopback.peers import Variants, plain_count, start_variants
from bench.loopback.processes import nothing_left_behind
from bench.loopback.quiet import Cores
from bench.loopback.subjects import Subject, probe, start_configured
from bench.loopback.told import Told, told
from bench.loopback.wire import BenchError
from bench.loopback.wrk import Window

from .test_harness import needs_tools

SHARED = Cores(min(os.sched_getaffinity(0)), max(os.sched_getaffinity(0)))
START = Sums(requests=1, copies=1, told=Told(0, 0, 0, 0))


def looks(*found: tuple[int, int, int]) -> Callable[[], Sums]:
    """Each look finds (requests, copies, said to be dropped); the last one for ever. Every look is counted too."""
    seen: Iterator[tuple[int, tuple[int, int, int]]] = enumerate([*found, *[found[-1]] * 1000], 1)

    def look() -> Sums:
        count, (requests, copies, dropped) = next(seen)
        return Sums(1 + requests + count, 1 + copies + count, Told(requests, copies, dropped, 0))

    return look


def test_the_share_that_was_heard_leaves_out_the_looks_themselves() -> None:
    assert heard("envoy", START, looks((1000, 1000, 0))) == 1.0
    assert heard("envoy", START, looks((1000, 990, 0))) == 0.99


def test_copies_that_lag_are_waited_for() -> None:
    assert heard("envoy", START, looks((1000, 700, 0), (1000, 900, 0), (1000, 998, 0))) == 0.998


def test_what_is_said_to_be_dropped_is_not_missed() -> None:
    assert heard("understudy", START, looks((1000, 600, 400))) == 0.6


def test_a_shadow_that_heard_too_little_fails_the_run() -> None:
    with pytest.raises(BenchError, match="of 1000 requests the shadow heard 980, and only 9 are said to be dropped"):
        heard("envoy", START, looks((1000, 980, 9)), patience_s=0.0)


def test_control_is_told_apart_from_its_worker() -> None:
    class Control:
        class popen:
            pid = 7

    window = Window(requests=100, copies=50, wall_s=0.5, cpu_ns={7: 100_000, 8: 2_000_000}, load_core_s=0.1)
    subject = Subject("understudy", None, Control)  # type: ignore[arg-type]
    assert apart(subject, window) == {"pairs_per_s": 100.0, "control_us_per_pair": 2.0, "worker_us_per_request": 20.0}
    with pytest.raises(BenchError, match="no request was mirrored"):
        apart(subject, window._replace(copies=0))


def test_the_configuration_of_the_whole_chain_is_valid_and_warns_of_nothing(tmp_path: Path) -> None:
    file = tmp_path / "understudy.json"
    file.write_text(json.dumps(documents(Variants(1, 2, 3), 4, 5)["understudy"]))
    loaded = load(file)
    assert (loaded.mistakes, loaded.warnings) == ([], [])


@needs_tools
@pytest.mark.parametrize("name", ["understudy", "envoy"])
def test_each_contender_mirrors_and_tells(name: str, tmp_path: Path) -> None:
    if name == "envoy":
        pytest.importorskip("envoy")  # of the compiled environment, in which this runs once more
    with nothing_left_behind(), contextlib.ExitStack() as stack:
        variants = start_variants(stack, SHARED.load, tmp_path)
        subject = start_configured(stack, name, partial(documents, variants), SHARED.subject, tmp_path)

        def sums() -> Sums:
            return Sums(plain_count(variants.stable), plain_count(variants.shadow), told(subject))

        before = sums()
        for _ in range(20):
            probe(subject, FULL_PATH)
        assert heard(name, before, sums) == 1.0
        assert told(subject).dropped == 0


def test_only_contenders_run_the_whole_chain(tmp_path: Path) -> None:
    options = Options(subjects=("splice", "understudy", "aiohttp"))
    lab = Lab(options, SHARED, None, tmp_path, print)  # type: ignore[arg-type]
    assert lab.contenders() == ["understudy"]
