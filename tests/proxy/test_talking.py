"""Streams through the whole program: a shadow that begins later and talks slower is found to."""

from __future__ import annotations

from pathlib import Path

from tests.kit.ask import understudy, until
from tests.kit.rehearsing import answers, pair_of, rehearsing
from tests.kit.talking import WORD, talking

FIRST_S, BETWEEN_S, WORDS = 0.04, 0.01, 5
LATER, SLOWER = 3.0, 2.0
STREAMS, CLIENTS = 120, 8


def test_the_ratio_of_the_first_token_and_of_the_pace_is_what_the_shadow_was_made_to_take(tmp_path: Path) -> None:
    """A busy machine adds the same to both calls, which makes a ratio smaller."""
    with talking(FIRST_S, BETWEEN_S, WORDS) as live, talking(FIRST_S * LATER, BETWEEN_S * SLOWER, WORDS) as shadow:
        with rehearsing(tmp_path, live, shadow, route="chat") as program:
            heard = answers(program, STREAMS, CLIENTS, "/v1/chat/completions", b"{}")
            latency = pair_of(program, lambda counts: counts["compared"] == STREAMS)["latency_ms"]
            until(lambda: "STREAMS" in understudy("status", "--admin", program.url("admin"), folder=tmp_path).stdout)
            screen = understudy("status", "--admin", program.url("admin"), folder=tmp_path).stdout.splitlines()
    first, between, head = (
        latency[name] for name in ("time_to_first_token", "time_per_output_chunk", "first_byte")
    )  # fmt: skip
    assert [each.count(WORD) for each in heard] == [WORDS] * STREAMS
    assert first["ratio"]["pairs"] == between["ratio"]["pairs"] == STREAMS
    assert 0.5 * LATER < first["ratio"]["estimate"] < 1.2 * LATER
    assert 0.6 * SLOWER < between["ratio"]["estimate"] < 1.2 * SLOWER
    assert first["ratio"]["low"] > 1 < between["ratio"]["low"]
    assert first["live"]["p50"] >= 0.98 * FIRST_S * 1000 > head["live"]["p50"], "who speaks is no token"
    assert first["shadow"]["p50"] >= 0.98 * FIRST_S * LATER * 1000
    assert [line.split()[:4] for line in screen if line.startswith("chat") and "first token" in line] == [
        ["chat", "stable@7", "next@9", "first"]
    ]
    at = next(number for number, line in enumerate(screen) if line.startswith("STREAMS"))
    assert [line.split()[:4] for line in screen[at + 1 : at + 3]] == [
        ["chat", "stable", "7", "live"], ["chat", "next", "9", "shadow"],
    ]  # fmt: skip
