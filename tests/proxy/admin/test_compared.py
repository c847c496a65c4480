"""/compare and /status of a control fed by hand: the shape that the contract draws, shares, arms, keys, warnings."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
from understudy.proxy.admin.views import status_of
from understudy.proxy.giving_way import whole
from understudy.proxy.processes import usage
from understudy.proxy.status import Status
from understudy.proxy.worker_process import WorkerProcess

from tests.kit.pairs import cut, dropped, pair, rehearsal, talks
from tests.kit.rehearsed import Rehearsed, rehearsed

CONFIG = """\
listeners: {ingress: {bind: 127.0.0.1:7080}}
admin: {bind: 127.0.0.1:7081}
backends:
  stable: {endpoints: [http://127.0.0.1:9001], version: "7"}
  canary: {endpoints: [http://127.0.0.1:9002], version: "8"}
  next: {endpoints: [http://127.0.0.1:9003], version: "9"}
routes:
  - name: iris
    match: {path_prefix: /}
    backend: stable
    filters:
      - type: split
        experiment: ranker-v2
        key: {header: x-user-id}
        arms: {stable: 90, canary: {weight: 9}, tuned: {backend: stable, weight: 1}}
      - {type: mirror, to: [{backend: next, percent: 50, tolerance: 2.5}], budget: {requests: 100}}
"""
LIVE = {"p50", "p90", "p99"}
RATIO = {"estimate", "low", "high", "level", "method"}


def serve(fed: Rehearsed, backend: str, version: str, arm: str, *, count: int = 0, status: int = 200) -> None:
    call = fed.stats.call("iris", backend, version, "live", arm)
    for _ in range(count):
        call.record(status, None, 0.009, 0.010, 1, 1)


def compare(fed: Rehearsed) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(msgspec.json.encode(fed.compare()))
    return found


def calls(status: Status) -> dict[tuple[str, str, str], tuple[float | None, float | None]]:
    found = {(call.backend, call.version, call.role): (call.want, call.got) for call in status.calls}
    assert len(found) == len(status.calls)
    return found


def test_the_document_has_every_field_of_the_contract() -> None:
    with rehearsed(CONFIG) as fed:
        serve(fed, "stable", "7", "stable", count=8)
        fed.tell([*rehearsal(1, 150), cut(30.0), pair(tainted=True), dropped("budget_bytes")])
        found = compare(fed)
    assert found["schema"] == "understudy.compare/1"
    assert found.keys() >= {"schema", "instance", "generated", "epoch", "pairs", "arms"}
    assert found["epoch"].keys() == {"id", "since", "why"}
    (each,) = found["pairs"]
    assert each.keys() >= {
        "route", "live", "shadow", "calibration", "counts", "latency_ms", "status", "verdict", "state",
    }  # fmt: skip
    assert each["live"] == {"backend": "stable", "version": "7"}
    assert each["counts"].keys() >= {
        "exchanges", "selected", "sent", "complete", "censored", "tainted", "dropped",
    }  # fmt: skip
    assert each["counts"]["exchanges"] == each["counts"]["selected"] == 153  # the sums of calls are a second behind
    assert each["latency_ms"].keys() >= {"total", "first_byte", "time_to_first_token", "time_per_output_chunk"}
    for measure in (each["latency_ms"]["total"], each["latency_ms"]["first_byte"]):
        assert measure["live"].keys() == LIVE
        assert measure["shadow"].keys() >= LIVE | {"p99_is_lower_bound"}
        assert measure["ratio"].keys() >= RATIO
        assert measure["ratio"]["level"] == 0.95
    assert each["status"].keys() == {"agree", "matrix"}
    assert each["verdict"] == {"state": "undecided", "tolerance": 0.025}
    assert found["arms"][0].keys() >= {
        "route", "experiment", "arm", "backend", "version", "want", "got", "requests", "errors", "latency_ms",
    }  # fmt: skip


def test_what_is_unknown_is_null() -> None:
    with rehearsed(CONFIG) as fed:
        fed.tell([dropped("budget_bytes")])
        found = compare(fed)
    (each,) = found["pairs"]
    total = each["latency_ms"]["total"]
    assert (total["ratio"]["estimate"], total["live"]["p50"], total["shadow"]["p99"]) == (None, None, None)
    assert (each["status"]["agree"], each["latency_ms"]["time_to_first_token"]) == (None, None)
    assert [(arm["got"], arm["requests"], arm["latency_ms"]["total"]["p50"]) for arm in found["arms"]] == [
        (None, 0, None)
    ] * 3


def test_arms_want_and_get_shares_of_their_split_alone() -> None:
    with rehearsed(CONFIG) as fed:
        serve(fed, "stable", "7", "stable", count=17)
        serve(fed, "stable", "7", "tuned", count=1, status=503)
        serve(fed, "canary", "8", "canary", count=2)
        serve(fed, "canary", "8", "", count=50)  # chosen by a flag
        fed.tell()
        shown = {(arm["arm"], arm["backend"]): arm for arm in compare(fed)["arms"]}
        wanted = {key: (arm["want"], arm["got"], arm["requests"], arm["errors"]) for key, arm in shown.items()}
        assert wanted == {
            ("stable", "stable"): (0.9, 0.85, 17, 0),
            ("canary", "canary"): (0.09, 0.1, 2, 0),
            ("tuned", "stable"): (0.01, 0.05, 1, 1),
        }
        assert shown["stable", "stable"]["latency_ms"]["total"]["p99"] > 9
        assert calls(fed.status()) == {
            ("stable", "7", "live"): (0.91, 0.9),
            ("canary", "8", "live"): (0.09, 0.1),
        }


def test_a_backend_is_one_call_whichever_arm_or_flag_chose_it() -> None:
    with rehearsed(CONFIG) as fed:
        serve(fed, "stable", "7", "stable", count=17)
        serve(fed, "stable", "7", "tuned", count=3, status=503)
        serve(fed, "stable", "7", "", count=5)  # chosen by a flag
        fed.stats.call("iris", "stable", "7", "live", "tuned").in_flight = 2
        fed.tell()
        (call,) = fed.status().calls
    assert (call.requests, call.statuses, call.in_flight) == (25, {"200": 22, "503": 3}, 2)
    assert call.errors_ratio == 0.12
    assert call.total_ms.p99 is not None


def test_what_streams_add_is_told_of_calls_and_of_pairs() -> None:
    with rehearsed(CONFIG) as fed:
        for backend, version, role, first_s in (("stable", "7", "live", 0.2), ("next", "9", "shadow", 0.3)):
            call = fed.stats.call("iris", backend, version, role)  # type: ignore[arg-type]
            call.record_stream(first_s, 0.012)
            call.record(200, None, 0.01, 2.0, 1, 1)
        serve(fed, "canary", "8", "", count=1)
        fed.tell(talks(1, 150, first=1.5))
        status, (pair,) = fed.status(), compare(fed)["pairs"]
    shown = {call.backend: (call.first_token_ms.p50, call.per_chunk_ms.p99) for call in status.calls}
    about = pytest.approx
    assert shown == {
        "stable": (about(200, rel=0.02), about(12, rel=0.02)), "next": (about(300, rel=0.02), about(12, rel=0.02)),
        "canary": (None, None),
    }  # fmt: skip
    first, between = (pair["latency_ms"][name] for name in ("time_to_first_token", "time_per_output_chunk"))
    assert first["ratio"]["low"] < 1.5 < first["ratio"]["high"]
    assert between["ratio"]["low"] < 1 < between["ratio"]["high"]
    assert first.keys() == between.keys() == {"live", "shadow", "ratio"}


def test_shares_arms_and_exchanges_are_of_the_epoch() -> None:
    with rehearsed(CONFIG) as fed:
        serve(fed, "stable", "7", "stable", count=100)
        copies = fed.stats.copies_of("iris", "next")
        copies.exchanges = copies.selected = copies.sent = 100
        copies.dropped = {"budget_bytes": 7}
        fed.tell([pair()] * 3)
        fed.control.begin_epoch("reset")
        serve(fed, "canary", "8", "canary", count=4)
        fed.stats.call("iris", "next", "9", "shadow").record(200, None, 0.1, 0.1, 1, 1)
        copies.exchanges, copies.selected, copies.sent = 104, 103, 101
        copies.dropped = {"budget_bytes": 9}
        fed.tell([pair(live="canary", live_version="8")] * 2)
        found, status = compare(fed), fed.status()
    assert {arm["arm"]: (arm["got"], arm["requests"]) for arm in found["arms"]} == {
        "stable": (0.0, 0), "canary": (1.0, 4), "tuned": (0.0, 0),
    }  # fmt: skip
    (each,) = found["pairs"]
    assert (each["live"]["backend"], each["counts"]["exchanges"], each["counts"]["selected"]) == ("canary", 4, 2)
    assert calls(status)["next", "9", "shadow"] == (0.5, 0.25)
    (shown,) = status.copies
    assert (shown.exchanges, shown.selected, shown.sent, shown.dropped) == (4, 3, 1, {"budget_bytes": 2})


def test_a_version_that_is_gone_wants_nothing() -> None:
    with rehearsed(CONFIG) as fed:
        serve(fed, "stable", "7", "stable", count=10)
        fed.tell([pair()] * 10)
        fed.serve(CONFIG.replace('version: "7"', 'version: "8"'), version=2)
        serve(fed, "stable", "8", "stable", count=4)
        fed.tell([pair(config=2, live_version="8")] * 4)
        assert calls(fed.status()) == {
            ("stable", "7", "live"): (None, None),
            ("stable", "8", "live"): (0.91, 1.0),
        }
        (each,) = compare(fed)["pairs"]
        assert (each["live"]["version"], each["counts"]["exchanges"]) == ("8", 4)


def test_a_shadow_s_places_are_its_share_of_the_budget() -> None:
    two = CONFIG.replace("to: [{", "to: [{backend: canary}, {")
    with rehearsed(two) as fed:
        fed.stats.call("iris", "next", "9", "shadow").record(200, None, 0.1, 0.1, 1, 1)
        fed.stats.call("iris", "canary", "8", "live").record(200, None, 0.1, 0.1, 1, 1)
        fed.tell()
        places = {(call.backend, call.role): call.max_in_flight for call in fed.status().calls}
    assert places == {("next", "shadow"): 50, ("canary", "live"): 1024}


def test_a_shadow_s_places_are_those_of_all_workers_together() -> None:
    with rehearsed(CONFIG.replace("requests: 100", "requests: 256") + "workers: 3\n") as fed:
        hung = fed.stats.call("iris", "next", "9", "shadow")
        hung.in_flight = 3 * 85
        fed.tell()
        whole(fed.control.recent.tick(0.0))
        whole(fed.control.recent.tick(10.0))
        assert [call.max_in_flight for call in fed.status().calls if call.role == "shadow"] == [255]
        assert "as many copies are in flight as its budget allows (255)" in fed.status().warnings[0]


def test_a_shadow_that_hangs_is_warned_of_before_its_calls_run_out_of_time() -> None:
    with rehearsed(CONFIG) as fed:
        hung = fed.stats.call("iris", "next", "9", "shadow")
        hung.in_flight = 100
        fed.tell()
        whole(fed.control.recent.tick(0.0))
        whole(fed.control.recent.tick(10.0))
        assert fed.status().warnings == [
            "shadow next of iris answers nothing, and as many copies are in flight as its budget allows (100):"
            " it gets no more"
        ]
        hung.in_flight = 99
        fed.tell()
        assert fed.status().warnings == []
        hung.in_flight = 100
        hung.record(200, None, 1.0, 1.0, 1, 1)
        fed.tell()
        whole(fed.control.recent.tick(11.0))
        assert fed.status().warnings == []


def test_a_worker_that_tells_nothing_is_not_said_to_serve() -> None:
    with rehearsed(CONFIG) as fed:
        worker = SimpleNamespace(
            name="worker-0", pid=1, serving_version=1, silent_ticks=4, age_s=60.0, lag_s=0.0, usage=lambda: usage(1)
        )
        fed.control.supervisor.workers[0] = cast(WorkerProcess, worker)
        assert [each.state for each in whole(status_of(fed.control))[0].processes][1:] == ["serving"]
        worker.silent_ticks = 5
        status, _ = whole(status_of(fed.control))
        assert [each.state for each in status.processes][1:] == ["silent"]
        assert "worker-0 (pid 1) has said nothing for some seconds: who is connected to it waits" in status.warnings


def test_a_key_that_most_requests_share_is_warned_of_and_a_fair_spread_is_not() -> None:
    with rehearsed(CONFIG) as fed:
        spread, constant = fed.stats.key_use("spread"), fed.stats.key_use("constant")
        for number in range(2000):
            spread.note(number % 500)
            constant.note(number % 3)
        spread.missing, constant.missing = 1999, 2001
        fed.tell()
        status = fed.status()
    assert {each.experiment: (each.requests, each.missing) for each in status.keys} == {
        "constant": (2000, 2001), "spread": (2000, 1999),
    }  # fmt: skip
    assert status.warnings == [
        "experiment constant: 33 % of requests carry one and the same key, in one arm",
        "experiment constant: 50 % of requests carry no key",
    ]


def test_status_and_compare_say_the_same_but_for_the_state() -> None:
    with rehearsed(CONFIG) as fed:
        serve(fed, "stable", "7", "stable", count=8)
        fed.tell(rehearsal(1, 150))
        shown = json.loads(msgspec.json.encode(fed.status()))["comparison"]
        found = compare(fed)
    for each in [*found["pairs"], *found["arms"]]:
        del each["state"]
    assert shown | {"generated": 0} == found | {"generated": 0}
