"""`POST /explain`: what runs now answers, with its secret, its header values and the endpoints that are up."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kit.ask import get, understudy, until
from tests.kit.held import held_backend
from tests.kit.program import Program, running

CONFIG = """
listeners: {ingress: {bind: 127.0.0.1:0}, inner: {bind: 127.0.0.1:0, trust: [127.0.0.1]}}
admin: {bind: 127.0.0.1:0}
backends: {stable: {endpoints: [URL]}, dead: {endpoints: [http://127.0.0.1:1]}}
routes:
  - name: inside
    match:
      path_prefix: /
      headers: {x-api-key: hush, x-team: ours}
      cookies: {sid: {prefix: hush}}
      query: {token: hush}
      when: {not: {header: x-plain, present: true}}
    backend: stable
  - name: all
    match: {path_prefix: /}
    backend: stable
    filters:
      - {type: flags, rules: [{flag: vip, when: {header: authorization, equals: hush}, set_headers: {x-vip: "1"}}]}
      - {type: split, experiment: e, key: {header: x-user-id}, arms: {dead: 100, stable: 1}, on_unavailable: next}
      - {type: mirror, to: [{backend: dead, percent: 0}]}
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    with held_backend() as backend:
        with running(CONFIG.replace("URL", backend.url), tmp_path_factory.mktemp("explain")) as each:
            yield each


def posted(program: Program, body: bytes) -> tuple[int, dict[str, Any]]:
    request = urllib.request.Request(
        program.url("admin") + "/explain", data=body, headers={"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, json.loads(refused.read())


def asked(program: Program, **question: Any) -> dict[str, Any]:
    code, found = posted(program, json.dumps({"method": "GET", "target": "/", **question}).encode())
    assert code == 200, found
    return found


def test_values_that_config_hides_still_decide(program: Program) -> None:
    assert "hush" not in get(program.url("admin") + "/config")[1]
    assert asked(program, headers=[["authorization", "hush"]])["flags"] == ["vip"]
    assert asked(program, headers=[["authorization", "other"]])["flags"] == []


def test_and_are_hidden_where_it_is_told_why_not(program: Program) -> None:
    (passed,) = asked(program)["passed_over"]
    assert passed["why"] == [
        'header x-api-key is absent, wanted {"equals": "(hidden)"}',
        'header x-team is absent, wanted {"equals": "ours"}',
        'cookie sid is absent, wanted {"prefix": "(hidden)"}',
        'query token is absent, wanted {"equals": "(hidden)"}',
    ]
    found = asked(program, headers=[["authorization", "other"]])
    assert found["steps"][0]["words"] == ['not vip: header authorization is "other", wanted {"equals": "(hidden)"}']
    assert "hush" not in json.dumps(found)


def test_an_arm_that_is_down_is_known_though_nothing_speaks_against_it_as_a_shadow(program: Program) -> None:
    def told() -> dict[str, Any]:
        get(program.url("ingress"), {"x-user-id": "u1"})  # finds out, and again when its pause is over
        return asked(program, headers=[["x-user-id", "u1"]])

    until(lambda: told()["steps"][1]["facts"]["why"] == "unavailable")


def test_trust_is_the_listeners(program: Program) -> None:
    assert asked(program)["trusted"] is False
    assert asked(program, listener="inner", headers=[["x-request-id", "mine"]])["request_id"] == "mine"
    assert asked(program, listener="inner", client="192.0.2.1")["trusted"] is False
    assert asked(program, trusted=True)["trusted"] is True


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "truncated"),
        (b'{"method": "GET"}', "target"),
        (
            b'{"method": "GET", "target": "/", "listener": "nowhere"}',
            "nowhere is no listener; allowed: ingress or inner",
        ),
        (b'{"method": "GET", "target": "/", "client": "nobody"}', "nobody"),
        (b'{"method": "GET", "target": "/", "colour": "red"}', "colour"),
    ],
)
def test_a_wrong_question(program: Program, body: bytes, text: str) -> None:
    code, found = posted(program, body)
    assert (code, text in found["detail"]) == (422, True)


def test_the_command_asks_and_says_what_is_wrong(program: Program, tmp_path: Path) -> None:
    words = ("explain", "--running", "--admin", program.url("admin"), "GET", "/")
    done = understudy(*words, "-H", "authorization: hush", folder=tmp_path)
    assert (done.returncode, "flag vip: sets x-vip" in done.stdout) == (0, True)
    done = understudy(*words, "--listener", "nowhere", folder=tmp_path)
    assert (done.returncode, "nowhere is no listener" in done.stderr) == (1, True)
    done = understudy("explain", "--running", "--admin", "http://127.0.0.1:1", "GET", "/", folder=tmp_path)
    assert done.returncode == 2
