"""A core that stood still is noticed, and blamed on the windows that it touched alone."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from bench.loopback.hiccups import LATE_NS, Standstills, watching
from bench.loopback.processes import running

MS = 1_000_000


def test_a_standstill_touches_the_windows_that_it_overlaps() -> None:
    stood = Standstills(late=[(50 * MS, 5 * MS)])  # due at 50 ms, woken at 55
    assert stood.during(40 * MS, 51 * MS)
    assert stood.during(54 * MS, 60 * MS)
    assert not stood.during(30 * MS, 49 * MS)
    assert not stood.during(55 * MS, 60 * MS)


def test_moments_are_spared_unless_a_core_stood_still_then_or_has_not_recovered() -> None:
    stood = Standstills(late=[(50 * MS, 5 * MS), (48 * MS, 2 * MS), (200 * MS, 1 * MS)])
    moments = [40, 45, 55, 69, 71, 198, 199, 203, 204]
    assert stood.spared([each * MS for each in moments]) == [
        True, False, False, False, True, True, False, False, True,
    ]  # fmt: skip
    assert Standstills().spared([1, 2]) == [True, True]


def test_a_watcher_that_was_stopped_tells_when_and_for_how_long(tmp_path: Path) -> None:
    core = min(os.sched_getaffinity(0))
    with watching([core], tmp_path) as standstills:
        if not standstills.watchers:
            pytest.skip("real-time priority is refused here")
        (watcher,) = standstills.watchers
        began = time.monotonic_ns()
        watcher.popen.send_signal(signal.SIGSTOP)
        watcher.pause(0.06)
        watcher.popen.send_signal(signal.SIGCONT)
        watcher.pause(0.02)
        assert standstills.during(began, time.monotonic_ns())
        assert max(late for _, late in standstills.late) > 30 * LATE_NS
        told = len(standstills.late)
        assert not standstills.during(began - 90 * MS, began - 80 * MS)
        assert len(standstills.late) == told  # what was told once is not told again


def test_whoever_keeps_the_subject_waiting_is_noticed_unless_it_is_one_of_its_own(tmp_path: Path) -> None:
    core = min(os.sched_getaffinity(0))
    busy = [sys.executable, "-c", "while True: pass"]
    with (
        watching([core], tmp_path) as standstills,
        running("subject", busy, core, tmp_path) as subject,
        running("other", busy, core, tmp_path) as other,
    ):
        if not standstills.watchers:
            pytest.skip("real-time priority is refused here")
        for own in ([], [other.popen.pid]):
            standstills.attend(subject.popen.pid, own)
            standstills.during(0, 1)  # what came before is known
            before = len(standstills.late)
            subject.pause(0.5)
            standstills.during(0, 1)
            waited_ns = sum(late for _, late in standstills.late[before:])
            assert (waited_ns > 150 * MS) == (not own), "half of the time is the other's"
