"""The router: the first route that matches, found without asking every route."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from understudy.config.routes import Router, shared_prefix
from understudy.config.snapshot import Backend, Chain, Route
from understudy.filters.api import Request
from understudy.filters.matching import Condition, Match, ValueMatch

from tests.kit.heads import request

BACKEND = Backend(name="stable", version="7", endpoints=())


def route(name: str) -> Route:
    return Route(name=name, backend=BACKEND, chain=Chain())


def routed(matches: list[Match], head: str) -> str | None:
    found = Router([(match, route(str(at))) for at, match in enumerate(matches)]).match(request(head))
    return None if found is None else found.name


def test_the_first_match_of_the_document_wins_however_the_routes_are_filed() -> None:
    matches = [
        Match(path_prefix="/v2", methods=("PUT",)),
        Match(path_regex="/v2/models/[a-z]+"),
        Match(path="/v2/models/iris"),
        Match(path_prefix="/v2/models", headers={"x-a": "b"}),
        Match(path_prefix="/"),
        Match(path="/never"),
    ]
    assert routed(matches, "PUT /v2/models/iris HTTP/1.1") == "0"
    assert routed(matches, "GET /v2/models/iris HTTP/1.1") == "1"
    assert routed(matches, "GET /v2/models/iris7 HTTP/1.1\nx-a: b") == "3"
    assert routed(matches, "GET /v2/models/iris7 HTTP/1.1") == "4"
    assert routed(matches, "GET /never HTTP/1.1") == "4"
    assert routed(matches[:4], "GET /elsewhere HTTP/1.1") is None
    assert routed([], "GET / HTTP/1.1") is None


@pytest.mark.parametrize(
    ("prefix", "target", "taken"),
    [
        ("/a", "/a", True),
        ("/a", "/a/", True),
        ("/a", "/a/b/c", True),
        ("/a", "/a?x", True),
        ("/a", "/a/b?x", True),
        ("/a", "/ab", False),
        ("/a", "/", False),
        ("/a", "/b/a", False),
        ("/a/", "/a", False),
        ("/a/", "/a/", True),
        ("/a/", "/a//", True),
        ("/a/", "/a/b", True),
        ("/a//", "/a//b", True),
        ("/a//", "/a/b", False),
        ("/a/b/c", "/a/b", False),
        ("/a/b/c", "/a/b/c/d", True),
        ("/", "/", True),
        ("/", "*", True),
        ("/", "model:443", True),
        ("/a%2Fb", "/a%2fb/c", True),
        ("/a", "/a%2Fb", False),
        ("/a", "/%61/b", True),
    ],
)
def test_prefixes_end_on_segment_borders(prefix: str, target: str, taken: bool) -> None:
    assert routed([Match(path_prefix=prefix)], f"GET {target} HTTP/1.1") == ("0" if taken else None)


def test_a_path_alone_is_no_condition_on_the_rest() -> None:
    assert routed([Match(hosts=("a.test",))], "GET /x HTTP/1.1\nHost: A.test:80") == "0"
    assert routed([Match(hosts=("a.test",))], "GET /x HTTP/1.1\nHost: b.test") is None
    assert routed([Match(methods=("GET",))], "OPTIONS * HTTP/1.1") is None


@pytest.mark.parametrize(
    ("pattern", "prefix"),
    [
        ("/v2/models/[^/]+/infer", "/v2/models/"),
        ("/v2/(models|m)/x", "/v2/"),
        ("^/abc/.*", "/abc/"),
        ("/a/b(b|c)", "/a/"),
        ("/a|/b", "/"),
        ("/a/|/b/c", "/"),
        ("/a/?b", "/"),
        ("/a/b/*", "/a/"),
        ("(?i)/v2/a", "/"),
        (".*", "/"),
        (".*/a/", "/"),
        ("a/b/", "/"),
        (r"/a/[|]\Q(|\E/x", "/a/|(|/"),
    ],
)
def test_a_regex_is_filed_under_the_prefix_that_its_matches_share(pattern: str, prefix: str) -> None:
    assert shared_prefix(pattern) == prefix.encode()


_regexes = st.lists(
    st.sampled_from(
        ["/", "a", "b", ".", "/?", "a*", "(a|/)", "(/b|/a)", "[^/]", "[/-1]", "(?:a/)+", "|", "0", "(?i:b)"]
    ),
    min_size=1,
    max_size=6,
).map("".join)
_targets = st.text(alphabet="/ab0.", max_size=6).map(lambda text: "/" + text)


@given(_regexes, _targets)
@example("/a/|/a0", "/a0")
@example("/a/[^/]*", "/a/")
def test_every_match_of_a_regex_begins_with_its_shared_prefix(pattern: str, path: str) -> None:
    if re.fullmatch(pattern, path):
        assert path.encode().startswith(shared_prefix(pattern)) or shared_prefix(pattern) == b"/"


def plainly_matches(match: Match, asked: Request) -> bool:
    """The same decision without an index, a compiled predicate or a normal form beyond the escapes drawn here."""
    path = asked.path.decode().replace("%61", "a")
    fields = {name.decode(): value.decode() for name, value in asked.fields.items()}
    host = asked.authority.decode().lower().split(":")[0]
    prefix = match.path_prefix or "/"
    tests = [(test,) if isinstance(test, str) else test.one_of for test in match.headers.values()]
    return all(
        [
            match.path in (None, path),
            match.path_regex is None or re.fullmatch(match.path_regex, path),
            prefix in ("/", path) or path.startswith(prefix.rstrip("/") + "/"),
            not match.methods or asked.method.decode() in match.methods,
            not match.hosts
            or any(host == name or (name[0] == "*" and host.endswith(name[1:])) for name in match.hosts),
            all(fields.get(name) in (wanted or ()) for name, wanted in zip(match.headers, tests, strict=True)),
            match.when is None or "b" in fields,
        ]
    )


_paths = st.sampled_from(["/a", "/a/", "/a/b", "/a/b/", "/ab", "/b", "/a/b/c", "/"])
_matches = st.builds(
    lambda paths, methods, hosts, headers, when: Match(
        **paths, methods=methods, hosts=hosts, headers=headers, when=when
    ),
    st.builds(lambda path: {"path": path}, _paths)
    | st.builds(lambda path: {"path_prefix": path}, _paths)
    | st.builds(
        lambda regex: {"path_regex": regex}, st.sampled_from(["/a/[^/]*", "/a|/b", ".*/b", "/a/b(/.*)?", "/a0?"])
    )
    | st.just({}),
    st.sampled_from([(), (), ("GET",), ("GET", "POST")]),
    st.sampled_from([(), (), ("x.test",), ("x.test", "y.test"), ("*.test",), ("*.x.test", "y.test")]),
    st.sampled_from([{}, {}, {"a": "1"}, {"a": ValueMatch(one_of=("1", "2"))}, {"a": "2", "b": "1"}]),
    st.sampled_from([None, None, Condition(header="b", present=True)]),
)
_requests = st.builds(
    lambda method, path, host, a, b: request(f"{method} {path} HTTP/1.1\nHost: {host}{a}{b}"),
    st.sampled_from(["GET", "POST", "PUT"]),
    st.lists(st.sampled_from(["/a", "/b", "/c", "/", "b", "0", "%61"]), min_size=1, max_size=4).map(
        lambda pieces: ("/" + "".join(pieces)).replace("//", "/", 1)
    ),
    st.sampled_from(["x.test", "Y.test:80", "w.x.test", "z.other"]),
    st.sampled_from(["", "\na: 1", "\na: 2", "\na: 3"]),
    st.sampled_from(["", "\nb: 1"]),
)


@given(st.lists(_matches, max_size=12), st.lists(_requests, min_size=1, max_size=5))
@settings(max_examples=300)
def test_the_router_agrees_with_asking_every_route_in_order(matches: list[Match], asked: list[Request]) -> None:
    routes = [(match, route(str(at))) for at, match in enumerate(matches)]
    router = Router(routes)
    for each in asked:
        plainly = next((route for match, route in routes if plainly_matches(match, each)), None)
        assert router.match(each) is plainly, (each.method, each.target, each.authority, each.headers)


def calls_of(work: Callable[[], Any]) -> int:
    """How many functions, Python's and C's, are called: a cost that no busy neighbour disturbs."""
    count = 0

    def counted(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(counted)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


KINDS: dict[str, tuple[Callable[[int], Match], str]] = {
    "paths": (lambda at: Match(path=f"/m{at}/infer"), "POST /m{last}/infer HTTP/1.1"),
    "prefixes": (lambda at: Match(path_prefix=f"/v2/models/m{at}"), "POST /v2/models/m{last}/infer HTTP/1.1"),
    "regexes": (lambda at: Match(path_regex=f"/v2/m{at}/[^/]+"), "POST /v2/m{last}/infer HTTP/1.1"),
    "hosts": (lambda at: Match(hosts=(f"t{at}.test",)), "POST /v1 HTTP/1.1\nHost: t{last}.test"),
    "headers": (lambda at: Match(path="/v1", headers={"x-model": f"m{at}"}), "POST /v1 HTTP/1.1\nx-model: m{last}"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_thousand_literal_routes_ask_no_more_than_ten(kind: str) -> None:
    build, head = KINDS[kind]

    def cost(count: int) -> int:
        router = Router([(build(at), route(str(at))) for at in range(count)])
        asked = request(head.format(last=count - 1))
        found = router.match(asked)
        assert found is not None and found.name == str(count - 1)
        return calls_of(lambda: router.match(asked))

    assert cost(1000) == cost(10)


def test_a_path_of_many_segments_is_walked_no_deeper_than_the_routes_go() -> None:
    router = Router([(Match(path_prefix="/a/b"), route("ab")), (Match(path_prefix="/"), route("all"))])
    short, long = request("GET /x/y/z HTTP/1.1"), request(f"GET {'/x' * 4000} HTTP/1.1")
    assert calls_of(lambda: router.match(long)) == calls_of(lambda: router.match(short))
