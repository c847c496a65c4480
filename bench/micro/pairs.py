"""What control spends on one pair: decoding it from a worker's frame, and adding it to its comparison.

`python -m bench.micro.pairs [COUNT]` prints microseconds per pair, the best of several repeats.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from math import exp
from random import Random
from time import perf_counter

from understudy.proxy import messages
from understudy.proxy.comparison import sums
from understudy.proxy.telemetry.records import BATCH, Pair, Record

FRAMES = 50
REPEATS = 7


def pairs(count: int) -> Iterator[Pair]:
    """As of two live backends and one shadow; one in a hundred was cut, one in fifty dropped."""
    rng = Random(1)
    for number in range(count):
        live_ms, shadow_ms = 12 * exp(rng.gauss(0, 0.5)), 15 * exp(rng.gauss(0, 0.5))
        cut, sent = number % 100 == 7, number % 50 != 3
        yield Pair(
            "iris", "stable", 1, "stable" if number % 10 else "canary", "7", "next", "9",
            f"{rng.getrandbits(128):032x}",
            200, 200 if sent and not cut else 0, "complete",
            "shadow_timeout" if cut else "complete" if sent else "budget_requests", live_ms * 0.9, live_ms,
            shadow_ms * 0.9 if sent and not cut else None, shadow_ms if sent else None, None, None, 1024, 128,
            128 if sent and not cut else 0, sent, cut, False, False,
        )  # fmt: skip


def measured(frames: list[bytes]) -> tuple[float, float]:
    """Microseconds per pair: decoding, and adding."""
    book = sums.Book(200, 0)
    begun = perf_counter()
    batches = [messages.decode_notice(frame) for frame in frames]
    decoded = perf_counter()
    for batch in batches:
        assert isinstance(batch, messages.Records)
        book.take(batch.batch)
    done = perf_counter()
    count = len(frames) * BATCH
    assert sum(each.selected for each in book.comparisons.values()) == count
    return (decoded - begun) / count * 1e6, (done - decoded) / count * 1e6


def main(frames: int) -> None:
    """Print both costs and their sum."""
    sent: list[Record] = list(pairs(frames * BATCH))
    encoded = [messages.encode(messages.Records(sent[at : at + BATCH], 0)) for at in range(0, len(sent), BATCH)]
    runs = [measured(encoded) for _ in range(REPEATS)]
    decode_us, add_us = min(run[0] for run in runs), min(run[1] for run in runs)
    how = "interpreted" if sums.__file__.endswith(".py") else "compiled"
    print(f"decode {decode_us:.2f} us, add {add_us:.2f} us ({how}): {decode_us + add_us:.2f} us per pair")


if __name__ == "__main__":
    main(int(sys.argv[1]) // BATCH if len(sys.argv) > 1 else FRAMES)
