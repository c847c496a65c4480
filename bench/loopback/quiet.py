"""Was the machine quiet? Time on the two cores that neither the subject nor the bench took."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass

from . import usage

DISTURBED = 0.05
"""Of a core, taken by others: more than this and the figures are not to be believed."""

SHARES = ("foreign_share", "stolen_share")


@dataclass(frozen=True)
class Cores:
    """Who works where."""

    subject: int
    load: int


def _own_cpu_s(peers: list[int]) -> float:
    """Processor time of the bench, of its generators that have ended, and of its backends; seconds."""
    spent = os.times()
    ended_s = spent.children_user + spent.children_system
    return spent.user + spent.system + ended_s + usage.cpu_ns(peers) / 1e9


@contextlib.contextmanager
def watched(subject: list[int], peers: list[int], cores: Cores) -> Iterator[dict[str, float]]:
    """Fill in, when the block ends, how far both cores worked for others meanwhile (`foreign_share`, the worse one).

    `subject` and `peers` are process ids; `stolen_share` is what the hypervisor gave to other machines. Generators
    must have been started and waited for inside the block.
    """
    figures: dict[str, float] = {}
    busy = [usage.Core.read(core) for core in (cores.subject, cores.load)]
    subject_s, own_s, began = usage.cpu_ns(subject) / 1e9, _own_cpu_s(peers), time.monotonic()
    yield figures
    wall_s = time.monotonic() - began
    subject_s, own_s = usage.cpu_ns(subject) / 1e9 - subject_s, _own_cpu_s(peers) - own_s
    busy_after = [usage.Core.read(core) for core in (cores.subject, cores.load)]
    taken = [
        after.busy - before.busy - ours
        for before, after, ours in zip(busy, busy_after, (subject_s, own_s), strict=True)
    ]
    stolen = [after.stolen - before.stolen for before, after in zip(busy, busy_after, strict=True)]
    figures["foreign_share"] = max(0.0, *taken) / wall_s
    figures["stolen_share"] = max(stolen) / wall_s
