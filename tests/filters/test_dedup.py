"""`type: dedup`: its YAML."""

from __future__ import annotations

import msgspec
import pytest
import yaml
from understudy.filters.dedup import DedupConfig
from understudy.filters.units import dec_hook

EXAMPLES = [
    "{type: dedup}",
    "{type: dedup, scope: {header: x-tenant}, effects: external, required: true, over: refuse}",
    "{type: dedup, scope: none, wait: 0, retain: 10m, max_request: 64KiB, max_response: 0, methods: [POST, QUERY]}",
]


def config_of(text: str) -> DedupConfig:
    return msgspec.convert(yaml.safe_load(text), DedupConfig, dec_hook=dec_hook)


def test_the_defaults_are_those_of_the_contract() -> None:
    config = config_of("{type: dedup}")
    assert (config.header, config.effects, config.scope) == ("Idempotency-Key", "none", "authorization")
    assert (config.wait, config.retain) == (30, 24 * 3600)
    assert (config.max_request, config.over, config.max_response) == (8 << 20, "key_only", 1 << 20)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("{type: dedup, header: 'a b'}", ("header",)),
        ("{type: dedup, methods: []}", ("methods",)),
        ("{type: dedup, methods: [POST, put]}", ("methods", 1)),
        ("{type: dedup, scope: {header: ''}}", ("scope", "header")),
        ("{type: dedup, retain: 0}", ("retain",)),
    ],
)
def test_a_mistake_says_where_it_is(text: str, where: tuple[str | int, ...]) -> None:
    assert [path for path, _ in config_of(text).mistakes()] == [where]
