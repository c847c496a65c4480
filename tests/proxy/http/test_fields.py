"""Header fields through the plane: what passes, what we say of the client, and whom we believe."""

from __future__ import annotations

import json
import re

import pytest

from tests.kit.configured import configured, document
from tests.kit.conversation import Message, on_the_loop, upstream

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"
TRUSTING = {"trust": ["127.0.0.1/32"]}
TRACE = b"0af7651916cd43dd8448eb211c80319c"
PARENT = b"00-" + TRACE + b"-b7ad6b7169203331-01"
NEW_ID = rb"[0-9a-f]{32}"


async def exchanged(fields: bytes, answer: bytes = b"", *, trusted: bool = False) -> tuple[Message, Message]:
    """A request with these field lines and an answer with those; what the backend was asked, what the client got."""
    async with upstream() as backend:
        listener = TRUSTING if trusted else {"trust": ["192.0.2.0/24"]}
        async with configured(document([backend.url], listener=listener)) as proxy:
            client = await proxy.connect()
            client.send(b"GET /a?b=c HTTP/1.1\r\nHost: model.local:80\r\n" + fields + b"\r\n")
            call, asked = await backend.call()
            call.send(OK + answer + b"\r\nok")
            return asked, await client.message()


@on_the_loop
async def test_what_a_stranger_says_of_itself_is_replaced() -> None:
    asked, answer = await exchanged(
        b"X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\nForwarded: for=evil\r\n"
        b"X_Forwarded_For: 203.0.113.9\r\nX-Request-Id: mine\r\nX-Understudy-Shadow: next\r\n"
        b"X_Understudy_Role: live\r\n"
    )
    assert asked.get(b"x-forwarded-for") == b"127.0.0.1"
    assert asked.get(b"x-forwarded-proto") == b"http"
    assert asked.get(b"x-forwarded-host") == b"model.local:80"
    assert asked.get(b"host") == b"model.local:80"
    assert asked.get(b"via") == b"1.1 understudy"
    given = asked.get(b"x-request-id")
    assert given is not None and re.fullmatch(NEW_ID, given)
    assert answer.get(b"x-request-id") == given
    for name in b"forwarded", b"x_forwarded_for", b"x-understudy-shadow", b"x_understudy_role":
        assert asked.all(name) == []
    assert answer.get(b"x-understudy-backend") is None


@on_the_loop
async def test_what_a_trusted_peer_says_is_added_to() -> None:
    asked, answer = await exchanged(
        b"X-Forwarded-For: 203.0.113.9, 10.0.0.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: shop.example\r\n"
        b"X-Request-Id: edge-77\r\nX-Understudy-Shadow: next\r\nX_Understudy_Role: live\r\nVia: 2 edge\r\n",
        b"X-Request-Id: the-backend's\r\nX-Understudy-Backend: forged\r\n",
        trusted=True,
    )
    assert asked.get(b"x-forwarded-for") == b"203.0.113.9, 10.0.0.1, 127.0.0.1"
    assert asked.get(b"x-forwarded-proto") == b"https"
    assert asked.get(b"x-forwarded-host") == b"shop.example"
    assert asked.all(b"via") == [b"2 edge", b"1.1 understudy"]
    assert asked.get(b"x-understudy-shadow") == b"next"
    assert asked.all(b"x_understudy_role") == [], "a second spelling is nobody's"
    assert asked.get(b"x-request-id") == answer.get(b"x-request-id") == b"edge-77"
    assert answer.get(b"x-understudy-backend") == b"stable"


@pytest.mark.parametrize("id", [b"", b"a b", b"x" * 129, b"\xff", b'a"\tb'])
@on_the_loop
async def test_a_request_id_that_could_break_a_log_line_is_replaced(id: bytes) -> None:
    asked, _ = await exchanged(b"X-Request-Id: " + id + b"\r\n", trusted=True)
    assert re.fullmatch(NEW_ID, asked.get(b"x-request-id") or b"")


@on_the_loop
async def test_fields_of_one_hop_end_here_on_either_side() -> None:
    hop = b"Keep-Alive: timeout=5\r\nTE: trailers\r\nProxy-Connection: keep-alive\r\nTrailer: x-sum\r\n"
    asked, answer = await exchanged(
        hop + b"Connection: x-private, keep-alive\r\nX-Private: 1\r\nProxy-Authorization: Basic x\r\n"
        b"Authorization: Bearer y\r\nCookie: a=1\r\nCookie: b=2\r\nHTTP2-Settings: AAMAAABk\r\n",
        hop + b"Connection: x-inner\r\nX-Inner: 1\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nServer: model\r\n",
    )
    for name in b"keep-alive", b"te", b"proxy-connection", b"trailer", b"connection":
        assert asked.all(name) == answer.all(name) == []
    for name in b"x-private", b"proxy-authorization", b"http2-settings":
        assert asked.all(name) == []
    assert answer.all(b"x-inner") == []
    assert asked.get(b"authorization") == b"Bearer y"
    assert asked.all(b"cookie") == [b"a=1", b"b=2"]
    assert answer.all(b"set-cookie") == [b"a=1", b"b=2"]
    assert answer.get(b"server") == b"model"


@pytest.mark.parametrize(("nominated", "others"), [(b"baggage", [b"k=v"]), (b"tracestate", [b"a=b"])])
@on_the_loop
async def test_fields_of_traces_may_be_of_one_hop_too(nominated: bytes, others: list[bytes]) -> None:
    parent = b"traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n"
    fields = parent + b"Tracestate: a=b\r\nBaggage: k=v\r\n"
    asked, _ = await exchanged(fields)
    assert asked.all(nominated) == others
    asked, _ = await exchanged(fields + b"Connection: " + nominated + b"\r\n")
    assert asked.all(nominated) == []
    assert asked.all(b"traceparent")


@on_the_loop
async def test_field_values_pass_byte_by_byte() -> None:
    value = bytes(byte for byte in range(0x21, 0x100) if byte != 0x7F)
    asked, answer = await exchanged(b"X-All: " + value + b"\r\n", b"X-All: " + value + b"\r\n")
    assert asked.get(b"x-all") == answer.get(b"x-all") == value


@on_the_loop
async def test_a_local_answer_has_an_id_too_and_says_no_more_than_it_must() -> None:
    async with upstream() as backend:
        route = {"match": {"path_prefix": "/v2"}}
        async with configured(document([backend.url], route=route, listener=TRUSTING)) as proxy:
            client = await proxy.connect()
            client.send(b"GET /v1 HTTP/1.1\r\nHost: a\r\nX-Request-Id: edge-78\r\n\r\n")
            answer = await client.message()
            assert answer.status == 404
            assert answer.get(b"x-request-id") == b"edge-78"
            assert answer.get(b"x-understudy-backend") is None, "no backend answered"
            assert answer.get(b"content-type") == b"application/problem+json"
            problem = json.loads(answer.body)
            assert problem["request_id"] == "edge-78"
            assert (problem["status"], problem["reason"], problem["type"]) == (404, "no_route", "about:blank")
            client.send(b"HEAD /v1 HTTP/1.1\r\nHost: a\r\n\r\nGET /v1 HTTP/1.1\r\nHost: a\r\n\r\n")
            assert (await client.message(head_only=True)).status == 404
            assert (await client.message()).body != b""
            assert proxy.stats("", "").statuses == {404: 3}


@on_the_loop
async def test_a_trace_is_continued_with_a_span_of_our_own() -> None:
    asked, _ = await exchanged(
        b"traceparent: " + PARENT + b"\r\ntracestate: a=1\r\ntracestate: us=x,b=2\r\n", trusted=True
    )
    version, trace, span, flags = (asked.get(b"traceparent") or b"").split(b"-")
    assert (version, trace, flags) == (b"00", TRACE, b"01")
    assert re.fullmatch(rb"[0-9a-f]{16}", span) and span != b"b7ad6b7169203331"
    assert asked.get(b"tracestate") == b"a=1,b=2"


@on_the_loop
async def test_a_stranger_cannot_have_itself_sampled() -> None:
    asked, _ = await exchanged(b"traceparent: " + PARENT + b"\r\nbaggage: us=1, user=%C3%A9;p=1 ,a=b\r\n")
    assert (asked.get(b"traceparent") or b"").startswith(b"00-" + TRACE + b"-")
    assert (asked.get(b"traceparent") or b"").endswith(b"-00")
    assert asked.get(b"baggage") == b"user=%C3%A9;p=1 ,a=b"


@pytest.mark.parametrize(
    "parent",
    [
        b"",
        b"traceparent: 00-" + b"0" * 32 + b"-b7ad6b7169203331-01\r\n",
        b"traceparent: ff-" + TRACE + b"-b7ad6b7169203331-01\r\n",
        b"traceparent: " + PARENT + b"\r\ntraceparent: " + PARENT + b"\r\n",
    ],
)
@on_the_loop
async def test_an_invalid_trace_begins_anew_without_its_state(parent: bytes) -> None:
    asked, _ = await exchanged(parent + b"tracestate: a=1\r\nbaggage: a=b\r\n", trusted=True)
    _, trace, _, flags = (asked.get(b"traceparent") or b"").split(b"-")
    assert re.fullmatch(rb"[0-9a-f]{32}", trace) and trace != TRACE and flags == b"00"
    assert asked.get(b"tracestate") is None
    assert asked.get(b"baggage") == b"a=b"
