"""`type: split`: its YAML."""

from __future__ import annotations

import msgspec
import pytest
import yaml
from understudy.filters.split import SplitConfig

EXAMPLES = [
    "{type: split, experiment: a, key: random, arms: {stable: 90, canary: 10}}",
    """
    type: split
    experiment: a-a
    salt: shared
    key: {cookie: sid, issue: true, missing: refuse}
    on_unavailable: next
    arms:
      left: {backend: stable, weight: 0.5, set_headers: {x-arm: left}}
      right: {backend: stable, weight: 0.5}
      stable: {weight: 0}
    """,
]


def config_of(text: str) -> SplitConfig:
    return msgspec.convert(yaml.safe_load(text), SplitConfig)


def test_an_arm_is_a_backend_unless_it_names_one() -> None:
    assert config_of(EXAMPLES[1]).references() == [
        (("arms", "left", "backend"), "stable"),
        (("arms", "right", "backend"), "stable"),
        (("arms", "stable"), "stable"),
    ]


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"experiment": ""}, ("experiment",)),
        ({"key": {}}, ("key",)),
        ({"key": {"header": "a", "cookie": "b"}}, ("key",)),
        ({"key": {"first": []}}, ("key", "first")),
        ({"key": {"jwt": ""}}, ("key", "jwt")),
        ({"key": {"header": "a", "issue": True}}, ("key", "issue")),
        ({"arms": {}}, ("arms",)),
        ({"arms": {"a": 0, "b": {"weight": 0}}}, ("arms",)),
        ({"arms": {"a": {"weight": 1, "set_headers": {"x": "\n"}}}}, ("arms", "a", "set_headers", "x")),
    ],
)
def test_a_mistake_says_where_it_is(changes: dict[str, object], where: tuple[str | int, ...]) -> None:
    config = msgspec.convert(yaml.safe_load(EXAMPLES[0]) | changes, SplitConfig)
    assert [path for path, _ in config.mistakes()] == [where]


@pytest.mark.parametrize("weight", [-1, 1_000_001, "x", float("nan")])
def test_a_weight_is_a_share(weight: object) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(yaml.safe_load(EXAMPLES[0]) | {"arms": {"a": weight}}, SplitConfig)
