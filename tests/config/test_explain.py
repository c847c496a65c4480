"""What would become of a request, and why."""

from __future__ import annotations

import msgspec
import pytest
from understudy.config.compile import compile_snapshot
from understudy.config.explain import Explanation, explain
from understudy.config.load import load_bytes
from understudy.config.schema import decode

from tests.kit.services import FakeServices

FILE = """
listeners:
  ingress: {bind: 127.0.0.1:7080}
backends:
  stable: {endpoints: [http://127.0.0.1:9001, "unix:/run/model.sock"], version: "7"}
  canary: {endpoints: [http://127.0.0.1:9002], rewrite: {path: {prefix: /v2/models/iris, to: /v2/models/iris-8}}}
routes:
  - name: picky
    match:
      path: /v2/models/iris/infer
      methods: [POST]
      hosts: [models.example]
      headers: {x-employee: "true", x-region: {prefix: eu-}}
      cookies: {beta: {present: true}}
      query: {n: {range: [1, 10]}}
      when: {not: {header: x-bot, present: true}}
    backend: stable
  - {name: numbered, match: {path_regex: "/v[0-9]+"}, backend: stable}
  - name: iris
    match: {path_prefix: /v2/models/iris}
    backend: canary
    filters: [{type: headers, response: {remove: [server]}}, {type: dedup}]
  - {name: rest, match: {methods: [GET]}, backend: stable}
"""


def explained(method: str, target: str, headers: tuple[tuple[str, str], ...] = ()) -> Explanation:
    loaded = load_bytes(FILE.encode(), file="u.yaml", base="/")
    assert loaded.mistakes == []
    snapshot = compile_snapshot(decode(loaded.wire), FakeServices(), version=1, workers=1, base="/")
    return explain(snapshot, method, target, headers)


def test_the_words_tell_the_route_the_backend_and_every_condition_that_failed() -> None:
    words = explained(
        "GET", "/v2/models/iris?n=10", (("Host", "localhost"), ("X-Bot", "1"), ("x-region", "us-1"))
    ).words()
    assert words.splitlines() == [
        "GET /v2/models/iris?n=10  host localhost",
        "  not picky: path /v2/models/iris is not /v2/models/iris/infer; method GET is not POST;"
        ' host localhost is not models.example; header x-employee is absent, wanted {"equals": "true"};'
        ' header x-region is "us-1", wanted {"prefix": "eu-"}; cookie beta is absent, wanted {"present": true};'
        ' query n is "10", wanted {"range": [1, 10]}; when {"not": {"present": true, "header": "x-bot"}} does not hold',
        "  not numbered: path /v2/models/iris is no match of /v[0-9]+",
        "  route iris: the first that matches",
        "  filters headers",
        "  not active yet, without effect: dedup",
        "  backend canary: 127.0.0.1:9002",
        "  sent as /v2/models/iris-8?n=10",
    ]


def test_the_route_that_matches_wholly_is_taken() -> None:
    headers = (("x-employee", "true"), ("x-region", "eu-1"), ("cookie", "a=b; beta=1"))
    found = explained("POST", "http://models.example/v2/models/iris/infer?n=9", headers)
    assert (found.route, found.backend, found.version, found.passed_over) == ("picky", "stable", "7", ())
    assert found.endpoints == ("127.0.0.1:9001", "unix:/run/model.sock")


def test_no_route() -> None:
    found = explained("PUT", "/")
    assert (found.route, found.backend, found.target_sent) == (None, None, None)
    assert [passed.route for passed in found.passed_over] == ["picky", "numbered", "iris", "rest"]
    assert found.words().endswith("no route matches: the client reads 404, no_route")


def test_the_json_holds_the_same() -> None:
    found = explained("GET", "/other")
    assert msgspec.json.decode(msgspec.json.encode(found), type=Explanation) == found


@pytest.mark.parametrize("target", ["other", "*", ""])
def test_what_no_request_asks_for(target: str) -> None:
    with pytest.raises(ValueError, match="is no target"):
        explained("GET", target)


def test_the_target_of_options() -> None:
    assert explained("OPTIONS", "*").route is None
