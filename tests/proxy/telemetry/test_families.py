"""The text exposition, read back by a strict reader of its grammar."""

from __future__ import annotations

import re
from collections import Counter
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from understudy.proxy.admin.measured import families_of
from understudy.proxy.giving_way import whole
from understudy.proxy.messages import Report
from understudy.proxy.status import Config, Process, Status
from understudy.proxy.telemetry.count import NEVER, CallTally
from understudy.proxy.telemetry.exposition import prometheus_name, render
from understudy.proxy.telemetry.families import TABLE, families
from understudy.proxy.telemetry.family import BOUNDS_S, Bounds, Family, Kind, Point, Sources
from understudy.proxy.telemetry.stats import MOST_KEYS, OVERFLOW, CallKey, CallStats, CopyStats, Stats, told
from understudy.proxy.telemetry.totals import Totals

from tests.kit.pairs import rehearsal, talks
from tests.kit.rehearsed import MIRRORED, rehearsed

SAMPLE = re.compile(r'([a-z_]+)(?:\{((?:[a-z_]+="(?:[^"\\\n]|\\["\\n])*",?)*)\})? (\S+)')  # noqa: TID251 - ours
LABEL = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')  # noqa: TID251 - ours
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


def page(
    shown: Status, calls: list[CallStats], copies: list[CopyStats] | None = None, bounds_s: tuple[float, ...] = BOUNDS_S
) -> str:
    return "".join(render(families(Sources(shown, calls, copies or [], 2, {"records": 7}, Bounds(bounds_s)))))


def test_a_page_is_of_the_grammar_and_counts_right() -> None:
    call = CallTally(CallKey("iris", "stable", "7"))
    call.in_flight = 3
    for seconds in (0.0005, 0.004, 0.004, 0.2, 400.0):
        call.record(200, None, seconds, seconds, 10, 20, seconds / 2)
    call.record(0, "client_gone", NEVER, 0.004, 1, 0)
    found = {(each.name, *each.labels.values()): each.value for each in read(page(status(), [told(call)]))}
    names = ("iris", "stable", "7", "")
    answered = (*names, "2xx")
    assert found["understudy_requests_total", *names, "200"] == 5
    assert found["understudy_requests_total", *names, "0"] == 1
    assert found["understudy_failures_total", *names, "client_gone", "client"] == 1
    assert found["http_server_active_requests", *names] == 3
    assert found["http_server_request_duration_seconds_bucket", *answered, "0.001"] == 1
    assert found["http_server_request_duration_seconds_bucket", *answered, "0.005"] == 3
    assert found["http_server_request_duration_seconds_bucket", *answered, "0.25"] == 4
    assert found["http_server_request_duration_seconds_bucket", *answered, "300.0"] == 4
    assert found["http_server_request_duration_seconds_bucket", *answered, "+Inf"] == 5
    assert found["http_server_request_duration_seconds_count", *answered] == 5
    assert found["http_server_request_duration_seconds_count", *names, "none"] == 1
    assert found["http_server_request_duration_seconds_sum", *answered] == pytest.approx(400.2085)
    assert found["http_client_request_duration_seconds_sum", *answered] == pytest.approx(200.10425)
    assert found["http_client_request_duration_seconds_count", *answered] == 5
    assert ("http_client_request_duration_seconds_count", *names, "none") not in found
    assert found["understudy_request_first_byte_seconds_count", *names] == 5
    assert found["understudy_request_body_bytes_total", *names] == 51
    assert found["understudy_worker_restarts_total",] == 5
    assert found["understudy_config_reloads_total", "rejected"] == 2
    assert found["understudy_events_total", "retries"] == 4
    assert found["understudy_ready",] == 1
    assert found["understudy_telemetry_dropped_total", "records"] == 7


def test_cpu_time_never_falls_when_a_worker_is_replaced() -> None:
    shown = status()
    for name, cpu_s in (("control", 3.0), ("worker-0", 0.25), ("worker-1", 2.0), ("worker-3", None)):
        shown.processes.append(Process(name, 1, "serving", 1.0, 1, cpu_s, None))
    sources = Sources(shown, [], [], 0, ended_cpu_s={"worker-0": 40.0, "worker-2": 7.0})
    found = {each.labels["process"]: each.value for each in read("".join(render(families(sources))))
             if each.name == "process_cpu_time_seconds_total"}  # fmt: skip
    assert found == {"control": 3.0, "worker-0": 40.25, "worker-1": 2.0, "worker-2": 7.0}, "that one starts anew soon"


@given(st.lists(st.floats(min_value=0, max_value=5000)))
def test_buckets_never_decrease(values_s: list[float]) -> None:
    call = CallTally(CallKey("r", "b", "1"))
    for value_s in values_s:
        call.record(200, None, value_s, value_s, 0, 0)
    name = "http_server_request_duration_seconds_bucket"
    counts = [each.value for each in read(page(status(), [told(call)])) if each.name == name]
    assert counts == sorted(counts)
    assert counts == [] if not values_s else (len(counts), counts[-1]) == (len(BOUNDS_S) + 1, len(values_s))


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029")))
def test_any_label_value_reads_back_as_it_was(value: str) -> None:
    text = "".join(render([Family("f", "", "counter", ("label",), "Help.", [Point((value,), (), 1)])]))
    assert read(text) == [Sample("f_total", {"label": value}, 1.0)]


def test_a_family_without_points_is_left_out() -> None:
    text = page(status(), [])
    assert "understudy_ready" in text
    assert "http_server_request_duration" not in text


@pytest.mark.parametrize(
    ("name", "unit", "kind", "expected"),
    [
        ("http.server.request.duration", "s", "histogram", "http_server_request_duration_seconds"),
        ("understudy.request.body", "By", "counter", "understudy_request_body_bytes_total"),
        ("understudy.mirror.copies", "{copy}", "counter", "understudy_mirror_copies_total"),
        ("understudy.pair.latency_ratio", "1", "gauge", "understudy_pair_latency_ratio"),
        ("understudy.split.hottest_key", "1", "gauge", "understudy_split_hottest_key_ratio"),
        ("http.server.active_requests", "{request}", "updown", "http_server_active_requests"),
        ("process.cpu.time", "s", "counter", "process_cpu_time_seconds_total"),
    ],
)
def test_names_are_translated_as_opentelemetry_says(name: str, unit: str, kind: Kind, expected: str) -> None:
    assert prometheus_name(name, unit, kind) == expected


def test_no_two_families_have_one_name() -> None:
    assert len({prometheus_name(each.name, each.unit, each.kind) for each in TABLE}) == len(TABLE)


def test_a_configuration_with_more_names_than_are_counted_stays_within_the_bound() -> None:
    stats, totals = Stats(), Totals()
    for number in range(MOST_KEYS + 500):
        stats.call(f"route-{number}", "stable", "7").record(200, None, 0.01, 0.01, 1, 1, 0.01)
    totals.update(0, Report(stats.take_changed(), stats.counters, None, 0.0))
    shown = status()
    shown.counters = totals.counters()
    samples = read(page(shown, list(totals.calls().values())))
    counted = Counter(each.name for each in samples if each.name.startswith("http_") and each.name.endswith("_count"))
    assert set(counted.values()) == {MOST_KEYS + 1}
    requests = {each.labels["route"]: each.value for each in samples if each.name == "understudy_requests_total"}
    assert requests.pop(OVERFLOW) == 500
    assert set(requests.values()) == {1}
    assert next(each.value for each in samples if each.labels == {"event": "metrics_overflow"}) == 500


def test_buckets_are_those_of_the_configuration() -> None:
    text = MIRRORED + "telemetry: {metrics: {buckets: [0.02, 7, 1000]}}\n"
    with rehearsed(text) as fed:
        for seconds in (0.01, 3, 999, 2000):
            fed.stats.call("iris", "stable", "7").record(200, None, seconds, seconds, 1, 1)
        fed.tell()
        samples = read("".join(render(whole(families_of(fed.control)))))
    name = "http_server_request_duration_seconds_bucket"
    assert {each.labels["le"]: each.value for each in samples if each.name == name} == {
        "0.02": 1, "7.0": 2, "1000.0": 3, "+Inf": 4
    }  # fmt: skip


def test_copies_shadows_pairs_and_splits_have_families_of_their_own() -> None:
    with rehearsed(MIRRORED) as fed:
        fed.stats.call("iris", "stable", "7").record(200, None, 0.01, 0.01, 1, 1)
        shadow = fed.stats.call("iris", "next", "", "shadow")
        shadow.record(500, None, 0.01, 0.02, 1, 1)
        shadow.record(0, "shadow_error", -1.0, 0.01, 1, 0)
        copies = fed.stats.copies_of("iris", "next")
        copies.exchanges, copies.selected, copies.sent, copies.complete, copies.censored = 19, 11, 9, 4, 1
        copies.dropped, copies.failed = {"body_too_large": 2}, {"body_too_large": 3, "shadow_error": 1}
        copies.held_bytes, copies.breaker = 77, "probing"
        keys = fed.stats.key_use("e")
        for hashed in (1, 1, 1, 2):
            keys.note(hashed)
        keys.missing, keys.issued = 6, 5
        fed.tell(rehearsal(1, 3000, slower=1.5, shadow_version=""))
        totals, shown = fed.control.totals, fed.status()
        text = page(shown, list(totals.calls().values()), list(totals.copies().values()))
    found = {(each.name, *each.labels.values()): each.value for each in read(text)}
    assert {key[4:]: value for key, value in found.items() if key[0] == "understudy_requests_total"} == {("", "200"): 1}
    assert not any(key[0] == "understudy_failures_total" for key in found)
    shadows = ("iris", "next", "")
    assert found["understudy_shadow_requests_total", *shadows, "500"] == 1
    assert found["understudy_shadow_requests_total", *shadows, "0"] == 1
    assert found["understudy_shadow_failures_total", *shadows, "shadow_error"] == 1
    assert found["understudy_shadow_request_duration_seconds_count", *shadows, "5xx"] == 1
    assert found["understudy_shadow_request_duration_seconds_count", *shadows, "none"] == 1
    assert not any(key[0].startswith("http_client") and "next" in key for key in found)
    assert found["understudy_mirror_exchanges_total", "iris", "next"] == 19
    assert found["understudy_mirror_selected_total", "iris", "next"] == 11
    outcomes = {key[3]: value for key, value in found.items() if key[0] == "understudy_mirror_copies_total"}
    assert outcomes == {"complete": 4, "censored": 1, "body_too_large": 5, "shadow_error": 1}
    assert found["understudy_mirror_held_bytes", "iris", "next"] == 77
    assert found["understudy_mirror_breaker", "iris", "next"] == 1
    pair = ("iris", "stable@7", "next")
    bounds = [found["understudy_pair_latency_ratio", *pair, "total", bound] for bound in ("low", "estimate", "high")]
    assert sorted(bounds) == bounds
    assert bounds[1] == pytest.approx(1.5, rel=0.05)
    assert found["understudy_pair_compared", *pair] == 3000
    verdicts = {key[4]: value for key, value in found.items() if key[0] == "understudy_pair_verdict"}
    assert verdicts == {"slower": 1, "faster": 0, "same": 0, "undecided": 0}
    assert found["understudy_split_keys_total", "e", "present"] == 4
    assert found["understudy_split_keys_total", "e", "missing"] == 6
    assert found["understudy_split_keys_issued_total", "e"] == 5
    assert found["understudy_split_hottest_key_ratio", "e"] == 0.75
    assert found["understudy_epoch",] == 1


def test_tokens_of_live_and_shadow_are_told_where_there_were_any() -> None:
    with rehearsed(MIRRORED) as fed:
        live, shadow = fed.stats.call("iris", "stable", "7"), fed.stats.call("iris", "next", "", "shadow")
        for call, first_s in ((live, 0.2), (shadow, 0.3)):
            call.record_stream(first_s, 0.01)
            call.record_stream(first_s, NEVER)  # all its tokens came at once
            call.record(200, None, 0.01, 0.5, 1, 1)
        fed.stats.call("iris", "stable", "7", "live", "a").record(200, None, 0.01, 0.5, 1, 1)
        fed.tell(talks(1, 200, first=1.5, between=0.8, shadow_version=""))
        text = page(fed.status(), list(fed.control.totals.calls().values()))
    found = {(each.name, *each.labels.values()): each.value for each in read(text)}
    assert found["gen_ai_server_time_to_first_token_seconds_sum", "iris", "stable", "7", ""] == pytest.approx(0.4)
    assert found["gen_ai_server_time_per_output_token_seconds_count", "iris", "stable", "7", ""] == 1
    assert ("gen_ai_server_time_to_first_token_seconds_count", "iris", "stable", "7", "a") not in found
    named = ("iris", "next", "")
    assert found["understudy_shadow_request_time_to_first_token_seconds_sum", *named] == pytest.approx(0.6)
    assert found["understudy_shadow_request_time_per_output_chunk_seconds_sum", *named] == pytest.approx(0.01)
    pair, about = ("understudy_pair_latency_ratio", "iris", "stable@7", "next"), pytest.approx
    assert found[*pair, "time_to_first_token", "estimate"] == about(1.5, rel=0.05)
    assert found[*pair, "time_per_output_chunk", "estimate"] == about(0.8, rel=0.05)
    quantile = ("understudy_latency_quantile_seconds", "iris", "stable", "7", "live")
    assert found[*quantile, "time_to_first_token", "0.99"] == about(0.2, rel=0.02)
