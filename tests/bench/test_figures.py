"""Percentiles, medians and verdicts: small enough to be checked by hand."""

from __future__ import annotations

import pytest

from bench.loopback.figures import median, percentile
from bench.loopback.reach import TARGETS, Target, judge, medians_of


def test_a_percentile_is_the_smallest_sample_that_so_many_do_not_exceed() -> None:
    hundred = list(range(100, 0, -1))
    assert percentile(hundred, 50) == 50
    assert percentile(hundred, 99) == 99
    assert percentile(hundred, 100) == 100
    assert percentile([7.0], 1) == 7.0
    assert percentile([1.0, 2.0, 3.0], 50) == 2.0
    assert percentile([1.0, 2.0, 3.0, 4.0], 50) == 2.0  # never 2.5, which did not happen


def test_one_late_answer_in_fifty_is_the_p99_and_one_in_two_hundred_is_not() -> None:
    assert percentile([1.0] * 49 + [900.0], 99) == 900.0
    assert percentile([1.0] * 199 + [900.0], 99) == 1.0


@pytest.mark.parametrize("percent", [0, -1, 100.1])
def test_percentiles_outside_their_range_are_refused(percent: float) -> None:
    with pytest.raises(ValueError, match="percent is"):
        percentile([1.0], percent)


def test_no_samples_have_no_percentile() -> None:
    with pytest.raises(ValueError, match="no samples"):
        percentile([], 50)


def test_the_median_of_rounds_forgets_one_disturbed_round() -> None:
    assert median([20.0, 21.0, 95.0]) == 21.0
    assert medians_of({"plain": {"envoy": {"cpu": [20.0, 95.0, 21.0]}}}) == {"plain": {"envoy": {"cpu": 21.0}}}


def test_windows_are_counted_where_other_figures_have_a_median() -> None:
    rounds = {"half-load": {"envoy": {"windows": [1.0, 1.0, 1.0], "disturbed_windows": [0.0, 1.0, 0.0]}}}
    assert medians_of(rounds) == {"half-load": {"envoy": {"windows": 3.0, "disturbed_windows": 1.0}}}


def test_a_target_is_reached_at_its_limit_missed_by_so_much_or_not_measured() -> None:
    at_most = Target("x", lambda medians: medians["s"]["a"]["f"], 2.0, "KiB")
    at_least = Target("y", lambda medians: medians["s"]["a"]["f"], 2.0, at_least=True)

    def state(target: Target, figure: float) -> str:
        return judge(target, {"s": {"a": {"f": figure}}}).state

    assert [state(at_most, figure) for figure in (1.0, 2.0, 2.5)] == ["reached", "reached", "missed by 25%"]
    assert [state(at_least, figure) for figure in (2.5, 2.0, 1.0)] == ["reached", "reached", "missed by 50%"]
    assert judge(at_most, {}).state == "not measured"
    assert judge(at_most, {}).limit == "≤ 2 KiB"
    assert not judge(at_most, {}).reached


def test_every_target_finds_its_figure_in_what_the_scenarios_measure() -> None:
    def figures(**named: float) -> dict[str, dict[str, float]]:
        return dict.fromkeys(("splice", "understudy", "envoy", "aiohttp"), named)

    medians = {
        "plain": figures(cpu_us_per_request=20.0, requests_per_s=1.0),
        "mib": figures(cpu_us_per_request=20.0),
        "upload": figures(growth_mib=1.0),
        "download": figures(growth_mib=1.0),
        "sse": figures(delay_p99_us=1.0),
        "half-load": figures(latency_p99_us=1.0),
        "full": figures(cpu_us_per_request=20.0, mirrored_share=1.0),
        "pairs": figures(control_us_per_pair=1.0),
        "deciding": figures(over_plain_us=1.0),
        "memory": figures(alone_after_load_mib=1.0, idle_kib_per_connection=1.0),
    }
    assert [judge(target, medians).figure for target in TARGETS] == [1.0] * len(TARGETS)
