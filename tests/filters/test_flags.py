"""`type: flags`: its YAML. The golden files hold the wording of every mistake."""

from __future__ import annotations

import msgspec
import pytest
import yaml
from understudy.filters.flags import FlagsConfig

EXAMPLES = [
    """
    type: flags
    rules:
      - {flag: pin, when: {header: x-variant, in: [stable, canary]}, backend_from: X-Variant}
      - {flag: tenant, backend_from: {header: x-tenant, map: {acme: canary}}, from: trusted}
      - {flag: list, backend_from: {header: x-tenant, in: [stable]}, owner: ml-platform}
    """,
    """
    type: flags
    rules:
      - flag: trial
        kind: experiment
        expires: "2030-12-31"
        when: {not: {header: x-region, prefix: us-}}
        percent: 2.5
        key: {first: [{header: x-user-id}, {jwt: sub}, client_address], missing: random}
        salt: ranker-v2
        backend: canary
        set_headers: {x-trial: "1", authorization: {file: token}}
        skip: [mirror, headers]
    """,
]


def rules(text: str) -> FlagsConfig:
    return msgspec.convert({"type": "flags", "rules": yaml.safe_load(text)}, FlagsConfig)


def test_every_backend_that_a_rule_names_is_known_with_its_place() -> None:
    config = msgspec.convert(yaml.safe_load(EXAMPLES[0]), FlagsConfig)
    assert config.references() == [
        (("rules", 0, "when", "in", 0), "stable"),
        (("rules", 0, "when", "in", 1), "canary"),
        (("rules", 1, "backend_from", "map", "acme"), "canary"),
        (("rules", 2, "backend_from", "in", 0), "stable"),
    ]


def test_a_header_of_another_name_says_nothing_about_backends() -> None:
    assert rules("[{flag: a, when: {header: x-a, in: [b]}, backend_from: x-other}]").references() == []


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("[]", ("rules",)),
        ("[{flag: ''  , backend: a}]", ("rules", 0, "flag")),
        ("[{flag: a}]", ("rules", 0)),
        ("[{flag: a, skip: [split]}, {flag: a, backend: b}]", ("rules", 1, "flag")),
        ("[{flag: a, backend: b, backend_from: x-c}]", ("rules", 0, "backend_from")),
        ("[{flag: a, backend_from: 'x c'}]", ("rules", 0, "backend_from")),
        ("[{flag: a, backend_from: {header: x-c}}]", ("rules", 0, "backend_from")),
        ("[{flag: a, backend_from: {header: x-c, in: [b], map: {c: d}}}]", ("rules", 0, "backend_from")),
        ("[{flag: a, backend: b, when: {header: x-c, regex: '('}}]", ("rules", 0, "when", "regex")),
        ("[{flag: a, backend: b, key: {}}]", ("rules", 0, "key")),
        ("[{flag: a, backend: b, key: {first: [{header: 'x c'}]}}]", ("rules", 0, "key", "first", 0, "header")),
        ("[{flag: a, set_headers: {te: b}}]", ("rules", 0, "set_headers", "te")),
    ],
)
def test_a_mistake_says_where_it_is(text: str, where: tuple[str | int, ...]) -> None:
    assert [path for path, _ in rules(text).mistakes()] == [where]


@pytest.mark.parametrize("text", ["[{flag: a, skip: [dedup]}]", "[{flag: a, backend: b, percent: 100.1}]"])
def test_types_refuse_the_rest(text: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        rules(text)
