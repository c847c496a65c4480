"""Records of mirrored exchanges, as workers would send them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import exp
from random import Random
from typing import Any, NamedTuple

import msgspec
from understudy.proxy.telemetry.count import NEVER
from understudy.proxy.telemetry.pairs import PairSheet, pack_streams
from understudy.proxy.telemetry.records import Pair, PairKind, PairsOfKind, StreamTimes

HICCUP = 20.0
USUAL = Pair(
    route="iris", arm="", config=1, live="stable", live_version="7", shadow="next", shadow_version="9",
    request_id="r-1", live_status=200, shadow_status=200, live_outcome="complete", shadow_outcome="complete",
    live_first_byte_ms=10.0, live_total_ms=12.0, shadow_first_byte_ms=10.0, shadow_total_ms=12.0, live_gap_ms=None,
    shadow_gap_ms=None, request_bytes=1024, live_bytes=128, shadow_bytes=128, sent=True, censored=False, tainted=False,
    calibration=False,
)  # fmt: skip


def pair(**different: Any) -> Pair:
    """The usual one, but for what is named."""
    return msgspec.structs.replace(USUAL, **different)


def dropped(reason: str, **different: Any) -> Pair:
    """A copy that was never sent."""
    nothing = {"shadow_first_byte_ms": None, "shadow_total_ms": None, "shadow_status": 0, "shadow_bytes": 0}
    return pair(sent=False, shadow_outcome=reason, **nothing, **different)


def cut(after_ms: float, **different: Any) -> Pair:
    """A copy that was cut short before its answer began."""
    return pair(censored=True, shadow_outcome="shadow_timeout", shadow_status=0, shadow_first_byte_ms=None,
                shadow_total_ms=after_ms, **different)  # fmt: skip


def offer(sheet: PairSheet, each: Pair) -> None:
    """As a worker does."""
    *values, live, shadow = msgspec.structs.astuple(each)
    common = len(PairKind.__struct_fields__)
    kind, figures = values[:common], [NEVER if value is None else value for value in values[common + 1 :]]
    streams = pack_streams(live, shadow) if live is not None else None
    sheet.offer(tuple(kind), tuple(figures), each.request_id.encode(), streams)


def told(pairs: Iterable[Pair]) -> list[PairsOfKind]:
    """As a worker tells them, frame after frame."""
    sheet = PairSheet()
    frames: list[PairsOfKind] = []
    sheet.full = lambda: frames.extend(sheet.take())
    for each in pairs:
        offer(sheet, each)
    return [*frames, *sheet.take()]


def streamed(first_token_ms: float | None = 100.0, per_chunk_ms: float | None = 10.0, chunks: int = 9) -> StreamTimes:
    """A stream of events of which so many had content."""
    return StreamTimes(first_token_ms, per_chunk_ms, chunks)


def talks(
    seed: int, count: int, *, first: float = 1.0, between: float = 1.0, cut_ms: float | None = None, **different: Any
) -> Iterator[Pair]:
    """Answers of a language model: 100 tokens, the first after some 200 ms, then one in 12 ms; the shadow takes
    `first` times as long to begin and `between` times as long for each of the others, and is cut at `cut_ms`."""
    rng = Random(seed)
    for _ in range(count):
        prompt_ms, token_ms = 200 * exp(rng.gauss(0, 0.5)), 12 * exp(rng.gauss(0, 0.1))
        live = StreamTimes(prompt_ms * exp(rng.gauss(0, 0.1)), token_ms * exp(rng.gauss(0, 0.05)), 100)
        shadow = StreamTimes(prompt_ms * first * exp(rng.gauss(0, 0.1)), token_ms * between, 100)
        assert live.first_token_ms and live.per_chunk_ms and shadow.first_token_ms and shadow.per_chunk_ms
        total_ms = shadow.first_token_ms + 99 * shadow.per_chunk_ms
        times = {
            "live_first_byte_ms": 5.0, "live_total_ms": live.first_token_ms + 99 * live.per_chunk_ms,
            "live_stream": live, "shadow_first_byte_ms": 5.0, "shadow_total_ms": total_ms, "shadow_stream": shadow,
        }  # fmt: skip
        if cut_ms is not None and shadow.first_token_ms > cut_ms:
            times |= {"shadow_stream": StreamTimes(None, None, 0), "shadow_total_ms": cut_ms}
            times |= {"censored": True, "shadow_outcome": "shadow_timeout"}
        yield pair(**times, **different)


class Took(NamedTuple):
    """Durations of a live call and its copy, which was `cut` at the second."""

    live_ms: float
    shadow_ms: float
    cut: bool


def durations(
    seed: int, count: int, *, slower: float = 1.0, hiccups: float = 0.0, timeout_ms: float | None = None
) -> Iterator[Took]:
    """Live calls around 12 ms, and a shadow that takes `slower` times as long; it is cut at its timeout.

    Each pair shares what a request costs; each call has luck of its own. ln(shadow / live) has the mean ln(slower) and
    a spread of 0.3; of the share `hiccups` of the pairs it is greater by ln(HICCUP).
    """
    rng = Random(seed)
    for _ in range(count):
        cost_ms = 12 * exp(rng.gauss(0, 0.5))
        live_ms = cost_ms * exp(rng.gauss(0, 0.212))
        shadow_ms = cost_ms * slower * exp(rng.gauss(0, 0.212))
        if hiccups and rng.random() < hiccups:
            shadow_ms *= HICCUP
        if timeout_ms is not None and shadow_ms > timeout_ms:
            yield Took(live_ms, timeout_ms, True)
        else:
            yield Took(live_ms, shadow_ms, False)


def rehearsal(
    seed: int, count: int, *, slower: float = 1.0, hiccups: float = 0.0, timeout_ms: float | None = None,
    **different: Any,
) -> Iterator[Pair]:  # fmt: skip
    """`durations` as pairs."""
    for took in durations(seed, count, slower=slower, hiccups=hiccups, timeout_ms=timeout_ms):
        live = {"live_first_byte_ms": took.live_ms * 0.9, "live_total_ms": took.live_ms}
        if took.cut:
            yield cut(took.shadow_ms, **live, **different)
        else:
            shadow = {"shadow_first_byte_ms": took.shadow_ms * 0.9, "shadow_total_ms": took.shadow_ms}
            yield pair(**shadow, **live, **different)
