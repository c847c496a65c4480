"""What `when:` conditions hold for, and what an operator reads who writes a wrong one."""

from __future__ import annotations

import msgspec
import pytest
import yaml
from understudy.filters.matching import MAX_DEPTH, Condition, Match
from understudy.filters.predicates import compile_condition, compile_match

from tests.kit.heads import request


def holds(when: str, head: str) -> bool:
    condition = msgspec.convert(yaml.safe_load(when), Condition)
    assert condition.mistakes() == []
    return compile_condition(condition)(request(head))


def mistakes(kind: type[Condition | Match], text: str) -> list[str]:
    found = msgspec.convert(yaml.safe_load(text), kind).mistakes()
    return [": ".join([".".join(map(str, path)), what]) for path, what in found]


@pytest.mark.parametrize(
    ("when", "value", "expected"),
    [
        ("equals: eu-west", "eu-west", True),
        ("equals: eu-west", "EU-west", False),
        ("equals: EU-West, ignore_case: true", "eu-wEST", True),
        ("equals: eu-west", "eu-west-1", False),
        ("in: [stable, canary]", "canary", True),
        ("in: [stable, canary]", "can", False),
        ("in: [Stable], ignore_case: true", "STABLE", True),
        ("prefix: eu-", "eu-west", True),
        ("prefix: eu-", "us-eu-", False),
        ("suffix: '-1'", "eu-west-1", True),
        ("suffix: '-1'", "-1-", False),
        ("contains: west", "eu-west-1", True),
        ("contains: WEST, ignore_case: true", "eu-west-1", True),
        ("contains: east", "eu-west-1", False),
        ("regex: 'eu-[a-z]+'", "eu-west", True),
        ("regex: 'eu-[a-z]+'", "eu-west-1", False),
        ("regex: 'EU-[A-Z]+', ignore_case: true", "eu-west", True),
        ("regex: 'a.c'", "a\xffc", True),
        ("range: [1, 10]", "1", True),
        ("range: [1, 10]", "10", False),
        ("range: [-5, 10]", "-5", True),
        ("range: [1, 10]", "3.5", False),
        ("range: [1, 10]", "", False),
        ("range: [1, 10]", "- 3", False),
        ("range: [1, 10]", "9" * 5000, False),
        ("present: true", "", True),
        ("present: false", "", False),
    ],
)
@pytest.mark.parametrize("subject", ["header", "cookie", "query"])
def test_every_operator_on_every_subject_with_a_value(subject: str, when: str, value: str, expected: bool) -> None:
    heads = {
        "header": f"GET / HTTP/1.1\nX-It: {value}",
        "cookie": f"GET / HTTP/1.1\nCookie: a=b; X-It={value}; c=d",
        "query": f"GET /?a=b&X-It={value}&c=d HTTP/1.1",
    }
    assert holds(f"{{{subject}: X-It, {when}}}", heads[subject]) is expected


@pytest.mark.parametrize("subject", ["header", "cookie", "query"])
@pytest.mark.parametrize(
    "when", ["equals: ''", "in: ['']", "prefix: a", "regex: '.*'", "range: [0, 1]", "present: true", "contains: a"]
)
def test_what_is_absent_passes_no_operator_but_present_false(subject: str, when: str) -> None:
    assert holds(f"{{{subject}: x-it, {when}}}", "GET / HTTP/1.1") is False
    assert holds(f"{{not: {{{subject}: x-it, {when}}}}}", "GET / HTTP/1.1") is True
    assert holds(f"{{{subject}: x-it, present: false}}", "GET / HTTP/1.1") is True


def test_repeated_lines_of_a_header_are_one_value() -> None:
    twice = "GET / HTTP/1.1\nx-tag: a\nx-tag: b"
    assert holds("{header: x-tag, equals: 'a, b'}", twice)
    assert not holds("{header: x-tag, equals: a}", twice)
    assert holds("{header: x-tag, suffix: b}", twice)


def test_one_passing_value_of_a_repeated_cookie_or_parameter_is_enough() -> None:
    twice = "GET /?tier=free&tier=gold HTTP/1.1\nCookie: tier=free; tier=gold"
    for subject in ("query", "cookie"):
        assert holds(f"{{{subject}: tier, equals: gold}}", twice)
        assert holds(f"{{{subject}: tier, equals: free}}", twice)
        assert not holds(f"{{{subject}: tier, equals: silver}}", twice)


@pytest.mark.parametrize(
    ("query", "value"),
    [
        ("x=a+b", "a b"),
        ("x=a%20b", "a b"),
        ("%78=a%2Bb", "a+b"),
        ("x", ""),
        ("x=", ""),
        ("&&x=a=b&", "a=b"),
        ("x=%e4%bd%A0", "你"),
        ("x=%2561", "%61"),
        ("x=50%", "50%"),
        ("x=a;y", "a;y"),
    ],
)
def test_parameters_are_form_decoded(query: str, value: str) -> None:
    assert holds(f"{{query: x, equals: '{value}'}}", f"GET /p?{query} HTTP/1.1")


@pytest.mark.parametrize(
    ("cookie", "value"),
    [
        ("sid=abc", "abc"),
        ('sid="abc"', "abc"),
        ('sid="', '"'),
        ("a=b;sid=abc;c=d", "abc"),
        ("a=b ;\tsid = abc ; c", "abc"),
        ("sid=a=b", "a=b"),
        ("sid=a%20b", "a%20b"),
        ("xsid=1; sid=abc; sidx=2", "abc"),
    ],
)
def test_cookies_are_read_as_servers_read_them(cookie: str, value: str) -> None:
    assert holds(f"{{cookie: sid, equals: '{value}'}}", f"GET / HTTP/1.1\nCookie: {cookie}")


def test_a_piece_without_equals_is_no_cookie() -> None:
    assert not holds("{cookie: sid, present: true}", "GET / HTTP/1.1\nCookie: sid; SID=1; xsid=2")


@pytest.mark.parametrize(
    ("when", "line", "expected"),
    [
        ("path: /v2/models", "GET /v2/models?x=1", True),
        ("path: /v2/models", "GET /v2/models/", False),
        ("path: /a b", "GET /a%20b", True),
        ("path: /a%20b", "GET /a%20b", True),
        ("path: /modèle", "GET /mod%C3%A8le", True),
        ("path: '*'", "OPTIONS *", True),
        ("path_prefix: /a", "GET /a", True),
        ("path_prefix: /a", "GET /a/b", True),
        ("path_prefix: /a", "GET /a?x", True),
        ("path_prefix: /a", "GET /ab", False),
        ("path_prefix: /a/", "GET /a", False),
        ("path_prefix: /a/", "GET /a/", True),
        ("path_prefix: /a/", "GET /a/b", True),
        ("path_suffix: /infer", "GET /v2/models/iris/infer?x", True),
        ("path_suffix: /infer", "GET /infer", True),
        ("path_suffix: /infer", "GET /v2/models/iris/infer/", False),
        ("path_suffix: /infer", "GET /v2/models/iris/%69nfer", True),
        ("path_suffix: ':predict'", "GET /v1/models/iris:predict", True),
        ("path_prefix: /", "OPTIONS *", True),
        ("path_prefix: /", "CONNECT model:443", True),
        ("path_prefix: /admin", "GET /%61dmin", True),
        ("path_prefix: /admin", "GET /%2561dmin", False),
        ("path_prefix: /admin", "GET /admin%2Fx", False),
        ("path: /admin%2fx", "GET /admin%2Fx", True),
        ("path: /v1/models/iris:predict", "GET /v1/models/iris%3Apredict", True),
        ("path_prefix: /a", "GET //a", False),
        ("path_regex: '/v2/models/[^/]+/infer'", "POST /v2/models/iris/infer", True),
        ("path_regex: '/v2/models/[^/]+/infer'", "POST /v2/models/iris/infer/", False),
        ("path_regex: '/v2/models/[^/]+/infer'", "POST /v2/models/a%2Fb/infer", True),
        ("path_regex: '/admin'", "POST /%61dmin", True),
        ("path_regex: '/a|/b'", "POST /bc", False),
        ("method: POST", "POST /", True),
        ("method: [GET, POST]", "POST /", True),
        ("method: [GET, POST]", "PUT /", False),
        ("method: GET", "HEAD /", False),
    ],
)
def test_path_and_method(when: str, line: str, expected: bool) -> None:
    assert holds(f"{{{when}}}", f"{line} HTTP/1.1") is expected


@pytest.mark.parametrize(
    ("path", "expected"), [("/v2/m/infer", True), ("/v1/m/infer", False), ("/v2/m/ready", False), ("/v2x/infer", False)]
)
def test_a_suffix_may_stand_beside_a_prefix(path: str, expected: bool) -> None:
    match = Match(path_prefix="/v2", path_suffix="/infer")
    assert match.mistakes() == []
    assert compile_match(match)(request(f"GET {path} HTTP/1.1")) is expected


@pytest.mark.parametrize(
    ("host", "authority", "expected"),
    [
        ("api.example.com", "api.example.com", True),
        ("api.example.com", "API.Example.com:8080", True),
        ("API.example.com", "api.example.com.:80", True),
        ("api.example.com", "xapi.example.com", False),
        ("'*.example.com'", "a.example.com", True),
        ("'*.example.com'", "a.b.Example.com:80", True),
        ("'*.example.com'", "example.com", False),
        ("'*.example.com'", ".example.com", False),
        ("'*.example.com'", "badexample.com", False),
        ("[a.test, b.test]", "b.test", True),
        ("'[::1]'", "[::1]:8080", True),
        ("'[::1]'", "[::1]", True),
        ("'*'", "anything", True),
    ],
)
def test_hosts(host: str, authority: str, expected: bool) -> None:
    assert holds(f"{{host: {host}}}", f"GET / HTTP/1.1\nHost: {authority}") is expected


def test_all_any_and_not() -> None:
    region, risk = "{header: x-region, prefix: eu-}", "{header: x-risk, equals: low}"
    both, one = "GET / HTTP/1.1\nx-region: eu-1\nx-risk: low", "GET / HTTP/1.1\nx-region: eu-1\nx-risk: high"
    assert holds(f"{{all: [{region}, {risk}]}}", both)
    assert not holds(f"{{all: [{region}, {risk}]}}", one)
    assert holds(f"{{any: [{risk}, {region}]}}", one)
    assert not holds(f"{{any: [{risk}]}}", one)
    assert holds(f"{{all: [{region}, {{not: {risk}}}, {{method: GET}}]}}", one)
    assert not holds(f"{{all: [{region}, {{not: {risk}}}, {{method: PUT}}]}}", one)


def test_a_match_holds_where_all_that_it_says_does() -> None:
    text = """
        {path_prefix: /v2, methods: [POST], hosts: ['*.example.com'], headers: {x-region: {prefix: eu-}, x-a: b},
         query: {v: {present: true}}, cookies: {sid: {present: false}},
         when: {not: {header: x-internal, equals: 'yes'}}}
    """
    match = msgspec.convert(yaml.safe_load(text), Match)
    assert match.mistakes() == []
    good = "POST /v2/models?v=1 HTTP/1.1\nHost: a.example.com\nX-Region: eu-1\nX-A: b"
    takes = compile_match(match)
    assert takes(request(good))
    for spoiled in (
        good.replace("POST", "GET"),
        good.replace("/v2/", "/v3/"),
        good.replace("?v=1", ""),
        good.replace("a.example", "a.sample"),
        good.replace("eu-1", "us-1"),
        good.replace("X-A: b", "X-A: c"),
        good + "\nCookie: sid=1",
        good + "\nX-Internal: yes",
    ):
        assert not takes(request(spoiled)), spoiled


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("{}", ": has no subject; give exactly one of: header, cookie, query, path, "),
        ("{header: a, method: GET}", ": has header and method; give exactly one of: header, "),
        ("{header: a}", ": has no operator; give exactly one of: equals, in, prefix, "),
        ("{header: a, equals: b, in: [c]}", ": has equals and in; give exactly one of: equals, in, "),
        ("{header: a, regex: ''}", "regex: is empty and would say nothing"),
        ("{header: a, prefix: ''}", "prefix: is empty and would say nothing"),
        ("{header: a, in: []}", "in: is an empty list"),
        ("{header: a, regex: '('}", "regex: '(' is no RE2 expression: missing )"),
        (
            "{header: a, regex: '(?=a)'}",
            "regex: '(?=a)' is no RE2 expression: invalid perl operator: (?=; RE2 has no look",
        ),
        ("{header: a, regex: '(((a{99}){99}){99})'}", "regex: '(((a{99}){99}){99})' is no RE2 expression: "),
        ("{header: a, regex: é}", "regex: 'é' has a character beyond ASCII"),
        ("{header: a, range: [5, 5]}", "range: [5, 5] is empty"),
        ("{header: a, present: true, ignore_case: true}", "ignore_case: has no meaning for present"),
        ("{header: a b, equals: c}", "header: 'a b' is no header name"),
        ("{header: '', equals: c}", "header: is empty"),
        ("{header: Host, equals: c}", "header: match the host with host"),
        ("{cookie: a=b, equals: c}", "cookie: 'a=b' is no cookie name"),
        ("{path: /a, equals: c}", "equals: belongs to header, cookie or query, not to path"),
        ("{path: /a, ignore_case: true}", "ignore_case: belongs to header, cookie or query, not to path"),
        ("{path: a}", "path: 'a' does not begin with /"),
        ("{path: '/a?b'}", "path: '/a?b' has a character that no path has"),
        ("{path_prefix: /a/%2e%2E/b}", "path_prefix: '/a/%2e%2E/b' has a dot segment"),
        ("{path_suffix: ''}", "path_suffix: is empty"),
        ("{path_suffix: 'a?b'}", "path_suffix: 'a?b' has a character that no path has"),
        ("{path_regex: '[a'}", "path_regex: '[a' is no RE2 expression: missing ]"),
        ("{path_regex: ''}", "path_regex: is empty"),
        ("{method: post}", "method: 'post': methods are case-sensitive; write POST"),
        ("{method: [GET, 'A B']}", "method.1: 'A B' is no method"),
        ("{method: []}", "method: is an empty list"),
        ("{host: []}", "host: is an empty list"),
        ("{host: 'a:80'}", "host: 'a:80' is no host; allowed: a name without a port"),
        ("{host: 'a.*'}", "host: 'a.*' is no host"),
        ("{all: []}", "all: is an empty list"),
        ("{any: [{method: GET}, {path: b}]}", "any.1.path: 'b' does not begin with /"),
        ("{not: {all: [{header: a}]}}", "not.all.0: has no operator"),
    ],
)
def test_a_wrong_condition_says_what_is_wrong_and_what_is_allowed(text: str, what: str) -> None:
    (found,) = mistakes(Condition, text)
    assert found.startswith(what)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("{}", ": says nothing; path_prefix: / takes every request"),
        ("{path: /a, path_prefix: /b}", ": has path and path_prefix; give one of them"),
        ("{methods: [get]}", "methods.0: 'get': methods are case-sensitive; write GET"),
        ("{hosts: ['http://a']}", "hosts.0: 'http://a' is no host"),
        ("{headers: {a b: c}}", "headers.a b: 'a b' is no header name"),
        ("{headers: {a: {}}}", "headers.a: has no operator"),
        ("{query: {a: {regex: '*'}}}", "query.a.regex: '*' is no RE2 expression: no argument for repetition"),
        ("{cookies: {a: {in: []}}}", "cookies.a.in: is an empty list"),
        ("{when: {header: a}}", "when: has no operator"),
    ],
)
def test_a_wrong_match_says_what_is_wrong_and_what_is_allowed(text: str, what: str) -> None:
    (found,) = mistakes(Match, text)
    assert found.startswith(what)


def test_an_empty_list_of_methods_or_hosts_is_refused() -> None:
    for text in ("{methods: []}", "{hosts: []}"):
        with pytest.raises(msgspec.ValidationError, match="length >= 1"):
            msgspec.convert(yaml.safe_load(text), Match)


def test_nesting_is_bounded() -> None:
    condition = Condition(method="GET")
    for _ in range(MAX_DEPTH - 1):
        condition = Condition(negated=condition)
    assert condition.mistakes() == []
    (found,) = Condition(negated=condition).mistakes()
    assert found[1] == f"all, any and not nest deeper than {MAX_DEPTH}"
