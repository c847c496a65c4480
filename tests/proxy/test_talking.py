"""Streams through the whole program: a shadow that begins later and talks slower is found to."""

from __future__ import annotations

import http.client
import json
import threading
from pathlib import Path
from typing import Any

from tests.kit.ask import get, understudy, until
from tests.kit.program import Program, running
from tests.kit.talking import talking

CONFIG = """\
listeners: {ingress: {bind: 127.0.0.1:0}}
admin: {bind: 127.0.0.1:0}
backends:
  stable: {endpoints: [LIVE], version: "7"}
  next: {endpoints: [SHADOW], version: "9"}
routes:
  - name: chat
    match: {path_prefix: /}
    backend: stable
    filters:
      - {type: mirror, to: [{backend: next}]}
"""
FIRST_S, BETWEEN_S, WORDS = 0.04, 0.01, 5
LATER, SLOWER = 3.0, 2.0
STREAMS, CLIENTS = 120, 8


def load(program: Program) -> None:
    """So many chats over a few connections."""

    def one_client() -> None:
        connection = http.client.HTTPConnection(*program.address("ingress"), timeout=20)
        for _ in range(STREAMS // CLIENTS):
            connection.request("POST", "/v1/chat/completions", body=b"{}")
            answer = connection.getresponse()
            assert answer.status == 200
            assert answer.read().count(b'"content": " word"') == WORDS
        connection.close()

    clients = [threading.Thread(target=one_client) for _ in range(CLIENTS)]
    for each in clients:
        each.start()
    for each in clients:
        each.join()


def compared(program: Program) -> dict[str, Any]:
    """The one comparison, once all its pairs are in."""

    def pairs() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(get(program.url("admin") + "/compare")[1])["pairs"]
        return found

    until(lambda: any(each["counts"]["compared"] == STREAMS for each in pairs()))
    (pair,) = pairs()
    return pair


def test_the_ratio_of_the_first_token_and_of_the_pace_is_what_the_shadow_was_made_to_take(tmp_path: Path) -> None:
    """A busy machine adds the same to both calls, which makes a ratio smaller."""
    with talking(FIRST_S, BETWEEN_S, WORDS) as live, talking(FIRST_S * LATER, BETWEEN_S * SLOWER, WORDS) as shadow:
        text = CONFIG.replace("LIVE", live).replace("SHADOW", shadow)
        with running(text, tmp_path) as program:
            load(program)
            latency = compared(program)["latency_ms"]
            until(lambda: "STREAMS" in understudy("status", "--admin", program.url("admin"), folder=tmp_path).stdout)
            screen = understudy("status", "--admin", program.url("admin"), folder=tmp_path).stdout.splitlines()
    first, between, head = (
        latency[name] for name in ("time_to_first_token", "time_per_output_chunk", "first_byte")
    )  # fmt: skip
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
