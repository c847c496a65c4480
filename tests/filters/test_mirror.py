"""`type: mirror`: its YAML."""

from __future__ import annotations

import msgspec
import pytest
import yaml
from understudy.filters.mirror import MirrorConfig
from understudy.filters.units import dec_hook

EXAMPLES = [
    "{type: mirror, to: [{backend: next}]}",
    """
    type: mirror
    to:
      - backend: next
        percent: 12.5
        sample_by: {header: x-user-id}
        salt: nightly
        when: {all: [{method: [POST, PUT]}, {path_prefix: /v2}]}
        max_body: 64MiB
        remove_headers: [x-internal]
        set_headers: {x-model-version: next, x-key: {env: SHADOW_KEY}}
        rewrite: {path: {prefix: /v2/models/iris, to: /v2/models/iris-9}}
        on_client_gone: finish
        total_timeout: 2m
      - {backend: stable, calibration: true}
    budget: {requests: 16, bytes: 1GiB, rate: 0.5}
    """,
]


def config_of(text: str) -> MirrorConfig:
    return msgspec.convert(yaml.safe_load(text), MirrorConfig, dec_hook=dec_hook)


def test_every_shadow_is_a_backend() -> None:
    assert config_of(EXAMPLES[1]).references() == [(("to", 0, "backend"), "next"), (("to", 1, "backend"), "stable")]


def test_timeouts_of_its_own_are_told_from_none() -> None:
    first, second = config_of(EXAMPLES[1]).to
    assert (first.total_timeout, second.total_timeout) == (120, None)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("{type: mirror, to: []}", ("to",)),
        ("{type: mirror, to: [{backend: a}, {backend: a}]}", ("to", 1, "backend")),
        ("{type: mirror, to: [{backend: a}], budget: {bytes: 0}}", ("budget", "bytes")),
        ("{type: mirror, to: [{backend: a}, {backend: b}], budget: {requests: 1}}", ("budget", "requests")),
        (
            "{type: mirror, to: [{backend: a, sample_by: {header: x, missing: refuse}}]}",
            ("to", 0, "sample_by", "missing"),
        ),
        ("{type: mirror, to: [{backend: a, sample_by: {cookie: x, issue: true}}]}", ("to", 0, "sample_by")),
        ("{type: mirror, to: [{backend: a, sample_by: {}}]}", ("to", 0, "sample_by")),
        ("{type: mirror, to: [{backend: a, when: {header: x}}]}", ("to", 0, "when")),
        ("{type: mirror, to: [{backend: a, remove_headers: ['a b']}]}", ("to", 0, "remove_headers", 0)),
        ("{type: mirror, to: [{backend: a, set_headers: {host: b}}]}", ("to", 0, "set_headers", "host")),
        (
            "{type: mirror, to: [{backend: a, rewrite: {path: {prefix: /a, to: '/b?c'}}}]}",
            ("to", 0, "rewrite", "path", "to"),
        ),
    ],
)
def test_a_mistake_says_where_it_is(text: str, where: tuple[str | int, ...]) -> None:
    assert [path for path, _ in config_of(text).mistakes()] == [where]
