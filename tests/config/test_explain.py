"""What would become of a request, and why. The words are in tests/golden/explain."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from understudy.config.compile import compile_snapshot
from understudy.config.explain import explain
from understudy.config.explanation import Explanation
from understudy.config.load import load_bytes
from understudy.config.schema import decode
from understudy.config.snapshot import Snapshot, target_of
from understudy.config.why_not import why_not
from understudy.filters.api import Exchange, Failure, Request
from understudy.filters.matching import Condition, Match

from tests.kit.services import FakeServices

FILE = """
listeners:
  ingress: {bind: 127.0.0.1:7080}
backends:
  stable: {endpoints: [http://127.0.0.1:9001, "unix:/run/model.sock"], version: "7"}
  canary: {endpoints: [http://127.0.0.1:9002], rewrite: {path: {prefix: /v2/models/iris, to: /v2/models/iris-8}}}
  next: {endpoints: [http://127.0.0.1:9003]}
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
    backend: stable
    filters:
      - type: flags
        rules:
          - {flag: dogfood, when: {header: x-employee, equals: "true"}, backend: canary, set_headers: {x-a: "1"}}
          - {flag: quiet, when: {header: x-quiet, present: true}, skip: [mirror, headers]}
          - {flag: some, percent: 30, key: {header: x-user-id}, set_headers: {x-b: "1"}}
      - {type: headers, request: {set: {x-a: "2"}, append: {x-c: "3"}, remove: [x-internal]}}
      - type: split
        experiment: e
        key: {header: x-user-id, missing: refuse}
        arms: {stable: 50, canary: {weight: 50, set_headers: {x-arm: canary}}}
      - type: mirror
        to:
          - {backend: next, percent: 50, max_body: 1KiB, rewrite: {path: {prefix: /v2/models, to: /v3}}}
          - {backend: canary}
  - {name: rest, match: {methods: [GET]}, backend: stable}
"""


def compiled() -> Snapshot:
    loaded = load_bytes(FILE.encode(), file="u.yaml", base="/")
    assert loaded.mistakes == []
    return compile_snapshot(decode(loaded.wire), FakeServices(), version=1, workers=1, base="/")


def request(method: str, target: str, *headers: tuple[str, str], host: str = "", length: int = 0) -> Request:
    lines = [(name.encode(), value.encode()) for name, value in headers]
    return Request(method.encode(), target.encode(), host.encode(), lines, b"", length == 0, length)


def explained(*asked: Any, upgrades: bool = False, **more: Any) -> Explanation:
    return explain(compiled(), request(*asked, **more), id=b"0192-a", upgrades=upgrades)


def test_every_condition_of_a_match_that_failed() -> None:
    headers = (("x-bot", "1"), ("x-region", "us-1"))
    found = explained("GET", "/v2/models/iris?n=10", *headers, host="localhost")
    assert [(passed.route, *passed.why) for passed in found.passed_over] == [
        (
            "picky",
            "path /v2/models/iris is not /v2/models/iris/infer",
            "method GET is not POST",
            "host localhost is not models.example",
            'header x-employee is absent, wanted {"equals": "true"}',
            'header x-region is "us-1", wanted {"prefix": "eu-"}',
            'cookie beta is absent, wanted {"present": true}',
            'query n is "10", wanted {"range": [1, 10]}',
            'when {"not": {"present": true, "header": "x-bot"}} does not hold',
        ),
        ("numbered", "path /v2/models/iris is no match of /v[0-9]+"),
    ]


@pytest.mark.parametrize(
    ("match", "why"),
    [
        (Match(path_prefix="/v2", path_suffix="/infer"), "path /v2/m is not one that ends in /infer"),
        (Match(path_suffix="/infer"), "path /v2/m is not one that ends in /infer"),
        (Match(when=Condition(path_suffix="/infer")), "path /v2/m is not one that ends in /infer"),
        (Match(path_prefix="/v1", path_suffix="/infer"), "path /v2/m is not under /v1"),
    ],
)
def test_a_path_that_ends_otherwise(match: Match, why: str) -> None:
    assert list(why_not(match, request("GET", "/v2/m"))) == [why]


def test_the_route_that_matches_wholly_is_taken() -> None:
    headers = (("x-employee", "true"), ("x-region", "eu-1"), ("cookie", "a=b; beta=1"))
    found = explained("POST", "/v2/models/iris/infer?n=9", *headers, host="models.example")
    assert found.call is not None
    assert (found.route, found.call.backend, found.call.version, found.passed_over) == ("picky", "stable", "7", ())
    assert found.call.endpoints == ("127.0.0.1:9001", "unix:/run/model.sock")


def test_no_route() -> None:
    found = explained("PUT", "/")
    assert (found.route, found.call) == (None, None)
    assert found.refused is not None
    assert found.refused.reason == "no_route"
    assert [passed.route for passed in found.passed_over] == ["picky", "numbered", "iris", "rest"]


def test_a_flag_chooses_and_the_copy_for_the_backend_itself_is_not_made() -> None:
    found = explained("POST", "/v2/models/iris/infer", ("x-employee", "true"), ("x-internal", "1"))
    assert (found.flags, found.experiment, found.arm) == (("dogfood",), None, None)
    assert found.call is not None
    assert (found.call.backend, found.call.target) == ("canary", "/v2/models/iris-8/infer")
    assert (found.set_headers, found.removed_headers) == (("x-a", "x-c"), ("x-internal",))
    assert {copy.call.backend: copy.refused for copy in found.copies}["canary"] == "same_backend"


def test_what_a_flag_skips_is_not_entered() -> None:
    found = explained("POST", "/v2/models/iris/infer", ("x-quiet", "1"), ("x-user-id", "u1"))
    assert [(step.filter, step.skipped_by) for step in found.steps] == [
        ("flags", None), ("headers", "quiet"), ("split", None), ("mirror", "quiet"),
    ]  # fmt: skip
    assert found.copies == ()
    assert "x-c" not in found.set_headers


def test_a_filter_that_refuses_ends_the_chain() -> None:
    found = explained("POST", "/v2/models/iris/infer")
    assert [step.filter for step in found.steps] == ["flags", "headers"]
    assert found.refused is not None
    assert (found.refused.by, found.refused.reason, found.call) == ("split", "key_missing", None)


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({}, None),
        ({"length": 1024}, None),
        ({"length": 1025}, "body_too_large"),
        ({"upgrades": True}, "not_mirrorable"),
    ],
)
def test_static_reasons_against_a_copy(asked: dict[str, Any], reason: str | None) -> None:
    upgrades = asked.pop("upgrades", False)
    snapshot = compiled()
    target = request("POST", "/v2/models/iris/infer", ("x-user-id", "u1"), **asked)
    ids = (b"%d" % number for number in range(100))
    found = next(
        each for id in ids for each in explain(snapshot, target, id=id, upgrades=upgrades).copies
        if each.call.backend == "next"
    )  # fmt: skip
    assert (found.refused, found.call.target) == (reason, "/v3/iris/infer")


@given(
    user=st.sampled_from(["", "u1", "u2", "u3", "u4"]),
    headers=st.lists(st.sampled_from([("x-employee", "true"), ("x-quiet", "1"), ("x-internal", "1")]), unique=True),
    target=st.sampled_from(["/v2/models/iris/infer", "/v2/models/%69ris/infer?a=/b", "/v2/models/irisx", "/v2"]),
    id=st.binary(min_size=1, max_size=8),
)
@settings(max_examples=150, deadline=None)
def test_the_explanation_is_what_the_chain_does(
    user: str, headers: list[tuple[str, str]], target: str, id: bytes
) -> None:
    """The same as running each hook, and as the data plane's own rewriting."""
    snapshot = compiled()
    lines = headers + ([("x-user-id", user)] if user else [])
    found = explain(snapshot, request("POST", target, *lines), id=id)
    live = request("POST", target, *lines)
    route = snapshot.match(live)
    if route is None:
        assert found.route is None
        return
    exchange = Exchange(live, route.name, route.backend.name, id, "127.0.0.1", False)
    try:
        for position, hook in route.chain.request:
            if exchange.skips is None or route.chain.names[position] not in exchange.skips:
                assert hook(exchange) is None
    except Failure as failure:
        assert found.refused is not None
        assert found.refused.reason == failure.reason
        return
    assert found.call is not None
    assert (found.route, found.call.backend, found.arm) == (route.name, exchange.backend, exchange.arm or None)
    assert found.call.target == target_of(live, snapshot.backends[exchange.backend]).decode()
    assert found.flags == tuple(exchange.flags or ())
    shadows = route.mirror.shadows if route.mirror is not None else {}
    assert [(copy.call.backend, copy.call.target) for copy in found.copies] == [
        (name, target_of(live, shadows[name].backend, shadows[name]).decode()) for name in exchange.copies or ()
    ]


def test_the_json_holds_the_same() -> None:
    found = explained("POST", "/v2/models/iris/infer", ("x-user-id", "u1"))
    assert msgspec.json.decode(msgspec.json.encode(found), type=Explanation).words() == found.words()
