"""On a core that both share, control waits for its workers and never they for it."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import threading

from understudy.proxy import giving_way

NICE = [sys.executable, "-c", "import os; print(os.getpriority(os.PRIO_PROCESS, 0))"]


def test_who_gives_way_is_nicer_than_what_he_starts() -> None:
    found: list[int] = []

    def control() -> None:
        before = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
        giving_way.give_way()
        found.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) - before)
        worker = giving_way.start(NICE, stdout=subprocess.PIPE)
        found.append(int(worker.communicate(timeout=30)[0]) - before)

    thread = threading.Thread(target=control)  # niceness is a thread's: this process keeps its own
    thread.start()
    thread.join()
    assert found == [giving_way.NICER_BY, 0]


TURNS = """
import ctypes, platform, struct
attributes = bytearray(48)
number = {"x86_64": 315, "aarch64": 275, "riscv64": 275}[platform.machine()]
buffer = (ctypes.c_char * 48).from_buffer(attributes)
assert ctypes.CDLL(None).syscall(number, 0, buffer, 48, 0) == 0
print(struct.unpack("=IIQiIQQQ", attributes)[5])
"""


def test_what_is_started_has_the_shortest_turns_so_that_it_comes_first_when_it_wakes() -> None:
    asking = giving_way.start(
        [sys.executable, "-c", f"input()\n{TURNS}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    said, _ = asking.communicate(b"\n", timeout=30)
    knows = tuple(map(int, platform.release().split(".")[:2])) >= (6, 12)
    assert int(said) == (giving_way.TURN_NS if knows else 0)


COLLECTED = """
import gc
from collections import deque

from tests.kit.lines import rich
from understudy.proxy import giving_way, messages
from understudy.proxy.telemetry.lines import line_of
from understudy.proxy.telemetry.records import SpanBatch

frame = messages.encode(messages.Records([], [line_of(rich())] * 64, SpanBatch(128, bytes(70_000))))
giving_way.collect_rarely()


def collections():
    return sum(each["collections"] for each in gc.get_stats())


before = collections()
waiting = deque(maxlen=1500 // 64)  # what 3,000 exchanges a second are until they are exported
for _ in range(20 * waiting.maxlen):
    waiting.append(messages.decode_notice(frame))
print(collections() - before)
for _ in range(giving_way.COLLECT_BEYOND):
    cycle = []
    cycle.append(cycle)
print(collections() - before > 0)
"""


def test_what_waits_to_be_exported_is_not_looked_at_by_the_collector_again_and_again() -> None:
    done = subprocess.run([sys.executable, "-c", COLLECTED], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["0", "True"]
