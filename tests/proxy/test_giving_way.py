"""On a core that both share, control waits for its workers and never they for it."""

from __future__ import annotations

import os
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
