"""A document becomes what a worker serves by."""

from __future__ import annotations

import subprocess
import sys
from ipaddress import ip_network
from pathlib import Path

import msgspec
import pytest
from understudy.config.compile import compile_snapshot, copies_each, share
from understudy.config.load import load_bytes
from understudy.config.schema import decode
from understudy.config.snapshot import Endpoint, PathRewrite, Snapshot, Tls
from understudy.filters.api import Request

from tests.kit.services import FakeServices

FILE = """
listeners:
  ingress:
    bind: 127.0.0.1:0
    trust: [10.0.0.0/8, unix]
    half_close: answer
    max_connections: 3
    max_head: 8KiB
    head_timeout: 5s
backends:
  stable:
    endpoints: [http://127.0.0.1:9001, unix:/run/model.sock]
    version: "7"
    balance: round_robin
    host: endpoint
    max_in_flight: 1025
    max_pending: 0
    keep_alive: 500ms
    dns_refresh: 1m
  canary:
    endpoints: [https://model.example]
    host: model.internal:8443
    rewrite: {path: {prefix: /v2/a, to: /v2/b}, json: {model: b, options: {n: 1}}, max_body: 1MiB}
    tls: {server_name: other.example}
x-mark: &mark {type: headers, request: {set: {x-token: {env: UNDERSTUDY_TEST_TOKEN}}}}
routes:
  - {name: a, match: {path_prefix: /v2/a}, backend: canary, timeout: 3s, filters: [*mark, {type: dedup}]}
  - {name: everything, match: {path_prefix: /}, backend: stable}
drain: {delay: 1s, grace: 2s}
"""


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNDERSTUDY_TEST_TOKEN", "s3cret")


def compiled(text: str = FILE, workers: int = 1, base: str = "/base") -> Snapshot:
    loaded = load_bytes(text.encode(), file="u.yaml", base=base)
    assert [str(mistake) for mistake in loaded.mistakes] == []
    return compile_snapshot(decode(loaded.wire), FakeServices(), version=4, workers=workers, base=base)


def test_listeners() -> None:
    listener = compiled().listeners["ingress"]
    assert (listener.name, listener.bind, listener.half_close) == ("ingress", "127.0.0.1:0", "answer")
    assert (listener.trust, listener.trust_unix) == ((ip_network("10.0.0.0/8"),), True)
    assert (listener.max_head, listener.head_timeout, listener.max_connections) == (8192, 5.0, 3)


def test_backends() -> None:
    stable, canary = compiled().backends["stable"], compiled().backends["canary"]
    assert stable.endpoints == (Endpoint("127.0.0.1", 9001), Endpoint("", 0, unix="/run/model.sock"))
    assert (stable.version, stable.balance, stable.host, stable.keep_alive) == ("7", "round_robin", "endpoint", 0.5)
    assert (stable.max_in_flight, stable.max_pending, stable.dns_refresh) == (1025, 0, 60.0)
    assert (stable.path_rewrite, stable.json_rewrite) == (None, None)
    assert canary.endpoints == (Endpoint("model.example", 443, tls=Tls(server_name="other.example")),)
    assert canary.host == b"model.internal:8443"
    assert canary.path_rewrite == PathRewrite(b"/v2/a", b"/v2/b")
    assert (canary.json_rewrite, canary.json_rewrite_limit) == ({"model": "b", "options": {"n": 1}}, 1 << 20)
    assert all(type(getattr(stable, name)) is float for name in ("connect_timeout", "keep_alive", "total_timeout"))


def test_routes_in_order_with_the_filters_that_exist() -> None:
    snapshot = compiled()
    first, second = snapshot.routes
    assert (first.name, first.backend.name, first.timeout) == ("a", "canary", 3.0)
    assert (first.chain.names, first.not_active) == (("headers",), ("dedup",))
    assert (second.chain.names, second.not_active) == ((), ())
    assert snapshot.match(Request(b"GET", b"/v2/a/b", b"", [])) is first
    assert snapshot.match(Request(b"GET", b"/v2/ab", b"", [])) is second


def test_the_whole() -> None:
    snapshot = compiled(workers=3)
    assert (snapshot.version, snapshot.workers, snapshot.drain_grace) == (4, 3, 2.0)
    assert snapshot.hash == compiled().hash


@pytest.mark.parametrize(("limit", "workers", "part"), [(10, 1, 10), (10, 3, 3), (2, 4, 1), (1, 1, 1), (0, 4, 0)])
def test_a_limit_is_shared_and_none_stays_none(limit: int, workers: int, part: int) -> None:
    assert share(limit, workers) == part


@pytest.mark.parametrize(
    ("requests", "workers", "shadows", "each"), [(256, 1, 1, 256), (256, 1, 3, 85), (256, 3, 1, 85), (4, 2, 3, 1)]
)
def test_every_shadow_has_an_equal_share_of_copies_in_each_worker_and_at_least_one(
    requests: int, workers: int, shadows: int, each: int
) -> None:
    assert copies_each(requests, workers, shadows) == each


def test_every_limit_is_shared() -> None:
    snapshot = compiled(workers=4)
    stable = snapshot.backends["stable"]
    assert (stable.max_in_flight, stable.max_connections, stable.max_pending) == (256, 0, 0)
    assert snapshot.backends["canary"].max_pending == 32
    assert snapshot.listeners["ingress"].max_connections == 1


def test_paths_start_from_the_files_folder(tmp_path: Path) -> None:
    document = decode(load_bytes(FILE.encode(), file="u.yaml", base="/").wire)
    tls = document.backends["canary"].tls
    assert tls is not None
    canary = msgspec.structs.replace(
        document.backends["canary"],
        tls=msgspec.structs.replace(tls, ca="ca.pem", certificate="/etc/c.pem", key="../k.pem"),
    )
    changed = msgspec.structs.replace(document, backends=document.backends | {"canary": canary})
    snapshot = compile_snapshot(changed, FakeServices(), version=1, workers=1, base="/etc/understudy")
    assert snapshot.backends["canary"].endpoints[0].tls == Tls(
        ca="/etc/understudy/ca.pem", server_name="other.example", certificate="/etc/c.pem", key="/etc/k.pem"
    )


def test_a_secret_that_has_gone_since_fails_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    wire = load_bytes(FILE.encode(), file="u.yaml", base="/").wire
    monkeypatch.delenv("UNDERSTUDY_TEST_TOKEN")
    with pytest.raises(ValueError, match="no variable UNDERSTUDY_TEST_TOKEN"):
        compile_snapshot(decode(wire), FakeServices(), version=1, workers=1, base="/")


def test_a_worker_reads_no_yaml() -> None:
    code = "import sys, understudy.config.compile, understudy.config.schema; print('yaml' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
