"""The comparison in words: the PAIRS, TOKENS and ARMS blocks of the screens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..text import milliseconds, percent, table
from .view import Arm, Compare, Comparison, Counts, Measure, Ratio, Side, Verdict

MOST_ROWS = 20
MOST_REASONS = 4
NOTABLE_CENSORED = 0.05
HEAD = (
    "ROUTE", "LIVE", "SHADOW", "PAIRS", "RATIO [95%]", "LIVE p50/p99", "SHADOW p50/p99", "STATUS=", "CENSORED",
    "DROPPED",
)  # fmt: skip
TOKENS_HEAD = ("TOKENS", "LIVE", "SHADOW", "OF", "PAIRS", "RATIO [95%]", "LIVE p50/p99", "SHADOW p50/p99")
ARMS_HEAD = ("ARMS", "EXPERIMENT", "ARM", "BACKEND", "WANT%", "GOT%", "REQUESTS", "5XX", "TOTAL p50/p99")


def block(compare: Compare) -> Iterator[str]:
    """The PAIRS block: one row for each comparison with its verdict under it; nothing where nothing was mirrored. The
    TOKENS block behind it: what their streams of events add."""
    # A shadow has nothing to say of the requests that it answers itself, save in a calibration.
    pairs = [each for each in compare.pairs if each.calibration or each.live != each.shadow]
    if not pairs:
        return
    busiest = sorted(pairs, key=lambda each: each.counts.selected, reverse=True)[:MOST_ROWS]
    shown = [each for each in pairs if each in busiest]
    yield _title(compare)
    head, *rows = table([HEAD, *(_row(each) for each in shown)], left=3, last_left=True)
    yield head
    for comparison, row in zip(shown, rows, strict=True):
        yield row
        yield f"       -> {words(comparison)}"
        left_out = _left_out(comparison.counts)
        if left_out:
            yield f"       not compared: {left_out}"
    if len(pairs) > len(shown):
        yield f"… and {len(pairs) - len(shown)} more; --json has all"
    if compare.refused:
        yield f"… and {compare.refused:,} pairs of comparisons beyond the bound"
    yield from _tokens(shown)


def _tokens(shown: Sequence[Comparison]) -> Iterator[str]:
    rows = [
        (
            each.route, str(each.live), str(each.shadow), what, f"{measure.ratio.pairs:,}", _ratio(measure.ratio),
            milliseconds(measure.live.p50, measure.live.p99), _shadow(measure),
        )
        for each in shown
        for what, measure in (
            ("first token", each.latency_ms.time_to_first_token), ("per chunk", each.latency_ms.time_per_output_chunk),
        )
        if measure is not None
    ]  # fmt: skip
    if rows:
        yield from table([TOKENS_HEAD, *rows], left=4)


def arms(compare: Compare) -> Iterator[str]:
    """The ARMS block: one row for each arm of each split, since the epoch began."""
    rows = [
        (
            each.route, each.experiment, each.arm, str(Side(each.backend, each.version)), percent(each.want),
            percent(each.got), f"{each.requests:,}", f"{each.errors:,}", _live(each),
        )
        for each in compare.arms[:MOST_ROWS]
    ]  # fmt: skip
    if rows:
        yield from table([ARMS_HEAD, *rows], left=4)
    if len(compare.arms) > MOST_ROWS:
        yield f"… and {len(compare.arms) - MOST_ROWS} more; --json has all"


def _live(arm: Arm) -> str:
    total = arm.latency_ms.total
    return milliseconds(total.p50, total.p99)


def words(comparison: Comparison) -> str:
    """The verdict, as one would say it."""
    text = verdict_words(comparison.verdict, comparison.latency_ms.total.ratio)
    return f"{text} (calibration: one backend against itself)" if comparison.calibration else text


def verdict_words(verdict: Verdict, ratio: Ratio) -> str:
    """A verdict and the interval that it is by."""
    if ratio.low is None or ratio.high is None:
        return f"undecided: {ratio.pairs} of at least {ratio.least_pairs} pairs"
    tolerance = f"tolerance {verdict.tolerance * 100:g} %"
    if verdict.state == "same":
        return f"the same: {_between(ratio.low, ratio.high, ratio.clip)}, {tolerance}"
    if verdict.state == "undecided":
        return f"undecided: {_between(ratio.low, ratio.high, ratio.clip)}, {tolerance}"
    return _between(ratio.low, ratio.high, ratio.clip)


def sentence(comparison: Comparison) -> str:
    """One line for the log."""
    return (
        f"{comparison.route}: {comparison.live} against {comparison.shadow}: {comparison.counts.compared:,} pairs, "
        f"{_ratio(comparison.latency_ms.total.ratio)}: {words(comparison)}"
    )


def _title(compare: Compare) -> str:
    epoch = compare.epoch
    if epoch is None:
        return "PAIRS"
    if epoch.id is None:
        return f"PAIRS  {compare.instances} instance{'s' * (compare.instances != 1)}, since {epoch.since[11:19]}"
    return f"PAIRS  epoch {epoch.id}, since {epoch.since[11:19]}"


def _row(each: Comparison) -> Sequence[str]:
    total, counts = each.latency_ms.total, each.counts
    return (
        each.route, str(each.live), str(each.shadow), f"{counts.compared:,}", _ratio(total.ratio),
        milliseconds(total.live.p50, total.live.p99), _shadow(total),
        "-" if each.status.agree is None else f"{percent(each.status.agree, 2)}%",
        f"{percent(counts.censored / counts.sent)}%" if counts.sent else "-",
        _dropped(counts),
    )  # fmt: skip


def _shadow(total: Measure) -> str:
    shadow = total.shadow
    return milliseconds(shadow.p50, shadow.p99, at_least=(shadow.p50_is_lower_bound, shadow.p99_is_lower_bound))


def _ratio(ratio: Ratio) -> str:
    if ratio.estimate is None:
        return "-"
    at_least = "≥" if ratio.censored > NOTABLE_CENSORED * ratio.pairs else ""
    if ratio.low is None or ratio.high is None:
        return f"{at_least}{ratio.estimate:.2f} [-]"
    return f"{at_least}{ratio.estimate:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]"


def _dropped(counts: Counts) -> str:
    """The share of the selected, and that of each reason."""
    dropped = sum(counts.dropped.values())
    if not dropped:
        return "0.0%"
    reasons = sorted(counts.dropped.items(), key=lambda item: item[1], reverse=True)
    named = " ".join(f"{reason} {percent(count / counts.selected)}" for reason, count in reasons[:MOST_REASONS])
    return f"{percent(dropped / counts.selected)}% {named}{' …' if len(reasons) > MOST_REASONS else ''}"


def _left_out(counts: Counts) -> str:
    """Copies that were sent and are not in the ratio, by reason."""
    own = {"tainted": counts.tainted, "live_failed": counts.live_failed, "other_class": counts.other_class}
    return "  ".join(f"{reason} {count:,}" for reason, count in (counts.failed | own).items() if count)


def _between(low: float, high: float, clip: float) -> str:
    """An interval of ratios in words: of time, so that `faster by 20 %` takes four fifths of it."""
    if low >= 1:
        if high >= clip:
            return f"slower, {low:.2f} times at least"
        return f"slower, {low:.1f} to {high:.1f} times" if high >= 3 else f"slower by {_span(low - 1, high - 1)} %"
    if high <= 1:
        return f"faster by {_span(1 - high, 1 - low)} %"
    above = f"{high:.1f} times as slow" if high >= 3 else f"{_number(high - 1)} % slower"
    return f"between {_number(1 - low)} % faster and {above}"


def _span(low: float, high: float) -> str:
    first, last = _number(low), _number(high)
    return first if first == last else f"{first}\N{EN DASH}{last}"


def _number(share: float) -> str:
    return f"{share * 100:.0f}" if share >= 0.0995 else f"{share * 100:.1f}"
