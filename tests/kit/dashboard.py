"""What ships for Prometheus and Grafana, taken apart: expressions, and the names in them."""

from __future__ import annotations

import json
import re
from importlib import resources
from typing import Any, NamedTuple

import yaml

FOLDER = resources.files("understudy.config.examples")
RULES = FOLDER.joinpath("prometheus", "rules.yaml")
DASHBOARD = FOLDER.joinpath("grafana", "understudy.json")
_SELECTOR = re.compile(r"\b((?:understudy|http|process|gen_ai)[a-z0-9_:]*)(\{[^}]*\})?")  # noqa: TID251 - over our own files
_LABEL = re.compile(r"([a-z_]+)\s*(?:=~|!~|!=|=)")  # noqa: TID251 - likewise
_GROUPED = re.compile(r"\b(?:by|on|ignoring|without)\s*\(([^)]*)\)")  # noqa: TID251 - likewise
_SERIES = ("_bucket", "_sum", "_count")


class Selected(NamedTuple):
    """A metric in an expression, without what a histogram's series add, and the labels that select of it."""

    name: str
    labels: frozenset[str]


def rules() -> list[dict[str, Any]]:
    """Every rule."""
    return [rule for group in yaml.safe_load(RULES.read_text("utf-8"))["groups"] for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    """The whole dashboard."""
    found: dict[str, Any] = json.loads(DASHBOARD.read_text("utf-8"))
    return found


def panels() -> list[dict[str, Any]]:
    """Its panels, rows left out."""
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def expressions(panel: dict[str, Any]) -> list[str]:
    """Of a panel."""
    return [target["expr"] for target in panel["targets"]]


def filled(expression: str) -> str:
    """As Grafana asks it, with every variable at All."""
    return expression.replace("$__rate_interval", "1m").replace("$instance", ".*").replace("$route", ".*")


def selected(expression: str, names: set[str]) -> list[Selected]:
    """Every metric of an expression; `names` are those of families, to tell foo_count from foo."""
    found = []
    for name, braces in _SELECTOR.findall(expression):
        stem = next((name.removesuffix(end) for end in _SERIES if name.endswith(end)), name)
        found.append(Selected(name if name in names else stem, frozenset(_LABEL.findall(braces))))
    return found


def grouped(expression: str) -> set[str]:
    """The labels that it groups or matches by."""
    return {label.strip() for labels in _GROUPED.findall(expression) for label in labels.split(",") if label.strip()}
