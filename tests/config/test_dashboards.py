"""The dashboard and the rules that ship: every name in them is one of ours, and live and shadow share a scale."""

from __future__ import annotations

import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from understudy.proxy.telemetry.exposition import prometheus_name
from understudy.proxy.telemetry.families import TABLE

from tests.kit.dashboard import RULES, dashboard, expressions, grouped, panels, rules, selected

LABELS = {
    prometheus_name(each.name, each.unit, each.kind): {
        *each.attributes, "instance", "job", *(("le",) if each.kind == "histogram" else ())
    }
    for each in TABLE
}  # fmt: skip
RECORDED = {"route", "backend", "version", "role", "shadow"}
EXCHANGE = "http_server_request_duration_seconds"
CALL = "http_client_request_duration_seconds"
SHADOW = "understudy_shadow_request_duration_seconds"
DURATIONS = {EXCHANGE, CALL, SHADOW}
UNIT_TESTS = Path(__file__).parent / "rules-test.yaml"
ALL = [*(rule["expr"] for rule in rules()), *(each for panel in panels() for each in expressions(panel))]


@pytest.mark.parametrize("expression", ALL)
def test_names_and_labels_exist(expression: str) -> None:
    records = {rule["record"] for rule in rules() if "record" in rule}
    found = selected(expression, set(LABELS))
    assert found
    known: set[str] = set()
    for metric in found:
        assert metric.name in LABELS or metric.name in records, metric
        labels = LABELS.get(metric.name, RECORDED)
        assert metric.labels <= labels, metric
        known |= labels
    assert grouped(expression) <= known


def test_a_name_that_went_stale_is_found() -> None:
    (metric,) = selected('sum by (le) (rate(understudy_gone_seconds_bucket{rout="a"}[5m]))', set(LABELS))
    assert metric == ("understudy_gone_seconds", {"rout"})
    assert metric.name not in LABELS


def promtool(*words: str) -> None:
    done = subprocess.run(["promtool", *words], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_takes_the_rules() -> None:
    promtool("check", "rules", "--lint=all", "--lint-fatal", str(RULES))


def test_alerts_fire_after_their_time_and_not_before(tmp_path: Path) -> None:
    cases = tmp_path / "rules-test.yaml"
    cases.write_text(UNIT_TESTS.read_text().replace("RULES", str(RULES)))
    promtool("test", "rules", str(cases))


def test_every_alert_has_a_unit_test() -> None:
    text = UNIT_TESTS.read_text()
    for rule in rules():
        if "alert" in rule:
            assert f"alertname: {rule['alert']}\n" in text, rule["alert"]


def test_only_live_and_the_program_page_anybody() -> None:
    for rule in rules():
        if rule.get("labels", {}).get("severity") in ("page", "ticket"):
            assert "shadow" not in rule["expr"] and "pair" not in rule["expr"], rule["alert"]


def test_the_dashboard_is_one_that_grafana_takes() -> None:
    found = dashboard()
    ids = Counter(panel["id"] for panel in found["panels"])
    assert max(ids.values()) == 1
    assert {"uid", "title", "schemaVersion", "templating", "time"} <= found.keys()
    assert "id" not in found  # of one Grafana's database
    variables = {each["name"]: each for each in found["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    places: set[tuple[int, int]] = set()
    for panel in found["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        own = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not own & places, panel["title"]
        places |= own
    for panel in panels():
        assert panel["description"], panel["title"]
        for each in (panel, *panel["targets"]):
            assert each["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        refs = [target["refId"] for target in panel["targets"]]
        assert len(refs) == len(set(refs))
        for expression in expressions(panel):
            assert 'instance=~"$instance"' in expression, panel["title"]


def scales(panel: dict[str, Any]) -> set[str]:
    """What gives a series of a panel an axis or unit of its own."""
    changed = {each["id"] for override in panel["fieldConfig"]["overrides"] for each in override["properties"]}
    return changed & {"unit", "min", "max", "custom.axisPlacement", "custom.scaleDistribution"}


@pytest.mark.parametrize("panel", [each for each in panels() if each["type"] == "timeseries"], ids=lambda p: p["title"])
def test_live_and_shadow_are_on_one_scale(panel: dict[str, Any]) -> None:
    shadow = [each for each in expressions(panel) if "understudy_shadow_" in each]
    live = [each for each in expressions(panel) if each not in shadow]
    if shadow:
        assert len(shadow) == len(live), "a shadow's line means nothing without that of live"
    assert not scales(panel)


def timed(expressions: list[str]) -> set[str]:
    """The families of durations that these ask for."""
    return {each.name for expression in expressions for each in selected(expression, set(LABELS))} & DURATIONS


def test_what_stands_beside_a_shadow_is_the_call_and_not_what_a_client_made_of_it() -> None:
    recorded: dict[str, list[str]] = {}
    for rule in rules():
        if "record" in rule:
            recorded.setdefault(rule["record"], []).append(rule["expr"])
    for side_by_side in (*recorded.values(), *(expressions(panel) for panel in panels())):
        found = timed(side_by_side)
        if SHADOW in found and len(side_by_side) > 1:
            assert found == {CALL, SHADOW}


def test_alerts_on_what_callers_were_promised_ask_for_what_callers_saw() -> None:
    (slow,) = (rule for rule in rules() if rule.get("alert") == "UnderstudySlow")
    assert timed([slow["expr"]]) == {EXCHANGE}


def test_heatmaps_of_both_have_one_scale() -> None:
    """Shares of all calls, whatever part of them is mirrored: 0 to 1 in the same colours, over the same buckets."""
    live, shadow = (panel for panel in panels() if panel["type"] == "heatmap")
    for key in ("options", "fieldConfig"):
        assert live[key] == shadow[key]
    color = live["options"]["color"]
    assert (color["min"], color["max"], live["fieldConfig"]["defaults"]["unit"]) == (0, 1, "percentunit")
    assert live["gridPos"]["y"] == shadow["gridPos"]["y"]
    (of_live,), (of_shadow,) = expressions(live), expressions(shadow)
    assert of_live.replace(CALL, SHADOW) == of_shadow
    assert (timed([of_live]), timed([of_shadow])) == ({CALL}, {SHADOW})
