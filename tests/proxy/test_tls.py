"""Endpoints over TLS: nothing is sent to whom cannot prove its name. Certificates are made for the run."""

from __future__ import annotations

import logging
import shutil
import ssl
from pathlib import Path
from typing import Any

import pytest

from tests.kit.certificates import Authority, Certificate
from tests.kit.configured import configured, document, snapshot_of
from tests.kit.conversation import Message, on_the_loop, upstream

POST = b"POST /v2/models/iris/infer HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nsecret"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Certificates:
    """Everybody's papers."""

    def __init__(self, folder: Path) -> None:
        self.ours = Authority(folder, "ours")
        self.others = Authority(folder, "others")
        self.good = self.ours.issue("good", "IP:127.0.0.1", "DNS:model.internal")
        self.expired = self.ours.issue("expired", "IP:127.0.0.1", expired=True)
        self.elsewhere = self.ours.issue("elsewhere", "DNS:elsewhere.internal")
        self.unknown = self.others.issue("unknown", "IP:127.0.0.1")
        self.client = self.ours.issue("client")


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("papers"))


async def asked(server: ssl.SSLContext, tls: dict[str, Any], *, served: bool, requests: int = 1) -> list[Message]:
    """Requests through a proxy with these settings to a backend with this certificate, and the answers."""
    async with upstream(tls=server) as backend:
        async with configured(document([backend.url], backend={"tls": tls, "host": "endpoint"})) as proxy:
            client = await proxy.connect()
            answers = []
            for _ in range(requests):
                client.send(POST)
                if served:
                    call = backend.connections[0] if backend.connections else await backend.accept()
                    request = await call.message()
                    assert request.body == b"secret"
                    assert request.get(b"host") == backend.url.removeprefix("https://").encode()
                    call.send(OK)
                answers.append(await client.message())
            assert len(backend.connections) == served
            return answers


@on_the_loop
async def test_a_backend_that_proves_its_address_is_served_over_one_warm_connection(papers: Certificates) -> None:
    answers = await asked(papers.ours.server(papers.good), {"ca": str(papers.ours.ca)}, served=True, requests=3)
    assert [answer.status for answer in answers] == [200, 200, 200]


@pytest.mark.parametrize(
    ("shown", "tls", "why"),
    [
        ("expired", {}, "expired"),
        ("elsewhere", {}, "IP address mismatch"),
        ("unknown", {}, "unable to get local issuer certificate"),
        ("good", {"server_name": "other.internal"}, "Hostname mismatch"),
        ("good", {"ca": None}, "certificate verify failed"),
    ],
)
@on_the_loop
async def test_one_that_does_not_gets_not_a_byte(
    papers: Certificates, shown: str, tls: dict[str, Any], why: str, caplog: pytest.LogCaptureFixture
) -> None:
    settings = {"ca": str(papers.ours.ca), **tls}
    issued: Certificate = getattr(papers, shown)
    if settings["ca"] is None:
        del settings["ca"]  # the system's authorities do not know ours
    with caplog.at_level(logging.WARNING):
        (answer,) = await asked(papers.ours.server(issued), settings, served=False)
    assert (answer.status, answer.get(b"retry-after")) == (503, b"1")
    assert b'"connect_failed"' in answer.body
    assert why.encode() not in answer.body, "that is for the operator"
    assert why in caplog.text


@on_the_loop
async def test_no_connection_reads_certificates(papers: Certificates, monkeypatch: pytest.MonkeyPatch) -> None:
    tls = {"ca": str(papers.ours.ca)}
    async with upstream(tls=papers.ours.server(papers.good)) as backend:
        async with configured(document([backend.url], backend={"tls": tls, "keep_alive": "0s"})) as proxy:
            monkeypatch.delattr(ssl, "create_default_context")
            for _ in range(2):
                client = await proxy.connect()
                client.send(POST)
                call, _ = await backend.call()
                call.send(OK)
                assert (await client.message()).status == 200


@on_the_loop
async def test_a_reload_reads_those_that_changed(papers: Certificates, tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    shutil.copy(papers.others.ca, ca)
    async with upstream(tls=papers.ours.server(papers.good)) as backend:
        text = document([backend.url, "https://127.0.0.1:9"], backend={"tls": {"ca": str(ca)}})
        async with configured(text) as proxy:
            (first,) = proxy.plane.contexts.values()
            proxy.plane.apply(snapshot_of(text, proxy.plane))
            assert [*proxy.plane.contexts.values()] == [first], "nothing was read again"
            shutil.copy(papers.ours.ca, ca)
            proxy.plane.apply(snapshot_of(text, proxy.plane))
            client = await proxy.connect()
            client.send(POST)
            call, _ = await backend.call()
            call.send(OK)
            assert (await client.message()).status == 200


@pytest.mark.parametrize("name", ["model.internal", None])
@on_the_loop
async def test_the_servers_name_is_told_and_verified(papers: Certificates, name: str | None) -> None:
    told: list[str | None] = []
    server = papers.ours.server(papers.good)
    server.sni_callback = lambda sock, given, context: told.append(given)
    tls = {"ca": str(papers.ours.ca), **({"server_name": name} if name else {})}
    (answer,) = await asked(server, tls, served=True)
    assert answer.status == 200
    assert told == [name], "an address is no name (RFC 6066 section 3)"


@on_the_loop
async def test_a_client_certificate_is_shown_to_a_server_that_asks(papers: Certificates) -> None:
    server = papers.ours.server(papers.good, clients=papers.ours)
    own = {"certificate": str(papers.client.certificate), "key": str(papers.client.key)}
    (answer,) = await asked(server, {"ca": str(papers.ours.ca), **own}, served=True)
    assert answer.status == 200


@on_the_loop
async def test_without_one_such_a_server_is_out_of_reach(papers: Certificates) -> None:
    """With TLS 1.3 the refusal comes after our handshake, and may cross the request."""
    server = papers.ours.server(papers.good, clients=papers.ours)
    async with upstream(tls=server) as backend:
        tls = {"ca": str(papers.ours.ca)}
        async with configured(document([backend.url], backend={"tls": tls})) as proxy:
            client = await proxy.connect()
            client.send(POST)
            assert (await client.message()).status in (502, 503)
            assert backend.connections == []


@on_the_loop
async def test_a_server_that_speaks_no_tls_is_out_of_reach_and_so_is_one_that_does_not_shake_hands(
    papers: Certificates,
) -> None:
    async with upstream() as backend:
        text = document(
            [backend.url.replace("http://", "https://")],
            backend={"tls": {"ca": str(papers.ours.ca)}, "connect_timeout": "300ms"},
        )
        async with configured(text) as proxy:
            talks, silent = await proxy.connect(), await proxy.connect()
            talks.send(POST)
            call = await backend.accept()
            assert b"secret" not in await call.some()
            call.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            assert (await talks.message()).status == 503
            silent.send(POST)
            call = await backend.accept()
            assert (await silent.message()).status == 503, "connect_timeout covers the handshake"
            await call.gone()


@on_the_loop
async def test_an_old_protocol_is_refused(papers: Certificates) -> None:
    server = papers.ours.server(papers.good)
    with pytest.warns(DeprecationWarning):
        server.minimum_version = server.maximum_version = ssl.TLSVersion.TLSv1_1
    (answer,) = await asked(server, {"ca": str(papers.ours.ca)}, served=False)
    assert answer.status == 503


@on_the_loop
async def test_a_large_body_passes_both_ways(papers: Certificates) -> None:
    size = 4 * 1024 * 1024
    async with upstream(tls=papers.ours.server(papers.good)) as backend:
        text = document([backend.url], backend={"tls": {"ca": str(papers.ours.ca)}})
        async with configured(text) as proxy:
            client = await proxy.connect()
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size + bytes(size))
            call, asked_ = await backend.call()
            assert len(asked_.body) == size
            call.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + bytes(size))
            assert len((await client.message()).body) == size
