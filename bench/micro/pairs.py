"""What a worker spends on telling one pair, and control on decoding it and adding it to its comparison.

`python -m bench.micro.pairs [COUNT]` prints microseconds per pair, the best of several repeats.
"""

from __future__ import annotations

import sys
from math import exp
from random import Random
from time import perf_counter
from typing import TypeAlias

from understudy.proxy import messages
from understudy.proxy.comparison import sums
from understudy.proxy.telemetry.count import NEVER
from understudy.proxy.telemetry.pairs import MOST_WAITING, Figures, Kind, PairSheet

FRAMES = 20
REPEATS = 7
Offered: TypeAlias = tuple[Kind, Figures, bytes, None]


def pairs(count: int) -> list[Offered]:
    """As of two live backends and one shadow; one in a hundred was cut, one in fifty dropped."""
    rng = Random(1)
    made = []
    for number in range(count):
        live_ms, shadow_ms = 12 * exp(rng.gauss(0, 0.5)), 15 * exp(rng.gauss(0, 0.5))
        cut, sent = number % 100 == 7, number % 50 != 3
        answered = sent and not cut
        kind: Kind = (
            "iris", "stable", 1, "stable" if number % 10 else "canary", "7", "next", "9", 200, 200 if answered else 0,
            "complete", "shadow_timeout" if cut else "complete" if sent else "budget_requests", sent, cut, False, False,
        )  # fmt: skip
        figures: Figures = (
            live_ms * 0.9, live_ms, shadow_ms * 0.9 if answered else NEVER,
            shadow_ms if sent else NEVER, NEVER, NEVER, 1024, 128, 128 if answered else 0,
        )  # fmt: skip
        made.append((kind, figures, b"%032x" % rng.getrandbits(128), None))
    return made


def measured(made: list[Offered]) -> tuple[float, float, float]:
    """Microseconds per pair: telling, decoding, and adding."""
    book = sums.Book(200, 0)
    sheet = PairSheet()
    frames: list[bytes] = []
    sheet.full = lambda: frames.append(messages.encode(messages.Records(pairs=sheet.take())))
    begun = perf_counter()
    for offered in made:
        sheet.offer(*offered)
    told = perf_counter()
    batches = [messages.decode_notice(frame) for frame in frames]
    decoded = perf_counter()
    for batch in batches:
        assert isinstance(batch, messages.Records)
        book.take(batch.pairs)
    done = perf_counter()
    count = len(made)
    assert sum(each.selected for each in book.comparisons.values()) == count
    each = 1e6 / count
    return (told - begun) * each, (decoded - told) * each, (done - decoded) * each


def main(frames: int) -> None:
    """Print the three costs, and control's sum."""
    made = pairs(frames * MOST_WAITING)
    runs = [measured(made) for _ in range(REPEATS)]
    tell_us, decode_us, add_us = (min(run[at] for run in runs) for at in range(3))
    how = "interpreted" if sums.__file__.endswith(".py") else "compiled"
    print(f"tell {tell_us:.2f} us, decode {decode_us:.2f} us, add {add_us:.2f} us ({how}): "
          f"{decode_us + add_us:.2f} us per pair in control")  # fmt: skip


if __name__ == "__main__":
    main(int(sys.argv[1]) // MOST_WAITING if len(sys.argv) > 1 else FRAMES)
