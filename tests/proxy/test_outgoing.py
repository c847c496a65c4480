"""A request as its backend wants to be asked: paths, JSON fields, the Host."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from understudy.config.snapshot import Backend, Endpoint, PathRewrite, Shadow, target_of
from understudy.filters.api import BodyWrap, Exchange, Failure, Filter, Request
from understudy.proxy.outgoing import outgoing_authority, rewritten_json

from tests.kit.configured import configured, document
from tests.kit.conversation import on_the_loop, upstream

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
JSON = b"Content-Type: application/json\r\n"


def request_of(target: bytes = b"/", *headers: tuple[bytes, bytes]) -> Request:
    return Request(b"POST", target, b"model.local:7080", list(headers))


def target(request: Request, own: PathRewrite | None = None, further: PathRewrite | None = None) -> bytes:
    """As a shadow is asked, or live where there is no `further`."""
    backend = Backend("stable", "7", (), path_rewrite=own)
    shadow = Shadow(backend, 0, frozenset(), (), path_rewrite=further)
    return target_of(request, backend, None if further is None else shadow)


@pytest.mark.parametrize(
    ("given", "rewritten"),
    [
        (b"/v2/models/iris", b"/v2/models/iris-8"),
        (b"/v2/models/iris/infer", b"/v2/models/iris-8/infer"),
        (b"/v2/models/iris/infer?a=/v2/models/iris", b"/v2/models/iris-8/infer?a=/v2/models/iris"),
        (b"/v2/models/iris?", b"/v2/models/iris-8?"),
        (b"/v2/models/irises/infer", b"/v2/models/irises/infer"),
        (b"/v2/models", b"/v2/models"),
        (b"/other", b"/other"),
        (b"/v2/models/iris/%2F%20x", b"/v2/models/iris-8/%2F%20x"),
    ],
)
def test_a_prefix_is_replaced_on_segment_borders(given: bytes, rewritten: bytes) -> None:
    rule = PathRewrite(b"/v2/models/iris", b"/v2/models/iris-8")
    assert target(request_of(given), rule) == rewritten
    assert target(request_of(given), None, rule) == rewritten


def test_a_prefix_may_be_dropped() -> None:
    assert target(request_of(b"/a/b?c"), PathRewrite(b"/a", b"")) == b"/b?c"
    assert target(request_of(b"/a"), PathRewrite(b"/a", b"")) == b"/"
    assert target(request_of(b"/a/b"), PathRewrite(b"/a/", b"/")) == b"/b"


def test_a_copys_prefix_is_replaced_after_the_backends_own() -> None:
    own, further = PathRewrite(b"/a", b"/b"), PathRewrite(b"/b", b"/c")
    assert target(request_of(b"/a/x?q"), own, further) == b"/c/x?q"
    assert target(request_of(b"/a/x?q"), further, own) == b"/b/x?q"
    assert target(request_of(b"/x?"), own, further) == target(request_of(b"/x?")) == b"/x?"


def rewritten(content: bytes, *headers: tuple[bytes, bytes], **values: Any) -> bytes:
    return rewritten_json(values or {"model": "iris-8"}, request_of(b"/", *headers), content)


def test_one_field_is_replaced_and_all_others_keep_their_bytes() -> None:
    content = (
        b'{"a": [1.0, 1e400, 12345678901234567890123],\n "model": {"name":"iris"}, "\\u00e4": "\\u00e4", "n": -0.0 }'
    )
    given = rewritten(content)
    for kept in b"[1.0, 1e400, 12345678901234567890123]", b'"\\u00e4"', b"-0.0":
        assert kept in given
    assert json.loads(given)["model"] == "iris-8"
    assert list(json.loads(given)) == ["a", "model", "ä", "n"]


def test_a_missing_field_is_added_and_a_double_one_becomes_one() -> None:
    assert json.loads(rewritten(b"{}")) == {"model": "iris-8"}
    assert rewritten(b'{"model":"a","x":1,"model":"b"}').count(b"model") == 1
    assert json.loads(rewritten(b'{"x": 1}', options={"n": [1, None]})) == {"x": 1, "options": {"n": [1, None]}}


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), values, max_size=5), st.booleans(), st.sampled_from([None, 1]))
def test_whatever_the_document_only_the_named_field_changes(
    fields: dict[str, Any], ascii: bool, indent: int | None
) -> None:
    content = json.dumps(fields, ensure_ascii=ascii, indent=indent).encode("utf-8", "surrogatepass")
    try:
        content.decode()
    except UnicodeDecodeError:
        return
    assert json.loads(rewritten(content)) == {**fields, "model": "iris-8"}


@given(st.binary(max_size=40))
def test_what_is_no_json_object_passes_as_it_came(content: bytes) -> None:
    try:
        is_object = isinstance(json.loads(content.decode()), dict)
    except ValueError:
        is_object = False
    given = rewritten(content)
    if not is_object:
        assert given == content


@pytest.mark.parametrize("content", [b"", b"[1]", b'"x"', b"{", b'{"a":1} x', b"\xff{}"])
def test_a_body_that_is_no_json_object_is_the_backends_to_judge(content: bytes) -> None:
    assert rewritten(content) == content


def test_other_media_types_are_left_alone_and_json_is_recognised() -> None:
    content = b'{"model":"iris"}'
    for other in b"application/octet-stream", b"text/plain; charset=utf-8", b"multipart/form-data; boundary=x":
        assert rewritten(content, (b"content-type", other)) == content
    for json_like in b"application/json", b"Application/JSON; charset=utf-8", b"application/vnd.kserve+json":
        assert b"iris-8" in rewritten(content, (b"content-type", json_like))


@pytest.mark.parametrize("coding", [b"gzip", b"br, gzip", b"ZSTD"])
def test_a_compressed_body_is_415(coding: bytes) -> None:
    with pytest.raises(Failure) as refused:
        rewritten(b"\x1f\x8b...", (b"content-type", b"application/json"), (b"content-encoding", coding))
    assert refused.value.status == 415
    assert rewritten(b"{}", (b"content-encoding", b"Identity")) == b'{"model":"iris-8"}'


def test_a_body_that_nests_too_deeply_to_be_read_is_400() -> None:
    content = b'{"a":' + b"[" * 20_000 + b"]" * 20_000 + b"}"
    with pytest.raises(Failure, match="nests too deeply"):
        rewritten_json({"model": "x"}, request_of(), content)


def test_the_host_is_kept_or_the_endpoints_or_a_name() -> None:
    endpoint, request = Endpoint("10.0.0.7", 9001), request_of()

    def host(how: Any, endpoint: Endpoint = endpoint, request: Request = request) -> bytes:
        return outgoing_authority(Backend("b", "", (endpoint,), host=how), endpoint, request)

    assert host("keep") == b"model.local:7080"
    assert host("endpoint") == b"10.0.0.7:9001"
    assert host(b"model.internal") == b"model.internal"
    assert host("keep", request=Request(b"GET", b"/", b"", [])) == b"10.0.0.7:9001", "HTTP/1.0 may have sent none"
    assert host("endpoint", Endpoint("::1", 80)) == b"[::1]"
    assert host("endpoint", Endpoint("::1", 81)) == b"[::1]:81"


# Through the plane.

REWRITES = {"rewrite": {"path": {"prefix": "/v2/a", "to": "/v2/b"}, "json": {"model": "b"}, "max_body": "1KiB"}}


@pytest.mark.parametrize(
    ("head", "rest"),
    [
        (b"Content-Length: 22\r\n" + JSON + b'\r\n{"model":"a","x": 1.0}', b""),
        (b"Content-Length: 22\r\n" + JSON + b'\r\n{"model":', b'"a","x": 1.0}'),
        (b"Transfer-Encoding: chunked\r\n" + JSON + b'\r\n9\r\n{"model":\r\n', b'd\r\n"a","x": 1.0}\r\n0\r\n\r\n'),
        (b"Expect: 100-continue\r\nContent-Length: 22\r\n" + JSON + b"\r\n", b'{"model":"a","x": 1.0}'),
    ],
)
@on_the_loop
async def test_an_upload_is_rewritten_however_it_comes(head: bytes, rest: bytes) -> None:
    async with upstream() as backend, configured(document([backend.url], backend=REWRITES)) as proxy:
        client = await proxy.connect()
        client.send(b"POST /v2/a/infer?q=1 HTTP/1.1\r\nHost: a\r\n" + head)
        if b"Expect" in head:
            assert (await client.head()).status == 100
        await proxy.settled(lambda: proxy.plane.open_connections() == 1)
        client.send(rest)
        call, asked = await backend.call()
        assert asked.line == b"POST /v2/b/infer?q=1 HTTP/1.1"
        assert asked.body == b'{"model":"b","x":1.0}' and asked.get(b"content-length") == b"21"
        assert asked.get(b"transfer-encoding") is None
        call.send(OK)
        assert (await client.message()).status == 200


@on_the_loop
async def test_a_body_too_large_to_rewrite_is_413_and_a_compressed_one_415() -> None:
    async with upstream() as backend, configured(document([backend.url], backend=REWRITES)) as proxy:
        client = await proxy.connect()
        client.send(b"POST /v2/a HTTP/1.1\r\nHost: a\r\nContent-Length: 1025\r\n\r\n")
        assert (await client.message()).status == 413
        client = await proxy.connect()
        client.send(
            b"POST /v2/a HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n" + JSON + b"\r\n...."
        )
        answer = await client.message()
        assert answer.status == 415
        client.send(b"GET /v2/a HTTP/1.1\r\nHost: a\r\n\r\n")
        call = backend.connections[-1] if backend.connections else await backend.accept()
        assert proxy.stats().statuses == {415: 1}
        assert proxy.stats(backend="").statuses == {413: 1}, "before a backend was asked"
        call.reset()


@on_the_loop
async def test_a_body_that_is_held_to_be_rewritten_has_a_place_among_those_in_flight() -> None:
    options = {**REWRITES, "max_in_flight": 1}
    async with upstream() as backend, configured(document([backend.url], backend=options)) as proxy:
        head = b"POST /v2/a HTTP/1.1\r\nHost: a\r\nContent-Length: 22\r\n" + JSON + b"\r\n"
        first = await proxy.connect()
        first.send(head + b'{"model":')
        await proxy.settled(lambda: proxy.stats().in_flight == 1)
        second = await proxy.connect()
        second.send(head + b'{"model":')
        refused = await second.message()
        assert refused.status == 503 and b'"overloaded"' in refused.body
        first.send(b'"a","x": 1.0}')
        call, asked = await backend.call()
        assert asked.body == b'{"model":"b","x":1.0}'
        call.send(OK)
        assert (await first.message()).status == 200


@on_the_loop
async def test_a_body_that_is_held_to_be_rewritten_has_the_time_of_the_whole_call() -> None:
    options = {**REWRITES, "total_timeout": "200ms"}
    async with upstream() as backend, configured(document([backend.url], backend=options)) as proxy:
        client = await proxy.connect()
        client.send(b"POST /v2/a HTTP/1.1\r\nHost: a\r\nContent-Length: 22\r\n" + JSON + b'\r\n{"model":')
        answer = await client.message()
        assert answer.status == 504 and b'"upstream_timeout"' in answer.body
        assert not backend.connections
        assert proxy.stats(backend="").reasons == {"upstream_timeout": 1}, "before a backend was asked"


class Watch(BodyWrap):
    def __init__(self) -> None:
        self.seen = b""

    def data(self, chunk: bytes) -> bytes:
        self.seen += chunk
        return chunk


@pytest.mark.parametrize("apart", [False, True])
@on_the_loop
async def test_a_filter_that_watches_the_body_does_not_stop_its_rewriting(apart: bool) -> None:
    watch = Watch()

    class Watches(Filter):
        def on_request(self, exchange: Exchange) -> None:
            exchange.request.wrap(watch)

    async with upstream() as backend:
        text = document([backend.url], backend=REWRITES)
        async with configured(text, lambda services: [Watches(None, services)]) as proxy:
            client = await proxy.connect()
            content = b'{"model":"a"}'
            head = b"POST /v2/a HTTP/1.1\r\nHost: a\r\nContent-Length: 13\r\n" + JSON + b"\r\n"
            client.send(head if apart else head + content)
            if apart:
                await proxy.settled(lambda: proxy.plane.open_connections() == 1)
                client.send(content)
            call, asked = await backend.call()
            assert asked.body == b'{"model":"b"}' == watch.seen
            call.send(OK)
            assert (await client.message()).status == 200
