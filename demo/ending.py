"""What the demo came to, in one sentence for whoever trained the shadow."""

from __future__ import annotations

from typing import Any

from .processes import Failed
from .view import Times

NOTICED_MS = 1.0
"""A difference between medians that a client could notice."""


def busiest(compare: dict[str, Any]) -> dict[str, Any]:
    """Of `GET /compare`, the comparison with the most pairs. Raises Failed where there is none."""
    if not compare["pairs"]:
        raise Failed("nothing was compared")
    pair: dict[str, Any] = max(compare["pairs"], key=lambda pair: pair["counts"]["compared"])
    return pair


def sentence(pair: dict[str, Any], why: str, heard: Times, unheard: Times) -> str:
    """The verdict on the shadow, why it is no surprise, and what clients noticed."""
    live, shadow = (f"{pair[side]['backend']}@{pair[side]['version']}" for side in ("live", "shadow"))
    return (
        f"{shadow} is {_verdict(pair, live)}: it {why}.\n"
        f"{_noticed(heard, unheard)}: {_times(heard)} while {shadow} heard everything,\n"
        f"{_times(unheard)} while it heard nothing."
    )


def _times(times: Times) -> str:
    return f"p50 {times.p50_ms:.1f} and p99 {times.p99_ms:.1f} ms ({times.answers:,} answers)"


def _verdict(pair: dict[str, Any], live: str) -> str:
    """After "next@9 is"."""
    ratio = pair["latency_ms"]["total"]["ratio"]
    sure = f"95 % sure after {pair['counts']['compared']:,} pairs, however often one looked"
    if ratio["low"] is None:
        return f"not compared with {live} yet, {ratio['pairs']} pairs being too few"
    low, high = ratio["low"], ratio["high"]
    match pair["verdict"]["state"]:
        case "slower":
            return f"slower than {live} by {100 * (low - 1):.0f} to {100 * (high - 1):.0f} % ({sure})"
        case "faster":
            return f"faster than {live} by {100 * (1 - high):.0f} to {100 * (1 - low):.0f} % ({sure})"
        case "same":
            return f"as fast as {live}, {low:.2f} to {high:.2f} of its time ({sure})"
        case _:
            return f"at {low:.2f} to {high:.2f} of the time of {live}, which decides nothing yet ({sure})"


def _noticed(heard: Times, unheard: Times) -> str:
    """A client notices a median that moved by a millisecond, or a p99 whose bounds are above those without."""
    if heard.p50_ms - unheard.p50_ms >= NOTICED_MS or heard.p99_low_ms > unheard.p99_high_ms:
        return "Clients waited longer meanwhile, for all models share this machine's CPUs"
    return "Clients noticed nothing"
