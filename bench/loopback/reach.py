"""The targets, and how far each figure is from its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .figures import median

FLAT_MIB = 8.0  # memory is flat when it rises by no more than this while one large body passes

Medians = Mapping[str, Mapping[str, Mapping[str, float]]]
"""Scenario, subject, figure."""


@dataclass(frozen=True)
class Target:
    """One thing to reach. `figure` takes it from the medians and raises KeyError when something was not measured."""

    name: str
    figure: Callable[[Medians], float]
    limit: float
    unit: str = ""
    at_least: bool = False  # else: at most


@dataclass(frozen=True)
class Verdict:
    """A target and what became of it."""

    target: str
    limit: str
    figure: float | None
    state: str  # "reached", "missed by N %" or "not measured"

    @property
    def reached(self) -> bool:
        """Whether the figure is there and within its limit."""
        return self.state == "reached"


def _ratio(scenario: str, figure: str, other: str) -> Callable[[Medians], float]:
    return lambda medians: medians[scenario]["understudy"][figure] / medians[scenario][other][figure]


def _own(scenario: str, figure: str) -> Callable[[Medians], float]:
    return lambda medians: medians[scenario]["understudy"][figure]


TARGETS = (
    Target("1 KiB, 32 connections: CPU per request / Envoy's", _ratio("plain", "cpu_us_per_request", "envoy"), 0.66),
    Target(
        "1 KiB, 32 connections: requests/s / the aiohttp proxy's",
        _ratio("plain", "requests_per_s", "aiohttp"),
        5,
        at_least=True,
    ),
    Target("1 KiB, 32 connections: CPU per request / the splice's", _ratio("plain", "cpu_us_per_request", "splice"), 3),
    Target("1 MiB bodies: CPU per request / Envoy's", _ratio("mib", "cpu_us_per_request", "envoy"), 1),
    Target("upload, slow backend: memory grows by", _own("upload", "growth_mib"), FLAT_MIB, "MiB"),
    Target("download, slow client: memory grows by", _own("download", "growth_mib"), FLAT_MIB, "MiB"),
    Target("SSE: p99 delay per event / Envoy's", _ratio("sse", "delay_p99_us", "envoy"), 1),
    Target("half of the lower peak: p99 / Envoy's", _ratio("half-load", "latency_p99_us", "envoy"), 1),
    Target(
        "five flags, split, mirror of everything: CPU per request / Envoy's (aim 0.56)",
        _ratio("full", "cpu_us_per_request", "envoy"),
        0.65,
    ),
    Target(
        "the same, no answer's head like another's: CPU per request / Envoy's",
        _ratio("full-varied", "cpu_us_per_request", "envoy"),
        0.65,
    ),
    Target("the same: share of requests mirrored", _own("full", "mirrored_share"), 0.99, at_least=True),
    Target(
        "the whole chain, 1 % of traces exported: CPU per request / Envoy's (aim 0.55)",
        _ratio("traced", "cpu_us_per_request", "envoy"),
        0.65,
    ),
    Target(
        "traces of which none is drawn: CPU per request over none",
        lambda medians: medians["traced"]["none drawn"]["over_untraced_us"],
        2,
        "µs",
    ),
    Target(
        "every exchange sampled, control on the other core: the worker's p99 / without",
        lambda medians: medians["exported-apart"]["all traced"]["p99_ratio_estimate"],
        1.1,
    ),
    Target(
        "the same on one core",
        lambda medians: medians["exported"]["all traced"]["p99_ratio_estimate"],
        1.1,
    ),
    Target(
        "5,000 spans a second, every exchange exported, on one core: p99 / without",
        lambda medians: medians["exported-whole"]["all traced"]["p99_ratio_estimate"],
        1.1,
    ),
    Target("5,000 spans a second: lost", lambda medians: medians["exported"]["all traced"]["steady_lost"], 0),
    Target(
        "at the peak: spans lost and not counted",
        lambda medians: abs(medians["exported"]["all traced"]["peak_uncounted"]),
        0,
    ),
    Target(
        "the collector hangs: p99 / while it answers",
        lambda medians: medians["exported-hung"]["hung"]["p99_ratio_estimate"],
        1.1,
    ),
    Target(
        "the collector hangs: memory grows by", lambda medians: medians["exported-hung"]["hung"]["rise_mib"], 64, "MiB"
    ),
    Target("five flags and a split: CPU per request over plain", _own("deciding", "over_plain_us"), 6, "µs"),
    Target("control: CPU per pair", _own("pairs", "control_us_per_pair"), 3, "µs"),
    Target("control + one worker, after load", _own("memory", "alone_after_load_mib"), 110, "MiB"),
    Target("memory per idle connection", _own("memory", "idle_kib_per_connection"), 20, "KiB"),
)


HARM_SIZES = ("1KiB", "1MiB", "64MiB")
HUNG_SIZES = ("1MiB", "8MiB", "64MiB")


def _worst_shadow(size: str, figure: str) -> Callable[[Medians], float]:
    """Over the kinds of shadow that misbehave; a healthy one has no ratio."""

    def worst(medians: Medians) -> float:
        rows = medians[f"shadow-harm-{size}"].items()
        return max(row[figure] for name, row in rows if name.startswith("understudy ") and figure in row)

    return worst


def _worst_hung(figure: Callable[[Mapping[str, float]], float]) -> Callable[[Medians], float]:
    return lambda medians: max(figure(medians[f"hung-shadow-memory-{size}"]["understudy"]) for size in HUNG_SIZES)


BY_NAME = {
    "shadow-harm": (
        *(
            Target(
                f"{size}: live {percent} with the worst shadow / with a healthy one",
                _worst_shadow(size, f"{percent}_ratio_estimate"),
                limit,
            )
            for size in HARM_SIZES
            for percent, limit in (("p50", 1.05), ("p99", 1.10))
        ),
        *(
            Target(f"{size}: live answers changed by the worst shadow", _worst_shadow(size, "status_changes"), 0)
            for size in HARM_SIZES
        ),
    ),
    "hung-shadow-memory": (
        Target("peak above idle / bound", _worst_hung(lambda row: row["rise_mib"] / row["bound_mib"]), 1),
        Target("rises later by", _worst_hung(lambda row: row["drift_mib"]), FLAT_MIB, "MiB"),
        Target("copies neither sent nor counted", _worst_hung(lambda row: row["unexplained_copies"]), 0),
    ),
}
"""Targets of scenarios that run only by name."""

SUMMED = ("windows", "disturbed_windows", "samples", "status_changes")
"""Figures that are counts: their sum is told, not their median."""


def medians_of(
    figures: Mapping[str, Mapping[str, Mapping[str, list[float]]]],
) -> dict[str, dict[str, dict[str, float]]]:
    """The median of every figure over its rounds or windows; of counts the sum."""
    return {
        scenario: {
            subject: {name: sum(values) if name in SUMMED else median(values) for name, values in each.items()}
            for subject, each in subjects.items()
        }
        for scenario, subjects in figures.items()
    }


def judge(target: Target, medians: Medians) -> Verdict:
    """Compare one target with what was measured."""
    limit = f"{'≥' if target.at_least else '≤'} {target.limit:g} {target.unit}".strip()
    try:
        figure = target.figure(medians)
    except KeyError:
        return Verdict(target.name, limit, None, "not measured")
    reached = figure >= target.limit if target.at_least else figure <= target.limit
    if reached:
        return Verdict(target.name, limit, figure, "reached")
    by = f" by {abs(figure / target.limit - 1):.0%}" if target.limit else ""
    return Verdict(target.name, limit, figure, f"missed{by}")
