"""Unix sockets on either side."""

from __future__ import annotations

from pathlib import Path

from tests.kit.configured import configured, document
from tests.kit.conversation import on_the_loop, upstream

GET = b"GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: mine\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@on_the_loop
async def test_a_backend_behind_a_unix_socket(tmp_path: Path) -> None:
    async with upstream(str(tmp_path / "model.sock")) as backend:
        async with configured(document([backend.url], backend={"host": "endpoint"})) as proxy:
            client = await proxy.connect()
            for _ in range(2):
                client.send(GET)
                call = backend.connections[0] if backend.connections else await backend.accept()
                assert (await call.message()).get(b"host") == b"localhost"
                call.send(OK)
                assert (await client.message()).body == b"ok"
            assert proxy.plane.gauges().pools[0].endpoint == backend.url


@on_the_loop
async def test_a_socket_that_is_not_there(tmp_path: Path) -> None:
    async with configured(document([f"unix:{tmp_path}/nobody.sock"])) as proxy:
        client = await proxy.connect()
        client.send(GET)
        answer = await client.message()
        assert answer.status == 503 and str(tmp_path).encode() not in answer.body


@on_the_loop
async def test_callers_over_a_unix_socket_are_trusted_when_the_listener_says_so(tmp_path: Path) -> None:
    for trust, kept in ([], False), (["unix"], True), (["127.0.0.1/32"], False):
        listener = {"bind": f"unix:{tmp_path}/{len(trust)}{kept}.sock", "trust": trust}
        async with upstream() as backend, configured(document([backend.url], listener=listener)) as proxy:
            client = await proxy.connect()
            client.send(GET)
            call, asked = await backend.call()
            assert (asked.get(b"x-request-id") == b"mine") == kept
            assert asked.get(b"x-forwarded-for") == b"unix"
            call.send(OK)
            assert (await client.message()).body == b"ok"


@on_the_loop
async def test_a_caller_that_leaves_a_unix_socket_is_noticed(tmp_path: Path) -> None:
    listener = {"bind": f"unix:{tmp_path}/front.sock"}
    async with upstream(str(tmp_path / "model.sock")) as backend:
        async with configured(document([backend.url], listener=listener)) as proxy:
            client = await proxy.connect()
            client.send(GET)
            call, _ = await backend.call()
            client.reset()
            await call.gone(0.1)
