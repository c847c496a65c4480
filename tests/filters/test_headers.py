"""`type: headers`."""

from __future__ import annotations

import msgspec
import pytest
import yaml
from understudy.filters.api import Headers, Response
from understudy.filters.headers import HeadersConfig, HeadersFilter
from understudy.filters.units import SecretRef

from tests.kit.heads import request
from tests.kit.services import FakeServices, exchange_of

EXAMPLES = [
    """
    type: headers
    request: {set: {X-Model-Version: "7"}, append: {x-tag: canary}, remove: [X-Internal]}
    response: {set: {cache-control: no-store}, remove: [Server]}
    """,
    "{type: headers, response: {append: {vary: x-region}}}",
    "{type: headers, request: {set: {authorization: {env: MODEL_TOKEN}}}}",
]


def config_of(text: str) -> HeadersConfig:
    return msgspec.convert(yaml.safe_load(text), HeadersConfig)


def filter_of(text: str) -> HeadersFilter:
    config = config_of(text)
    assert config.mistakes() == []
    return HeadersFilter(config, FakeServices())


def sent(text: str, head: str) -> Headers:
    exchange = exchange_of(request(head))
    assert filter_of(text).on_request(exchange) is None
    return exchange.request.headers


def test_set_replaces_every_line_append_adds_one_and_remove_drops_all() -> None:
    head = """
        GET / HTTP/1.1
        x-tag: a
        x-internal: 1
        x-model-version: 5
        accept: */*
        x-model-version: 6
        x-internal: 2
    """
    assert sent(EXAMPLES[0], head) == [
        (b"x-tag", b"a"),
        (b"accept", b"*/*"),
        (b"x-model-version", b"7"),
        (b"x-tag", b"canary"),
    ]


def test_answers_are_changed_alike_local_ones_too() -> None:
    step = filter_of(EXAMPLES[0])
    for local in (False, True):
        response = Response(200, [(b"server", b"uvicorn"), (b"content-type", b"text/plain")], local=local)
        assert step.on_response(exchange_of(request("GET / HTTP/1.1")), response) is response
        assert response.headers == [(b"content-type", b"text/plain"), (b"cache-control", b"no-store")]


def test_later_filters_and_conditions_see_the_change() -> None:
    exchange = exchange_of(request("GET / HTTP/1.1\nx-tag: a"))
    assert exchange.request.get(b"x-tag") == b"a"
    filter_of(EXAMPLES[0]).on_request(exchange)
    assert exchange.request.get(b"x-tag") == b"a, canary"
    assert exchange.request.get(b"x-model-version") == b"7"


def test_set_and_append_of_one_name_make_two_lines() -> None:
    text = "{type: headers, request: {set: {x-a: '1'}, append: {X-A: '2'}}}"
    assert sent(text, "GET / HTTP/1.1\nx-a: 0") == [(b"x-a", b"1"), (b"x-a", b"2")]


def test_values_beyond_ascii_are_sent_as_utf_8() -> None:
    assert sent("{type: headers, request: {set: {x-a: é}}}", "GET / HTTP/1.1") == [(b"x-a", b"\xc3\xa9")]


@pytest.mark.parametrize(
    ("text", "path", "what"),
    [
        ("{type: headers}", (), "changes nothing"),
        ("{type: headers, request: {}}", (), "changes nothing"),
        ('{type: headers, request: {set: {x-a: "b\\r\\nx-c: d"}}}', ("request", "set", "x-a"), "has a line break"),
        ('{type: headers, request: {append: {x-a: "b\\0"}}}', ("request", "append", "x-a"), "has a line break"),
        ("{type: headers, request: {set: {'x a': b}}}", ("request", "set", "x a"), "'x a' is no header name"),
        ("{type: headers, request: {set: {':path': b}}}", ("request", "set", ":path"), "':path' is no header name"),
        ("{type: headers, response: {remove: ['']}}", ("response", "remove", 0), "a header needs a name"),
        ("{type: headers, request: {set: {Host: b}}}", ("request", "set", "Host"), "Host belongs to the conn"),
        (
            "{type: headers, response: {set: {Transfer-Encoding: chunked}}}",
            ("response", "set", "Transfer-Encoding"),
            "Transfer-Encoding belongs to the connection or the framing, which the proxy writes itself",
        ),
        (
            "{type: headers, response: {remove: [content-length]}}",
            ("response", "remove", 0),
            "content-length belongs to the connection or the framing",
        ),
        (
            "{type: headers, request: {set: {x-a: b}, remove: [X-A]}}",
            ("request", "remove", 0),
            "X-A is set as well",
        ),
        ("{type: headers, request: {set: {x-a: b, X-A: c}}}", ("request", "set", "X-A"), "is the same header as x-a"),
        (
            "{type: headers, request: {set: {x-a: {env: A, file: b}}}}",
            ("request", "set", "x-a"),
            "must hold exactly one of env and file",
        ),
    ],
)
def test_what_cannot_be_sent_is_refused_with_its_place(text: str, path: tuple[str | int, ...], what: str) -> None:
    ((found, said),) = config_of(text).mistakes()
    assert found == path
    assert said.startswith(what)


def test_a_secret_is_never_repeated_in_what_is_said() -> None:
    hidden = "hunter2\r\nx-admin: 1"
    config = msgspec.convert({"type": "headers", "request": {"set": {"x-a": hidden}}}, HeadersConfig)
    ((_, said),) = config.mistakes()
    assert "hunter2" not in said
    with pytest.raises(ValueError, match="x-a: the value has a line break") as raised:
        HeadersFilter(config, FakeServices())
    assert "hunter2" not in str(raised.value)


def test_a_reference_that_nobody_resolved_does_not_pass_for_a_value() -> None:
    config = config_of("{type: headers, request: {set: {authorization: {env: TOKEN}}}}")
    assert config.mistakes() == []
    assert config.request.set == {"authorization": SecretRef(env="TOKEN")}
    with pytest.raises(ValueError, match="authorization: the reference was not resolved"):
        HeadersFilter(config, FakeServices())
