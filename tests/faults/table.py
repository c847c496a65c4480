"""What became of each fault: a line for each, on screen and as JSON."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from understudy.proxy import pipeline

Row = dict[str, Any]


def rows_of(stats: Mapping[str, Sequence[Any]]) -> list[Row]:
    """The rows of all reports that pytest has kept, by fault, and the tests of a fault by name."""
    found: dict[tuple[int, str], Row] = {}
    for outcome in ("passed", "skipped", "failed", "error"):
        for report in stats.get(outcome, ()):
            for name, row in getattr(report, "user_properties", ()):
                if name == "fault":
                    result = {"passed": "survived", "skipped": "not run"}.get(outcome, "not survived")
                    found[row["number"], row["test"]] = {**row, "result": result}
    return [found[key] for key in sorted(found)]


def faults_of(rows: Sequence[Row]) -> list[Row]:
    """One line for each fault: survived when all its tests passed; the slowest recovery counts."""
    lines = []
    for number in sorted({row["number"] for row in rows}):
        own = [row for row in rows if row["number"] == number]
        recoveries = [row["recover_ms"] for row in own if row.get("recover_ms") is not None]
        lines.append(
            {
                "fault": number,
                "title": own[0]["title"],
                "survived": all(row["result"] == "survived" for row in own),
                "passed": sum(row["result"] == "survived" for row in own),
                "tests": len(own),
                "recover_ms": max(recoveries, default=None),
                "lost": "; ".join(dict.fromkeys(row["lost"] for row in own if row.get("lost"))),
                "measured": _worst(own),
            }
        )
    return lines


def _worst(rows: Sequence[Row]) -> dict[str, Any]:
    """What several tests measured under one name, at its worst."""
    found: dict[str, Any] = {}
    for row in rows:
        for name, value in row.get("measured", {}).items():
            found[name] = max(found.get(name, value), value)
    return found


def text_of(rows: Sequence[Row]) -> str:
    """The table for people."""
    lines = [f"{'#':>2}  {'fault':<46} {'survived':>8} {'tests':>7} {'recover ms':>10}  lost"]
    faults = faults_of(rows)
    for each in faults:
        recovered = "-" if each["recover_ms"] is None else f"{each['recover_ms']:.1f}"
        tests = f"{each['passed']}/{each['tests']}"
        survived = "yes" if each["survived"] else "NO"
        title = each["title"][:46]
        lines.append(f"{each['fault']:>2}  {title:<46} {survived:>8} {tests:>7} {recovered:>10}  {each['lost']}")
        lines += [f"{'':>4}{name}: {value}" for name, value in each["measured"].items()]
    survived_count = sum(each["survived"] for each in faults)
    return "\n".join([*lines, f"{survived_count} of {len(faults)} survived", ""])


def write_json(rows: Sequence[Row], path: Path) -> None:
    """The same for machines, with what it was taken on."""
    machine = {
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "data_plane": "interpreted" if str(pipeline.__file__).endswith(".py") else "compiled",
    }
    told = {"schema": "understudy.faults/1", "machine": machine, "faults": faults_of(rows), "tests": list(rows)}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(told, indent=1) + "\n")
