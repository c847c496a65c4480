"""Percentiles, medians and verdicts: small enough to be checked by hand."""

from __future__ import annotations

import pytest

from bench.loopback.figures import median, paired_difference, paired_ratio, percentile, pooled_ratio, slope
from bench.loopback.reach import BY_NAME, HARM_SIZES, HUNG_SIZES, TARGETS, Target, judge, medians_of


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


def test_a_burst_in_one_block_of_four_counts_for_what_it_is_in_a_pooled_ratio() -> None:
    even, burst = [1.0] * 100, [1.0] * 90 + [9.0] * 10
    assert pooled_ratio([even] * 4, [even] * 4, 99) == (1.0, 1.0, 1.0)
    ratio = pooled_ratio([even, burst, even, even], [even] * 4, 99)  # 10 of 400 are late
    assert (ratio.estimate, ratio.low) == (9.0, 1.0)
    assert ratio.high == pytest.approx(9.0, rel=0.005)
    assert pooled_ratio([even, burst, even, even], [even] * 4, 97).estimate == 1.0
    with pytest.raises(ValueError, match="longer"):
        pooled_ratio([even], [even, even], 99)


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
        "full-varied": figures(cpu_us_per_request=20.0),
        "traced": figures(cpu_us_per_request=20.0) | {"none drawn": {"over_untraced_us": 1.0}},
        "exported-apart": {"all traced": {"p99_ratio_estimate": 1.0}},
        "exported-whole": {"all traced": {"p99_ratio_estimate": 1.0}},
        "exported": {"all traced": {"p99_ratio_estimate": 1.0, "steady_lost": 1.0, "peak_uncounted": 1.0}},
        "exported-hung": {"hung": {"p99_ratio_estimate": 1.0, "rise_mib": 1.0}},
        "pairs": figures(control_us_per_pair=1.0),
        "deciding": figures(over_plain_us=1.0),
        "memory": figures(alone_after_load_mib=1.0, idle_kib_per_connection=1.0),
    }
    assert [judge(target, medians).figure for target in TARGETS] == [1.0] * len(TARGETS)


def test_a_paired_ratio_forgets_what_disturbed_both_of_a_pair() -> None:
    disturbed = [1.0, 30.0, 1.0, 5.0, 1.0]
    ratio = paired_ratio([2 * value for value in disturbed], disturbed)
    assert ratio == (2.0, 2.0, 2.0)


def test_a_paired_difference_forgets_what_disturbed_both_of_a_pair() -> None:
    disturbed = [20.0, 55.0, 21.0, 30.0, 20.0]
    assert paired_difference([value + 2 for value in disturbed], disturbed) == (2.0, 2.0, 2.0)


def test_the_interval_of_a_ratio_holds_it_and_is_the_same_every_time() -> None:
    values, others = [1.0, 1.2, 0.9, 1.6, 1.1, 1.0, 1.3], [1.0] * 7
    ratio = paired_ratio(values, others)
    assert ratio.estimate == 1.1
    assert 0.9 <= ratio.low < 1.1 < ratio.high <= 1.6
    assert paired_ratio(values, others) == ratio


def test_windows_without_their_pair_are_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        paired_ratio([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="no pairs"):
        paired_ratio([], [])


def test_the_slope_is_that_of_the_line_through_the_points() -> None:
    assert slope([(0.0, 5.0), (1.0, 7.0), (2.0, 9.0)]) == pytest.approx(2.0)
    assert slope([(0.0, 5.0), (1.0, 5.0)]) == 0.0
    assert slope([(3.0, 5.0)]) == 0.0


def test_targets_by_name_take_the_worst_shadow_and_the_worst_size() -> None:
    ratios = {"p50_ratio_estimate": 1.0, "p99_ratio_estimate": 1.0, "status_changes": 0.0}
    rows = {
        "understudy healthy": {"status_changes": 0.0},
        "understudy dead": ratios,
        "understudy flooding": {**ratios, "p99_ratio_estimate": 1.3},
        "envoy flooding": {**ratios, "p50_ratio_estimate": 9.0, "status_changes": 5.0},
    }
    hung = {"rise_mib": 50.0, "bound_mib": 100.0, "drift_mib": 1.0, "unexplained_copies": 0.0}
    medians = {
        **{f"shadow-harm-{size}": rows for size in HARM_SIZES},
        **{f"hung-shadow-memory-{size}": {"understudy": hung} for size in HUNG_SIZES},
        "hung-shadow-memory-8MiB": {"understudy": {**hung, "rise_mib": 120.0, "unexplained_copies": 2.0}},
    }
    harm = [judge(target, medians) for target in BY_NAME["shadow-harm"]]
    assert {each.target: each.figure for each in harm if not each.reached} == {
        f"{size}: live p99 with the worst shadow / with a healthy one": 1.3 for size in HARM_SIZES
    }
    states = [
        (each.figure, each.state) for each in (judge(target, medians) for target in BY_NAME["hung-shadow-memory"])
    ]
    assert states == [(1.2, "missed by 20%"), (1.0, "reached"), (2.0, "missed")]
