"""What `GET /config` and `understudy diff` hide, and what they still show."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import yaml
from understudy.config.load import load_bytes
from understudy.config.redact import redacted
from understudy.config.schema import Document, decode, encode
from understudy.filters.redact import HIDDEN
from understudy.proxy import differing

FILE: dict[str, Any] = {
    "listeners": {"ingress": {"bind": "127.0.0.1:7080"}},
    "backends": {"stable": {"endpoints": ["http://127.0.0.1:1"]}, "env": {"endpoints": ["http://127.0.0.1:2"]}},
    "routes": [{"name": "env", "match": {"path_prefix": "/"}, "backend": "stable"}],
    "secret": {"env": "PATH"},
}
Written: TypeAlias = tuple[tuple[str | int, ...], str]
"""The place of a part of the file, and the part."""

ROUTE = ("routes", 0)
CHAIN = (*ROUTE, "filters")


def changed(value: Any, place: tuple[str | int, ...], part: Any) -> Any:
    """A copy of plain values with the part in that place."""
    if not place:
        return part
    first, *rest = place
    copy: Any = list(value) if isinstance(value, list) else dict(value)
    copy[first] = changed(copy[first] if isinstance(copy, list) else copy.get(first, {}), tuple(rest), part)
    return copy


def document(place: tuple[str | int, ...], part: Any) -> Document:
    text = yaml.safe_dump(changed(FILE, place, part))
    loaded = load_bytes(text.encode(), file="understudy.yaml", base="/")
    assert loaded.document is not None, loaded.mistakes
    return loaded.document


def headers(request: str) -> Written:
    return CHAIN, f"[{{type: headers, request: {request}}}]"


def when(condition: str) -> Written:
    return CHAIN, f"[{{type: flags, rules: [{{flag: beta, when: {condition}, backend: env}}]}}]"


def match(rest: str) -> Written:
    return (*ROUTE, "match"), f"{{path_prefix: /, {rest}}}"


def json(fields: str) -> Written:
    return ("backends", "env", "rewrite"), f"{{json: {fields}}}"


SECRETS: list[Written] = [
    headers("{set: {authorization: SECRET}}"),
    headers("{set: {cookie: sid=SECRET, x-plain: v}}"),
    headers("{append: {x-auth-token: SECRET}}"),
    headers("{set: {x-upstream: 'https://user:SECRET@host/'}}"),
    headers("{set: {x-upstream: 'https://user:1/SECRET@host/'}}"),
    when("{header: X-Api-Key, equals: SECRET}"),
    when("{query: access_token, equals: SECRET}"),
    when("{cookie: sid, in: [a, SECRET]}"),
    when("{not: {header: authorization, prefix: SECRET}}"),
    when("{any: [{all: [{query: token, regex: SECRET}]}, {method: GET}]}"),
    match("headers: {authorization: {equals: SECRET}}"),
    match("cookies: {env: SECRET}"),
    match("query: {token: SECRET}"),
    (("stores",), "{ledger: 'redis://user:SECRET@host:6379/0'}"),
    (("telemetry",), "{otlp: {endpoint: 'http://u', headers: {x-team: SECRET}}}"),
    json("{model: m, api_key: SECRET}"),
    json("{token: {env: SECRET}}"),
    json("{cfg: {deep: [{token: SECRET}]}}"),
    json("{cfg: {token: {of: [1, SECRET]}}}"),
]

OPEN: list[Written] = [
    headers("{set: {x-api-key: {env: PATH}}}"),
    headers("{remove: [authorization, cookie]}"),
    when("{header: x-region, equals: eu}"),
    when("{cookie: sid, present: true}"),
    json("{model: m, env: v, file: null}"),
    (("admin",), "{token: {env: PATH}, hosts: [a]}"),
    (("backends", "auth-token"), "{endpoints: ['http://host:1']}"),
]


@pytest.mark.parametrize(("place", "text"), SECRETS)
def test_secrets_are_hidden(place: tuple[str | int, ...], text: str) -> None:
    found = document(place, yaml.safe_load(text))
    shown = encode(redacted(found))
    assert HIDDEN.encode() in shown
    assert b"SECRET" not in shown


@pytest.mark.parametrize(("place", "text"), OPEN)
def test_the_rest_is_shown_as_it_is(place: tuple[str | int, ...], text: str) -> None:
    found = document(place, yaml.safe_load(text))
    assert decode(encode(redacted(found))) == found


@pytest.mark.parametrize(("place", "text"), SECRETS)
def test_a_difference_says_that_a_secret_is_another_and_neither(
    place: tuple[str | int, ...], text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("SECRET", "OTHER"):
        part = yaml.safe_load(text.replace("SECRET", name))
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(changed(FILE, place, part)))
    options = Namespace(old=str(tmp_path / "SECRET.yaml"), new=str(tmp_path / "OTHER.yaml"), json=False)
    assert differing.answer(options) == 1
    said = capsys.readouterr().out
    assert HIDDEN in said
    assert not any(each in said for each in ("SECRET", "OTHER", "\0", "\\u0000"))
