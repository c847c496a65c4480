"""Every piece of YAML on our pages is what `understudy validate` takes without a mistake or a warning."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from understudy.config.load import load_bytes
from understudy.config.yaml12 import read

from .pages import Block, all_blocks

SNIPPETS = all_blocks("yaml")
BACKENDS = ("stable", "canary", "next")


def whole(piece: Any) -> dict[str, Any]:
    """A document around a piece of one: a chain, a part of a route, or a part of the top level."""
    if isinstance(piece, dict) and "routes" in piece:
        return piece
    route: dict[str, Any] = {"name": "any", "match": {"path_prefix": "/v2"}, "backend": "stable"}
    others = [{"name": name, "match": {"path": f"/{name}"}, "backend": name} for name in BACKENDS]
    document: dict[str, Any] = {
        "listeners": {"ingress": {"bind": "127.0.0.1:0", "trust": ["127.0.0.1/32"]}},
        "backends": {name: {"endpoints": [f"http://{name}.example:80"]} for name in BACKENDS},
        "secret": {"file": "./understudy.secret"},
        "routes": [*others, route],
    }
    if isinstance(piece, list):
        route["filters"] = piece
    elif {"match", "filters"} & piece.keys():
        route.update(piece)
    else:
        document["backends"].update(piece.pop("backends", {}))
        document.update(piece)
    return document


def told(document: dict[str, Any], folder: Path) -> list[str]:
    """What `validate` says of it, mistakes and warnings."""
    text = yaml.safe_dump(document, sort_keys=False)
    result = load_bytes(text.encode(), file="page.yaml", base=str(folder), today=date(2030, 1, 1))
    return [str(each) for each in (*result.mistakes, *result.warnings)]


@pytest.mark.parametrize("block", SNIPPETS, ids=str)
def test_nothing_is_to_be_said_of_it(block: Block, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MODEL_TOKEN", "x")
    content = read(block.text)  # as the program reads it: off is a word
    assert content.flaws == []
    assert told(whole(content.value), tmp_path) == []


@pytest.mark.parametrize("name", ["flags", "split", "mirror", "headers"])
def test_each_filter_is_shown(name: str) -> None:
    assert any(f"type: {name}" in block.text for block in SNIPPETS)


@pytest.mark.parametrize(
    "piece",
    [
        "- {type: split, experiment: a, key: random, arms: {nobody: 1}}",
        "match: {path_prefx: /}",
        "backends: {old: {endpoints: [http://127.0.0.1:1]}}",
        "drain: {grace: 5}",
    ],
)
def test_a_piece_that_went_stale_is_found(piece: str, tmp_path: Path) -> None:
    assert told(whole(yaml.safe_load(piece)), tmp_path)
