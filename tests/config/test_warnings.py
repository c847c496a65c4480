"""What a valid document should still tell its operator."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from understudy.config.compile import compile_snapshot
from understudy.config.schema import convert
from understudy.config.warnings import warnings
from understudy.filters.api import Request

from tests.kit.services import FakeServices

TODAY = date(2030, 6, 15)


def raw(**changes: Any) -> dict[str, Any]:
    smallest = {
        "listeners": {"ingress": {"bind": "127.0.0.1:7080"}},
        "backends": {"model": {"endpoints": ["http://127.0.0.1:9001"]}},
        "routes": [{"name": "everything", "match": {"path_prefix": "/"}, "backend": "model"}],
    }
    return smallest | changes


def warned(**changes: Any) -> list[tuple[tuple[str | int, ...], str]]:
    written = raw(**changes)
    return list(warnings(convert(written), written, TODAY, "/", {}))


def routes(*matches: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"name": f"r{at}", "match": match, "backend": "model"} for at, match in enumerate(matches)]


def test_the_smallest_file_is_silent() -> None:
    assert warned() == []


@pytest.mark.parametrize(
    "bind", ["127.0.0.1:7081", "127.9.9.9:7081", "[::1]:7081", "localhost:7081", "unix:/run/a.sock", "fd:3"]
)
def test_an_admin_api_of_this_machine_alone(bind: str) -> None:
    assert warned(admin={"bind": bind}) == []


@pytest.mark.parametrize("bind", ["0.0.0.0:7081", "[::]:7081", "10.0.0.1:7081", "pod.internal:7081"])
def test_an_admin_api_that_others_may_reach(bind: str) -> None:
    assert [path for path, _ in warned(admin={"bind": bind})] == [("admin", "bind")]
    assert warned(admin={"bind": bind, "token": {"env": "ADMIN_TOKEN"}}) == []


@pytest.mark.parametrize(("bind", "count"), [("127.0.0.1:0", 1), ("unix:/run/a.sock", 0), ("fd:3", 0)])
def test_a_trusted_unix_peer_where_none_can_call(bind: str, count: int) -> None:
    found = warned(listeners={"ingress": {"bind": bind, "trust": ["127.0.0.0/8", "unix"]}})
    assert [path for path, _ in found] == [("listeners", "ingress", "trust", 1)] * count


@pytest.mark.parametrize(("expires", "count"), [("2030-06-14", 1), ("2030-06-15", 0), ("2030-06-16", 0)])
def test_a_flag_past_its_day(expires: str, count: int) -> None:
    chain = [{"type": "flags", "rules": [{"flag": "old", "backend": "model", "expires": expires}]}]
    found = warned(routes=[{"name": "a", "match": {"path": "/a"}, "backend": "model", "filters": chain}])
    assert len([text for _, text in found if "expired" in text]) == count


@pytest.mark.parametrize(
    "match", [{"path": "/a"}, {"path": "/a/b"}, {"path_prefix": "/a/b/"}, {"path_prefix": "/a", "methods": ["GET"]}]
)
def test_a_route_behind_one_that_takes_all_of_it(match: dict[str, Any]) -> None:
    assert [path for path, _ in warned(routes=routes({"path_prefix": "/a"}, match))] == [("routes", 1, "match")]


@pytest.mark.parametrize("match", [{"path": "/ab"}, {"path_prefix": "/"}, {"path_regex": "/a/.*"}, {"hosts": ["a"]}])
def test_a_route_that_may_yet_match(match: dict[str, Any]) -> None:
    assert warned(routes=routes({"path_prefix": "/a"}, match)) == []


def test_a_taker_with_a_condition_takes_not_all() -> None:
    assert warned(routes=routes({"path_prefix": "/", "methods": ["GET"]}, {"path": "/a"})) == []


def test_a_cookie_that_a_rule_issues_is_seen_by_those_behind_it() -> None:
    has_cookie = {"cookie": "sid", "present": True}
    rules = [
        {"flag": "first", "when": has_cookie, "backend": "model"},
        {"flag": "trial", "percent": 10, "key": {"cookie": "sid", "issue": True}, "set_headers": {"x-a": "1"}},
        {"flag": "late", "when": has_cookie, "backend": "model"},
    ]

    def told(*several: dict[str, Any]) -> list[str]:
        chain = [{"type": "flags", "rules": list(several)}]
        return [text for _, text in warned(routes=[{**routes({"path": "/a"})[0], "filters": chain}])]

    assert not any("never decides" in text for text in told(*rules))
    assert any("late never decides" in text for text in told(rules[0], rules[2], rules[1]))


_paths = st.lists(st.sampled_from(["a", "b", "", "%61"]), max_size=3).map(lambda parts: "/" + "/".join(parts))
_matches = st.builds(
    lambda kind, path, methods: {kind: path} | ({"methods": methods} if methods else {}),
    st.sampled_from(["path", "path_prefix"]),
    _paths,
    st.sampled_from([[], ["GET"]]),
)


@given(st.lists(_matches, min_size=1, max_size=6), st.lists(_paths, min_size=5, max_size=20))
@settings(max_examples=200, deadline=None)
def test_what_is_said_never_to_match_never_does(matches: list[dict[str, Any]], paths: list[str]) -> None:
    document = convert(raw(routes=routes(*matches)))
    silent = {f"r{path[1]}" for path, _ in warnings(document, {}, TODAY, "/", {})}
    snapshot = compile_snapshot(document, FakeServices(), version=1, workers=1, base="/")
    for path in paths:
        found = snapshot.match(Request(b"GET", path.encode(), b"", []))
        assert found is None or found.name not in silent
