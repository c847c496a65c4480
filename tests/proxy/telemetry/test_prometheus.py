"""The text exposition, read back by a strict reader of its grammar."""

from __future__ import annotations

import re
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from understudy.proxy.status import Config, Status
from understudy.proxy.telemetry.count import NEVER, CallTally
from understudy.proxy.telemetry.exposition import BOUNDS_S, Exposition
from understudy.proxy.telemetry.prometheus import render
from understudy.proxy.telemetry.stats import CallKey, told

SAMPLE = re.compile(r'([a-z_]+)(?:\{((?:[a-z]+="(?:[^"\\\n]|\\["\\n])*",?)*)\})? (\S+)')  # noqa: TID251 - ours
LABEL = re.compile(r'([a-z]+)="((?:[^"\\]|\\.)*)"')  # noqa: TID251 - ours
UNESCAPED = {'\\"': '"', "\\\\": "\\", "\\n": "\n"}


class Sample(NamedTuple):
    name: str
    labels: dict[str, str]
    value: float


def read(text: str) -> list[Sample]:
    """Every sample; AssertionError for a line out of the grammar, or a sample before its HELP and TYPE."""
    samples: list[Sample] = []
    family = ""
    assert text.endswith("\n")
    lines = text.removesuffix("\n").split("\n")
    for number, line in enumerate(lines):
        if line.startswith("# HELP "):
            family = line.split(" ")[2]
            assert re.fullmatch(rf"# TYPE {family} (counter|gauge|histogram)", lines[number + 1])
        elif not line.startswith("# TYPE "):
            found = SAMPLE.fullmatch(line)
            assert found, line
            assert found[1].startswith(family)
            labels = {name: re.sub(r"\\.", lambda at: UNESCAPED[at[0]], v) for name, v in LABEL.findall(found[2] or "")}
            samples.append(Sample(found[1], labels, float(found[3])))
    keys = [(sample.name, tuple(sample.labels.items())) for sample in samples]
    assert len(keys) == len(set(keys))
    return samples


def status() -> Status:
    config = Config("f", "abc", 3, "2026-01-01T00:00:00Z", None)
    return Status("s", "0.1.0", "i", "g", "ready", 1.0, 2, 2, 5, config, [], [], [], [], {"retries": 4}, [], 7, [], [])


def test_a_page_is_of_the_grammar_and_counts_right() -> None:
    call = CallTally(CallKey("iris", "stable", "7"))
    call.in_flight = 3
    for seconds in (0.0005, 0.004, 0.004, 0.2, 400.0):
        call.record(200, None, seconds, seconds, 10, 20)
    call.record(0, "client_gone", NEVER, 0.004, 1, 0)
    found = {
        (each.name, *each.labels.values()): each.value for each in read(render(status(), [told(call)], [], rejected=2))
    }
    names = ("iris", "stable", "7", "")
    assert found["understudy_requests_total", *names, "200"] == 5
    assert found["understudy_requests_total", *names, "0"] == 1
    assert found["understudy_failures_total", *names, "client_gone", "client"] == 1
    assert found["understudy_requests_in_flight", *names] == 3
    assert found["understudy_request_duration_seconds_bucket", *names, "0.001"] == 1
    assert found["understudy_request_duration_seconds_bucket", *names, "0.005"] == 4
    assert found["understudy_request_duration_seconds_bucket", *names, "0.25"] == 5
    assert found["understudy_request_duration_seconds_bucket", *names, "300.0"] == 5
    assert found["understudy_request_duration_seconds_bucket", *names, "+Inf"] == 6
    assert found["understudy_request_duration_seconds_count", *names] == 6
    assert found["understudy_request_duration_seconds_sum", *names] == pytest.approx(400.2125)
    assert found["understudy_request_first_byte_seconds_count", *names] == 5
    assert found["understudy_request_body_bytes_total", *names] == 51
    assert found["understudy_worker_restarts_total",] == 5
    assert found["understudy_config_reloads_total", "rejected"] == 2
    assert found["understudy_events_total", "retries"] == 4
    assert found["understudy_ready",] == 1
    assert found["understudy_telemetry_dropped_total", "records"] == 7


@given(st.lists(st.floats(min_value=0, max_value=5000)))
def test_buckets_never_decrease(values_s: list[float]) -> None:
    call = CallTally(CallKey("r", "b", "1"))
    for value_s in values_s:
        call.record(200, None, value_s, value_s, 0, 0)
    name = "understudy_request_duration_seconds_bucket"
    counts = [each.value for each in read(render(status(), [told(call)], [], 0)) if each.name == name]
    assert counts == sorted(counts)
    assert (len(counts), counts[-1]) == (len(BOUNDS_S) + 1, len(values_s))


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029")))
def test_any_label_value_reads_back_as_it_was(value: str) -> None:
    out = Exposition()
    out.family("f_total", "counter", "Help.", [({"label": value}, 1)])
    assert read(out.text()) == [Sample("f_total", {"label": value}, 1.0)]


def test_a_family_without_samples_is_left_out() -> None:
    out = Exposition()
    out.family("a", "gauge", "Help.", [({}, None)])
    out.histogram("b", "Help.", [])
    assert out.text() == "\n"
