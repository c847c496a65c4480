"""Good traffic is all served: real clients, each through the whole program, each answered with its own identity."""

from __future__ import annotations

import asyncio
import contextlib
import io
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import aiohttp
import httpx
import pytest
import requests
import websockets.asyncio.client
import websockets.asyncio.server

from tests.kit.program import running
from tests.kit.raw import RawClient, identity
from tests.kit.strict import Request, read_responses

from .harness import CONFIG, Harness

MIB = 1024 * 1024
V1 = websockets.Subprotocol("v1")
LARGE = b"0123456789abcdef" * (2 * MIB // 16)


def _url(wire: Harness, path: str = "/t") -> str:
    return wire.program.url("ingress") + path


def _curl(wire: Harness, *arguments: str, stdin: bytes = b"", fails: int = 0) -> bytes:
    """What curl prints. Its exit status must be as told."""

    async def scenario() -> bytes:
        process = await asyncio.create_subprocess_exec(
            "curl", "-sS", "--max-time", "20", *arguments,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        output, errors = await process.communicate(stdin)
        assert process.returncode == fails, errors.decode()
        return output

    return wire.run(scenario())


def _only(wire: Harness) -> Request:
    """The one request that the backend read."""
    assert len(wire.backend.log) == 1
    return wire.backend.log[0][1]


@pytest.mark.parametrize(
    ("arguments", "stdin", "method", "target", "body"),
    [
        ([], b"", b"GET", b"/t", b""),
        (["-d", "a=b&c=d"], b"", b"POST", b"/t", b"a=b&c=d"),
        (["-H", "Content-Type: application/json", "-d", '{"inputs": []}'], b"", b"POST", b"/t", b'{"inputs": []}'),
        (["-X", "PUT", "-d", "x"], b"", b"PUT", b"/t", b"x"),
        (["-X", "DELETE"], b"", b"DELETE", b"/t", b""),
        (["-X", "PATCH", "-d", "x"], b"", b"PATCH", b"/t", b"x"),
        (["-X", "OPTIONS"], b"", b"OPTIONS", b"/t", b""),
        (["-X", "OPTIONS", "--request-target", "*"], b"", b"OPTIONS", b"*", b""),
        (["--http1.0"], b"", b"GET", b"/t", b""),
        (["--http1.0", "-d", "x=y"], b"", b"POST", b"/t", b"x=y"),
        (["-T", "-"], LARGE, b"PUT", b"/t", LARGE),
        (["-H", "Transfer-Encoding: chunked", "--data-binary", "@-"], LARGE, b"POST", b"/t", LARGE),
        (["-H", "Transfer-Encoding: chunked", "-d", "x"], b"", b"POST", b"/t", b"x"),
        (["--data-binary", "@-"], LARGE, b"POST", b"/t", LARGE),
        (["-H", "Expect: 100-continue", "--data-binary", "@-"], LARGE, b"POST", b"/t", LARGE),
        (["-H", "Expect: 100-continue", "-d", "x"], b"", b"POST", b"/t", b"x"),
        (["--http2"], b"", b"GET", b"/t", b""),
        (["--http2", "-d", "x=y"], b"", b"POST", b"/t", b"x=y"),
        (["-G", "-d", "q=1", "-d", "r=2/3"], b"", b"GET", b"/t?q=1&r=2/3", b""),
        (["--compressed", "-H", "X-Empty;", "-b", "a=b; c=d", "-u", "me:secret"], b"", b"GET", b"/t", b""),
        (["-r", "0-99", "-H", "If-None-Match: *", "-e", "http://a.test/"], b"", b"GET", b"/t", b""),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else "",
)
def test_curl(wire: Harness, arguments: list[str], stdin: bytes, method: bytes, target: bytes, body: bytes) -> None:
    answer = _curl(wire, *arguments, _url(wire), stdin=stdin)
    assert answer == identity(method, target, body)
    seen = _only(wire)
    assert (seen.method, seen.target, seen.body) == (method, target, body)
    assert not seen.all(b"upgrade")


def test_curl_head(wire: Harness) -> None:
    assert b"HTTP/1.1 200 OK" in _curl(wire, "-I", _url(wire))
    assert _only(wire).method == b"HEAD"


def test_curl_through_as_a_forward_proxy(wire: Harness) -> None:
    """Absolute-form, with Proxy-Connection."""
    answer = _curl(wire, "-x", _url(wire, ""), "http://model.test/v2/health/ready?x=1")
    assert answer == identity(b"GET", b"/v2/health/ready?x=1", b"")
    assert _only(wire).all(b"host") == [b"model.test"]


def test_curl_brackets_in_a_query(wire: Harness) -> None:
    assert _curl(wire, "-g", _url(wire, "/t?a[]=1&b[c]=2")) == identity(b"GET", b"/t?a[]=1&b[c]=2", b"")


def test_curl_several_on_one_connection(wire: Harness) -> None:
    targets = [f"/{number}" for number in range(5)]
    answer = _curl(wire, *(_url(wire, target) for target in targets))
    assert answer == b"".join(identity(b"GET", target.encode(), b"") for target in targets)


def test_curl_that_insists_on_http2_is_refused_clearly(wire: Harness) -> None:
    async def scenario() -> bytes:
        client = await RawClient.connect(wire.address)
        client.transport.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
        assert await client.until(lambda: False)
        client.close()
        return bytes(client.received)

    answers, rest = read_responses(wire.run(scenario()), [b"GET"])
    assert rest is None
    assert answers[0].status in (400, 505)
    assert b"HTTP/2" in answers[0].body
    assert wire.backend.log == []


@pytest.mark.skipif(shutil.which("ab") is None, reason="ab of apache2-utils is not installed")
@pytest.mark.parametrize("keep_alive", [[], ["-k"]])
def test_ab_an_http10_tool(wire: Harness, keep_alive: list[str]) -> None:
    async def scenario() -> str:
        process = await asyncio.create_subprocess_exec(
            "ab", "-q", "-n", "200", "-c", "4", *keep_alive, _url(wire), stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        output, _ = await process.communicate()
        assert process.returncode == 0
        return output.decode()

    report = wire.run(scenario())
    assert "Complete requests:      200" in report
    assert "Failed requests:        0" in report
    assert "Non-2xx" not in report
    assert ("Keep-Alive requests:    200" in report) == bool(keep_alive)


def test_httpx(wire: Harness) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(32):
            yield LARGE[: MIB // 16]

    async def scenario() -> list[httpx.Response]:
        async with httpx.AsyncClient(base_url=_url(wire, "")) as client:
            return [
                await client.get("/get", params={"q": "a b[]"}),
                await client.post("/json", json={"inputs": [1, 2]}),
                await client.post("/streamed", content=pieces()),
                await client.post("/form", files={"file": ("name.bin", LARGE)}),
                await client.head("/head"),
                await client.options("/options"),
                await client.delete("/delete"),
            ]

    _check([(each.status_code, each.content) for each in wire.run(scenario())], wire)


def test_aiohttp(wire: Harness) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(32):
            yield LARGE[: MIB // 16]

    async def scenario() -> list[tuple[int, bytes]]:
        told: list[tuple[int, bytes]] = []
        async with aiohttp.ClientSession(_url(wire, "/")) as session:
            calls: list[Callable[[], Any]] = [
                lambda: session.get("get"),
                lambda: session.post("json", json={"inputs": [1, 2]}),
                lambda: session.post("streamed", data=pieces()),
                lambda: session.post("expected", data=io.BytesIO(LARGE), expect100=True),
                lambda: session.post("compressed", data=io.BytesIO(LARGE), compress="gzip"),
                lambda: session.head("head"),
                lambda: session.put("put", data=b""),
            ]
            for call in calls:
                async with call() as answer:
                    told.append((answer.status, await answer.read()))
        return told

    _check(wire.run(scenario()), wire)


def test_requests(wire: Harness) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(32):
            yield LARGE[: MIB // 16]

    def scenario() -> list[tuple[int, bytes]]:
        with requests.Session() as session:
            answers = [
                session.get(_url(wire, "/get"), params={"q": "a b"}, timeout=20),
                session.post(_url(wire, "/json"), json={"inputs": [1, 2]}, timeout=20),
                session.post(_url(wire, "/streamed"), data=pieces(), timeout=20),
                session.post(_url(wire, "/form"), files={"file": LARGE}, timeout=20),
                session.head(_url(wire, "/head"), timeout=20),
                session.get(_url(wire, "/closed"), headers={"Connection": "close"}, timeout=20),
            ]
            return [(answer.status_code, answer.content) for answer in answers]

    _check(wire.run(asyncio.to_thread(scenario)), wire)


def _check(answers: list[tuple[int, bytes]], wire: Harness) -> None:
    """Every answer is 200 and names the request at its place."""
    read = [request for _, request in wire.backend.log]
    assert len(answers) == len(read)
    for (status, body), request in zip(answers, read, strict=True):
        assert status == 200
        wanted = b"" if request.method == b"HEAD" else identity(request.method, request.target, request.body)
        assert body == wanted


def test_an_upload_as_go_sends_it(wire: Harness) -> None:
    """net/http with a body of unknown size: chunked, pieces of 32 KiB, an announced trailer."""
    pieces = [LARGE[at : at + 32768] for at in range(0, 300_000, 32768)]
    head = (
        b"POST /upload HTTP/1.1\r\nHost: a.test\r\nUser-Agent: Go-http-client/1.1\r\nTransfer-Encoding: chunked\r\n"
        b"Trailer: X-Sum\r\nAccept-Encoding: gzip\r\n\r\n"
    )
    chunks = [b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces]
    told = wire.converse([head, *chunks, b"0\r\nX-Sum: 1\r\n\r\n"])
    assert [request.target for _, request in told.log] == [b"/upload", told.follow_up]
    assert told.log[0][1].body == b"".join(pieces)
    assert not told.log[0][1].trailers


def test_an_http10_client_without_host(wire: Harness) -> None:
    told = wire.converse([b"GET /t HTTP/1.0\r\n\r\n"])
    answers, rest = read_responses(told.received, [b"GET"], closed=True)
    assert rest is None
    assert answers[0].body == identity(b"GET", b"/t", b"")
    assert told.ended == "end"


def test_websockets(tmp_path: Any) -> None:
    """A real client and a real server: text, binary of 1 MiB, ping, close with its code, subprotocol."""

    async def echo(connection: websockets.asyncio.server.ServerConnection) -> None:
        with contextlib.suppress(websockets.ConnectionClosed):
            async for message in connection:
                await connection.send(message)

    async def started() -> websockets.asyncio.server.Server:
        return await websockets.asyncio.server.serve(echo, "127.0.0.1", 0, subprotocols=[V1], max_size=None)

    async def scenario() -> tuple[Any, ...]:
        host, proxy = program.address("ingress")
        async with websockets.asyncio.client.connect(f"ws://{host}:{proxy}/chat", subprotocols=[V1]) as client:
            await client.send("hello")
            text = await client.recv()
            await client.send(LARGE[:MIB])
            binary = await client.recv()
            await (await client.ping())
            chosen = client.subprotocol
        return text, binary == LARGE[:MIB], chosen, client.close_code

    with asyncio.Runner() as runner:
        server = runner.run(started())
        port = next(iter(server.sockets)).getsockname()[1]
        with running(CONFIG.format(port=port), tmp_path) as program:
            assert runner.run(scenario()) == ("hello", True, "v1", 1000)
            server.close()
            runner.run(server.wait_closed())
