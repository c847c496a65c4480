"""The figures as tables for people (Markdown) and as JSON for machines."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .lab import Options
from .quiet import DISTURBED, SHARES
from .reach import Medians, Verdict

COLUMNS = {
    "requests_per_s": ("requests/s", "{:,.0f}"),
    "cpu_us_per_request": ("CPU µs/request", "{:,.1f}"),
    "cpu_share": ("its core", "{:.0%}"),
    "load_core_share": ("load's core", "{:.0%}"),
    "plain_us": ("without filters", "{:,.1f}"),
    "over_plain_us": ("filters cost µs", "{:,.2f}"),
    "over_untraced_us": ("tracing costs µs", "{:,.2f}"),
    "spans_per_trace": ("spans/trace", "{:.2f}"),
    "steady_spans_per_s": ("spans/s", "{:,.0f}"),
    "steady_lost": ("lost", "{:,.0f}"),
    "peak_spans_per_s": ("at the peak, spans/s", "{:,.0f}"),
    "peak_arrived": ("arrived", "{:.0%}"),
    "peak_uncounted": ("neither arrived nor counted", "{:,.0f}"),
    "mirrored_share": ("mirrored", "{:.1%}"),
    "pairs_per_s": ("pairs/s", "{:,.0f}"),
    "control_us_per_pair": ("control µs/pair", "{:,.2f}"),
    "worker_us_per_request": ("worker µs/request", "{:,.1f}"),
    "pairs_lost_share": ("records lost", "{:.1%}"),
    "rate_per_s": ("rate/s", "{:,.1f}"),
    "latency_p50_us": ("p50 µs", "{:,.0f}"),
    "latency_p99_us": ("p99 µs", "{:,.0f}"),
    "max_us": ("max µs", "{:,.0f}"),
    "p50_ratio_estimate": ("p50 ratio", "{:.2f}"),
    "p50_ratio_low": ("95 % from", "{:.2f}"),
    "p50_ratio_high": ("to", "{:.2f}"),
    "p99_ratio_estimate": ("p99 ratio", "{:.2f}"),
    "p99_ratio_low": ("95 % from", "{:.2f}"),
    "p99_ratio_high": ("to", "{:.2f}"),
    "idle_mib": ("idle MiB", "{:,.1f}"),
    "rise_mib": ("peak above idle MiB", "{:,.1f}"),
    "bound_mib": ("bound MiB", "{:,.1f}"),
    "drift_mib": ("later MiB", "{:+,.1f}"),
    "slope_mib_per_min": ("MiB/min", "{:+,.1f}"),
    "unexplained_copies": ("copies unexplained", "{:,.0f}"),
    "onset_ratio": ("p50 ratio at onset", "{:.2f}"),
    "copies_share": ("copies sent", "{:.0%}"),
    "status_changes": ("answers changed, warm-up too", "{:,.0f}"),
    "busy_share": ("its CPU", "{:.0%}"),
    "spared": ("requests counted", "{:.1%}"),
    "samples": ("samples", "{:,.0f}"),
    "windows": ("windows", "{:.0f}"),
    "disturbed_windows": ("disturbed", "{:.0f}"),
    "delay_p50_us": ("delay p50 µs", "{:,.0f}"),
    "delay_p99_us": ("delay p99 µs", "{:,.0f}"),
    "growth_mib": ("grows by MiB", "{:,.1f}"),
    "heap_peak_mib": ("anonymous peak MiB", "{:,.1f}"),
    "mib_per_s": ("MiB/s", "{:,.0f}"),
    "alone_start_mib": ("at start MiB", "{:,.1f}"),
    "idle_kib_per_connection": ("KiB per idle connection", "{:,.1f}"),
    "alone_after_load_mib": ("after load MiB", "{:,.1f}"),
    "pss_after_load_mib": ("PSS after load MiB", "{:,.1f}"),
    "rss_after_load_mib": ("RSS after load MiB", "{:,.1f}"),
    "foreign_share": ("others", "{:.0%}"),
    "stolen_share": ("stolen", "{:.1%}"),
}
TITLES = {
    "memory": "Memory: each alone and fresh; {idle:,} idle connections, then load over 1,024 and 32",
    "full": "Five flags, a split and a mirror of everything: 1 KiB POST, 32 connections",
    "full-varied": "The same, where no answer's head is like another's",
    "pairs": "Of it, control and the worker apart",
    "traced": "The same with 1 % of traces exported by OTLP: 1 KiB POST, 32 connections",
    "exported": "Every exchange a trace: 1 KiB POST at a constant rate, and what is lost",
    "exported-hung": "Of it, with a collector that never answers beside one that does",
    "exported-apart": "Of it, with control on the load's core",
    "exported-whole": "5,000 spans a second: every exchange told and exported",
    "deciding": "Five flags and a split: 1 KiB POST, 32 connections",
    "plain": "1 KiB POST, 32 connections",
    "plain-1024": "1 KiB POST, 1,024 connections",
    "half-load": "Constant rate: half of the lower peak, the same for all",
    "half-load-own": "Constant rate: half of its own peak",
    "mib": "1 MiB POST, 8 connections; the backend answers when it has read it whole",
    "mib-echo": "1 MiB POST and the same 1 MiB back, 8 connections",
    "shadow-harm-1KiB": "Shadows that misbehave: live at half of its peak, 1 KiB bodies",
    "shadow-harm-1MiB": "Shadows that misbehave: live at half of its peak, 1 MiB bodies",
    "shadow-harm-64MiB": "Shadows that misbehave: live at half of its peak, 64 MiB bodies",
    "hung-shadow-memory-1MiB": "A shadow that accepts and reads nothing: memory, 1 MiB bodies for {hung_s:g} s",
    "hung-shadow-memory-8MiB": "A shadow that accepts and reads nothing: memory, 8 MiB bodies for {hung_s:g} s",
    "hung-shadow-memory-64MiB": "A shadow that accepts and reads nothing: memory, 64 MiB bodies for {hung_s:g} s",
    "upload": "{bulk_mib:,} MiB upload, slow backend",
    "download": "{bulk_mib:,} MiB download, slow client",
    "sse": "Server-sent events, {streams:,} streams, {events_per_s:,} events/s: from write to read",
}


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def scenario_table(title: str, subjects: Mapping[str, Mapping[str, float]]) -> str:
    """One scenario's medians, a line for each subject."""
    columns = [column for column in COLUMNS if any(column in figures for figures in subjects.values())]
    rows = [
        [subject, *(COLUMNS[column][1].format(figures[column]) if column in figures else "" for column in columns)]
        for subject, figures in subjects.items()
    ]
    return f"### {title}\n\n" + table(["", *(COLUMNS[column][0] for column in columns)], rows)


def reach_table(verdicts: list[Verdict]) -> str:
    """Every target, its figure, and what became of it."""
    rows = [
        [each.target, each.limit, "-" if each.figure is None else f"{each.figure:.2f}", each.state] for each in verdicts
    ]
    return "### Reach\n\n" + table(["", "target", "figure", ""], rows)


def disturbances(medians: Medians) -> dict[str, float]:
    """The scenarios during which others took part of a core, and how much of it in the worst case."""
    worst = {
        scenario: max(figures.get(share, 0.0) for figures in subjects.values() for share in SHARES)
        for scenario, subjects in medians.items()
    }
    return {scenario: share for scenario, share in worst.items() if share > DISTURBED}


def markdown(options: Options, medians: Medians, verdicts: list[Verdict]) -> str:
    """Everything, in the order in which it was measured."""
    amounts = dataclasses.asdict(options)
    parts = [scenario_table(TITLES[name].format(**amounts), subjects) for name, subjects in medians.items()]
    parts.append(reach_table(verdicts))
    if disturbed := disturbances(medians):
        each = (f"{scenario} ({share:.0%} of a core)" for scenario, share in disturbed.items())
        parts.append("The machine was not quiet, do not quote: " + ", ".join(each))
    return "\n\n".join(parts)


def save(
    file: Path, machine: dict[str, object], options: Options, medians: Medians, figures: Any, verdicts: list[Verdict]
) -> None:
    """Write the whole run as JSON: medians, and every round behind them."""
    document = {
        "schema": "understudy.bench/1",
        "machine": machine,
        "options": dataclasses.asdict(options),
        "reach": [dataclasses.asdict(each) for each in verdicts],
        "disturbed": disturbances(medians),
        "medians": medians,
        "rounds": figures,
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(_rounded(document), indent=1, ensure_ascii=False) + "\n")


def _rounded(value: Any) -> Any:
    """Four significant digits more than anybody may quote, so that results can be compared by eye."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, Mapping):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(each) for each in value]
    return value
