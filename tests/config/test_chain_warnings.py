"""What is said never to decide, act or be mirrored never does: no false alarm. The words are in tests/golden."""

from __future__ import annotations

from datetime import date
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from understudy.config.chain_warnings import chain_warnings, possible_backends
from understudy.config.compile import compile_snapshot
from understudy.config.explain import explain
from understudy.config.explanation import Explanation
from understudy.config.schema import Document, convert
from understudy.filters.api import Request
from understudy.filters.flags import FlagsConfig

from tests.kit.services import FakeServices

TODAY = date(2030, 6, 15)
KEY = {"header": "x-user"}

_conditions: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.builds(lambda value: {"header": "x-a", "equals": value}, st.sampled_from("ab")),
        st.builds(lambda value: {"header": "X-A", "prefix": value}, st.sampled_from("ab")),
        st.builds(lambda values: {"header": "x-a", "in": values}, st.sampled_from([["a", "b"], ["b"]])),
        st.builds(lambda method: {"method": method}, st.sampled_from(["GET", "POST"])),
        st.builds(lambda path: {"path_prefix": path}, st.sampled_from(["/", "/a", "/a/b", "/c"])),
    ),
    lambda inner: st.one_of(
        st.builds(lambda each: {"not": each}, inner),
        st.builds(lambda kind, both: {kind: list(both)}, st.sampled_from(["all", "any"]), st.tuples(inner, inner)),
    ),
    max_leaves=3,
)
_effects = st.one_of(
    st.builds(lambda name: {"backend": name}, st.sampled_from(["stable", "canary"])),
    st.just({"backend_from": {"header": "x-a", "map": {"a": "canary"}}}),
    st.builds(
        lambda names: {"set_headers": dict.fromkeys(names, "1")}, st.sets(st.sampled_from(["x-a", "X-B"]), min_size=1)
    ),
    st.builds(lambda names: {"skip": sorted(names)}, st.sets(st.sampled_from(["mirror", "split"]), min_size=1)),
)
_rules = st.builds(
    lambda effects, more, when, rest: {**effects, **more, **({"when": when} if when else {}), **rest},
    _effects,
    _effects.filter(lambda each: not any("backend" in name for name in each)) | st.just({}),
    st.none() | _conditions,
    st.sampled_from([{}, {}, {}, {"from": "trusted"}, {"enabled": False}, {"percent": 30, "key": KEY}, {"percent": 0}]),
)
_chains = st.tuples(
    st.lists(_rules, min_size=1, max_size=4),
    st.booleans(),
    st.sampled_from([{"stable": 1}, {"stable": 1, "canary": 0}, {"stable": 1, "next": 1}]),
    st.none() | _conditions,
    st.integers(0, 4),
    st.sampled_from([None, {"x-a": "a"}, {"X-B": "b"}]),
)
_requests = st.builds(
    lambda method, path, value, user: Request(
        method.encode(), path.encode(), b"a",
        [(b"x-a", value.encode())] * bool(value) + [(b"x-user", user.encode())] * bool(user),
    ),
    st.sampled_from(["GET", "POST", "PUT"]), st.sampled_from(["/a", "/a/b", "/a/b/c", "/ab"]),
    st.sampled_from(["", "a", "b", "ab"]), st.sampled_from(["", "u1", "u2", "u3"]),
)  # fmt: skip


def document(
    rules: list[Any], heads: bool, arms: dict[str, int], when: Any, cut: int, headers: Any, left_out: str = ""
) -> Document:
    """Two filters of flags, the second from the rule at `cut` on, with headers written between them; the flag
    `left_out` never was."""
    named = [{"flag": f"f{at}", **rule} for at, rule in enumerate(rules)]
    shadow = {"backend": "canary", **({"when": when} if when else {})}
    kept = [[rule for rule in part if rule["flag"] != left_out] for part in (named[:cut], named[cut:])]
    first, second = [[{"type": "flags", "rules": part}] if part else [] for part in kept]
    between = [{"type": "headers", "request": {"set": headers}}] if headers else []
    chain: list[Any] = [*first, *between, *second]
    chain.append({"type": "split", "experiment": "e", "key": KEY, "arms": arms})
    chain.append({"type": "mirror", "to": [shadow, {"backend": "stable"}]})
    match = {"path_prefix": "/a", "methods": ["GET", "POST"]} | ({"headers": {"x-a": {"prefix": "a"}}} if heads else {})
    endpoint = {"endpoints": ["http://127.0.0.1:9001"]}
    return convert(
        {
            "listeners": {"ingress": {"bind": "127.0.0.1:7080", "trust": ["10.0.0.0/8"]}},
            "backends": {"stable": endpoint, "canary": endpoint, "next": endpoint},
            "routes": [{"name": "r", "match": match, "backend": "stable", "filters": chain}],
        }
    )


def flag_at(made: Document, path: tuple[str | int, ...]) -> str:
    config = made.routes[0].filters[int(path[1])]
    assert isinstance(config, FlagsConfig)
    return config.rules[int(path[3])].flag


def told(made: Document, request: Request, trusted: bool) -> Explanation:
    snapshot = compile_snapshot(made, FakeServices(), version=1, workers=1, base="/")
    asked = Request(request.method, request.target, request.authority, request.headers)
    return explain(snapshot, asked, trusted=trusted)


@given(_chains, st.lists(st.tuples(_requests, st.booleans()), min_size=4, max_size=8))
@settings(max_examples=250, deadline=None)
def test_what_is_told_is_so_for_every_request(chain: Any, requests: list[tuple[Request, bool]]) -> None:
    made = document(*chain)
    possible = possible_backends(made.routes[0])
    warnings = [(path[2:], text) for path, text in chain_warnings(made, TODAY)]
    useless = [path for path, text in warnings if "never decides" in text or "decides nothing" in text]
    without = {flag: document(*chain, left_out=flag) for flag in (flag_at(made, path) for path in useless)}
    for request, trusted in requests:
        found = told(made, request, trusted)
        if found.call is None:
            continue
        assert found.call.backend in possible
        for flag, other in without.items():
            assert flag not in found.flags
            same = told(other, request, trusted)
            assert (same.call, same.set_headers, same.arm) == (found.call, found.set_headers, found.arm)
        for path, text in warnings:
            if "never acts" in text:
                step = found.steps[int(path[1])]
                assert step.skipped_by is not None or step.facts.get("why") == "flag"
            elif "hears nothing" in text:
                assert all(copy.call.backend != "canary" for copy in found.copies)
            elif "nothing is mirrored" in text:
                assert all(copy.refused == "same_backend" for copy in found.copies if copy.call.backend == "stable")
