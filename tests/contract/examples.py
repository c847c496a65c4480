"""Valid YAML of every filter: what the filter's own test calls EXAMPLES, and what the shipped examples use."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib import import_module, resources
from importlib.util import find_spec
from typing import Any

import yaml
from understudy.filters import FILTERS
from understudy.filters.api import FilterConfig


def tag_of(config: type[FilterConfig]) -> str:
    """The `type:` by which YAML names a filter."""
    return str(config.__struct_config__.tag)


def examples_of(config: type[FilterConfig]) -> list[dict[str, Any]]:
    """As decoded YAML. Empty only where neither the filter's test nor a shipped example shows one."""
    module = f"tests.filters.test_{tag_of(config)}"
    own = getattr(import_module(module), "EXAMPLES", []) if find_spec(module) else []
    shipped = [each for each in _shipped() if each.get("type") == tag_of(config)]
    return [yaml.safe_load(text) for text in own] + shipped


def each_example() -> list[tuple[type[FilterConfig], dict[str, Any]]]:
    """Every filter's every example, for parametrized tests."""
    return [(config, example) for config in FILTERS for example in examples_of(config)]


@cache
def _shipped() -> list[dict[str, Any]]:
    folder = resources.files("understudy.config.examples")
    documents = [yaml.safe_load(each.read_bytes()) for each in folder.iterdir() if each.name.endswith(".yaml")]
    return [filter_ for document in documents for filter_ in _filters(document)]


def _filters(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for route in document.get("routes", []):
        yield from route.get("filters", [])
