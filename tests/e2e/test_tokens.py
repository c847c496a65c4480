"""The tokens of llama.cpp: Understudy sees the first one when a client does, and the pace of live and of a shadow."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator
from contextlib import closing
from statistics import fmean, median
from time import monotonic

import pytest
from understudy.proxy.telemetry.tokens import TokenClock

from demo.lineup import Server
from tests.e2e.conftest import Served, model_server
from tests.e2e.exchange import Ask, Event, events
from tests.e2e.test_llama import chat
from tests.kit.ask import get, until
from tests.kit.program import Program
from tests.kit.rehearsing import pair_of, rehearsing

pytestmark = pytest.mark.e2e

Serve = Callable[[Server], Served]
STREAMS, TOKENS = 20, 40
NEAR_MS = 10.0  # a client and the proxy share two processors with two models


def has_content(event: Event) -> bool:
    """By a reading of its own."""
    if b"[DONE]" in event.data:
        return False
    choices = json.loads(event.data.removeprefix(b"data: "))["choices"]
    return bool(choices and choices[0]["delta"].get("content"))


ASKED = {
    "a chat": chat(stream=True, tokens=TOKENS),
    "a chat that tells its usage": chat(stream=True, tokens=TOKENS, stream_options={"include_usage": True}),
    "a completion": Ask(
        "POST", "/v1/completions", json.dumps({"prompt": "On stage", "max_tokens": TOKENS, "stream": True}).encode()
    ),
    "its own": Ask(
        "POST", "/completion", json.dumps({"prompt": "On stage", "n_predict": TOKENS, "stream": True}).encode()
    ),
}


@pytest.mark.parametrize("what", ASKED)
def test_every_token_that_is_generated_is_counted_and_nothing_else(serve: Serve, what: str) -> None:
    """The bytes as they come from its socket. Who speaks, why it ends and what was used are events, too."""
    clock, body, asked = TokenClock(), b"", ASKED[what]
    with closing(http.client.HTTPConnection(*serve("llama").direct, timeout=30)) as connection:
        connection.request(asked.method, asked.path, asked.body, dict(asked.headers))
        answer = connection.getresponse()
        while chunk := answer.read1():
            clock.take(chunk, monotonic())
            body += chunk
    assert clock.chunks == TOKENS
    assert 0 < clock.first < clock.last
    assert body.count(b"data: ") > TOKENS


@pytest.fixture(scope="module")
def program(serve: Serve, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """In front of the stable model, with the slower one as its shadow."""
    folder = tmp_path_factory.mktemp("tokens")
    live = f"http://127.0.0.1:{serve('llama').direct[1]}"
    with model_server("llama", folder, 2) as shadow:
        with rehearsing(folder, live, f"http://127.0.0.1:{shadow}", route="chat") as program:
            yield program


def test_the_first_token_and_the_pace_are_what_a_client_sees(program: Program) -> None:
    seen = [list(events(program.address("ingress"), ASKED["a chat"])) for _ in range(STREAMS)]
    times = [[event.at_s * 1000 for event in stream if has_content(event)] for stream in seen]
    assert [len(each) for each in times] == [TOKENS] * STREAMS
    first_ms = [each[0] for each in times]
    between_ms = [(each[-1] - each[0]) / (TOKENS - 1) for each in times]

    def measured(name: str) -> float:
        """Milliseconds, the mean."""
        found = {line.partition("{")[0]: float(line.split()[-1]) for line in page() if line.startswith(name)}
        assert found[f"{name}_seconds_count"] == STREAMS
        return found[f"{name}_seconds_sum"] / STREAMS * 1000

    def page() -> list[str]:
        return get(program.url("admin") + "/metrics")[1].splitlines()

    until(lambda: any(line.startswith("gen_ai") and line.endswith(f" {STREAMS}") for line in page()))
    pair = pair_of(program, lambda counts: counts["sent"] == STREAMS)
    assert -1 < fmean(first_ms) - measured("gen_ai_server_time_to_first_token") < NEAR_MS
    assert abs(fmean(between_ms) - measured("gen_ai_server_time_per_output_token")) < NEAR_MS / TOKENS
    first, between = (pair["latency_ms"][name] for name in ("time_to_first_token", "time_per_output_chunk"))
    assert first["ratio"]["pairs"] == between["ratio"]["pairs"] == STREAMS
    assert first["live"]["p50"] == pytest.approx(median(first_ms), abs=NEAR_MS)
    assert between["ratio"]["estimate"] > 1, "it computes more layers"


def test_the_first_event_of_a_chat_only_says_who_speaks(serve: Serve) -> None:
    first, second, *_ = events(serve("llama").direct, ASKED["a chat"])
    assert [has_content(first), has_content(second)] == [False, True]
