"""The admin API over real connections: every path, who may ask, and what a web page may not."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.kit.held import HeldBackend, held_backend
from tests.kit.program import Program, running

CONFIG = """
listeners: {ingress: {bind: 127.0.0.1:0}}
admin: {bind: 127.0.0.1:0, hosts: [understudy.internal], token: {env: TOKEN}, probes: {bind: 127.0.0.1:0}}
backends: {stable: {endpoints: [URL], version: "7"}}
routes:
  - name: all
    match: {path_prefix: /}
    backend: stable
    filters: [{type: headers, request: {set: {authorization: Bearer hush, x-team: ml}}}]
"""
JSON = {"Content-Type": "application/json"}
TOKEN = {"Authorization": "Bearer correct-horse"}


class Answer(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@pytest.fixture(scope="module")
def backend() -> Iterator[HeldBackend]:
    with held_backend() as each:
        yield each


@pytest.fixture(scope="module")
def program(backend: HeldBackend, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    folder = tmp_path_factory.mktemp("admin")
    with running(CONFIG.replace("URL", backend.url), folder, environment={"TOKEN": "correct-horse"}) as each:
        yield each


def ask(
    program: Program, method: str, path: str, headers: dict[str, str] | None = None, *, at: str = "admin"
) -> Answer:
    connection = http.client.HTTPConnection(*program.address(at), timeout=10)
    try:
        connection.request(method, path, headers=headers or {})
        answer = connection.getresponse()
        return Answer(answer.status, answer.headers, answer.read())
    finally:
        connection.close()


def is_problem(answer: Answer, status: int) -> bool:
    return (
        (answer.status, answer.json["status"]) == (status, status)
        and answer.headers["Content-Type"] == "application/problem+json"
        and bool(answer.json["title"] and answer.json["detail"])
    )


@pytest.mark.parametrize("at", ["admin", "probes"])
@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/livez", "application/json"),
        ("/readyz", "application/json"),
        ("/metrics", "text/plain; version=0.0.4; charset=utf-8"),
        ("/compare", "application/json"),
    ],
)
def test_probes_are_on_both_listeners(program: Program, at: str, path: str, content_type: str) -> None:
    answer = ask(program, "GET", path, at=at)
    assert answer.status == 200
    assert answer.headers["Content-Type"] == content_type
    assert answer.headers["Cache-Control"] == "no-store"
    assert "aiohttp" not in str(answer.headers)


@pytest.mark.parametrize("path", ["/status", "/config", "/drain", "/reload", "/ledger", "/nothing"])
def test_the_probes_listener_has_nothing_else(program: Program, path: str) -> None:
    assert is_problem(ask(program, "GET", path, at="probes"), 404)
    assert is_problem(ask(program, "POST", path, JSON | TOKEN, at="probes"), 404)


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics", "/compare"])
def test_the_probes_listener_only_reads(program: Program, path: str) -> None:
    answer = ask(program, "POST", path, JSON | TOKEN, at="probes")
    assert is_problem(answer, 405)
    assert "GET" in answer.headers["Allow"]


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:7081", "10.2.3.4:9", "[::1]", "[::1]:7081", "localhost", "LOCALHOST:1",
             "understudy.internal", "Understudy.Internal:7081"],
)  # fmt: skip
def test_a_host_that_no_dns_record_can_fake_is_served(program: Program, host: str) -> None:
    assert ask(program, "GET", "/status", {"Host": host}).status == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:7081", "127.0.0.1.evil.example", "localhost.evil.example", "1.2.3", "",
             "127.0.0.1:80:80", "understudy.internal.evil.example", "[::1].evil.example", "[evil]"],
)  # fmt: skip
@pytest.mark.parametrize("at", ["admin", "probes"])
def test_any_other_host_is_refused(program: Program, host: str, at: str) -> None:
    assert is_problem(ask(program, "GET", "/livez", {"Host": host}, at=at), 403)


def test_a_form_post_of_a_web_page_is_refused(program: Program) -> None:
    for content_type in ("application/x-www-form-urlencoded", "text/plain", "multipart/form-data"):
        assert is_problem(ask(program, "POST", "/drain", {"Content-Type": content_type} | TOKEN), 415)
    assert is_problem(ask(program, "POST", "/drain", TOKEN), 415)
    assert ask(program, "GET", "/readyz").status == 200


@pytest.mark.parametrize(
    "sent", ["", "Bearer", "Bearer wrong", "Basic correct-horse", "correct-horse", "Bearer correct-hors\xe9"]
)
def test_a_post_without_the_token_is_refused(program: Program, sent: str) -> None:
    answer = ask(program, "POST", "/drain", JSON | ({"Authorization": sent} if sent else {}))
    assert is_problem(answer, 401)
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert ask(program, "GET", "/readyz").status == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/ledger"),
        ("POST", "/overrides"),
        ("GET", "/overrides"),
        ("POST", "/ledger/settle"),
    ],
)
def test_what_comes_later_says_so(program: Program, method: str, path: str) -> None:
    answer = ask(program, method, path, JSON | TOKEN)
    assert is_problem(answer, 501)
    assert "not active yet" in answer.json["detail"]


def test_the_configuration_is_shown_without_secrets(program: Program) -> None:
    answer = ask(program, "GET", "/config")
    shown = answer.json
    assert b"hush" not in answer.body
    assert b"correct-horse" not in answer.body
    assert shown["document"]["routes"][0]["filters"][0]["request"]["set"] == {
        "authorization": "(hidden)",
        "x-team": "ml",
    }
    assert shown["document"]["admin"]["token"] == {"env": "TOKEN"}
    assert (shown["version"], shown["rejected"], len(shown["hash"])) == (1, None, 64)


def test_the_comparison_has_the_shape_of_its_schema_and_no_pairs(program: Program) -> None:
    shown = ask(program, "GET", "/compare").json
    assert shown["schema"] == "understudy.compare/1"
    assert (shown["pairs"], shown["arms"], shown["epoch"]["why"]) == ([], [], "start")
    assert shown["config"] == {"hash": ask(program, "GET", "/config").json["hash"], "version": 1}


def test_a_reset_begins_a_new_epoch(program: Program) -> None:
    answer = ask(program, "POST", "/compare/reset", JSON | TOKEN)
    assert (answer.status, answer.json["epoch"]["why"]) == (200, "reset")
    assert ask(program, "GET", "/compare", at="probes").json["epoch"] == answer.json["epoch"]
    again = ask(program, "POST", "/compare/reset", JSON | TOKEN).json["epoch"]
    assert again["id"] == answer.json["epoch"]["id"] + 1
    assert is_problem(ask(program, "POST", "/compare/reset", JSON), 401)
    assert is_problem(ask(program, "POST", "/compare/reset", JSON | TOKEN, at="probes"), 404)


def test_status_counts_what_was_answered_and_refused(program: Program) -> None:
    ask(program, "GET", "/v2/x", at="ingress")
    with socket.create_connection(program.address("ingress")) as raw:
        raw.sendall(b"BROKEN\r\n\r\n")
        assert raw.recv(100).startswith(b"HTTP/1.1 400 ")

    def counted() -> dict[str, dict[str, int]]:
        return {call["route"]: call["statuses"] for call in ask(program, "GET", "/status").json["calls"]}

    while set(counted()) < {"", "all"}:
        pass
    assert counted()["all"]["200"] >= 1
    assert counted()[""]["400"] >= 1
    shown = ask(program, "GET", "/status").json
    (call,) = [each for each in shown["calls"] if each["route"] == "all"]
    assert 0 < call["first_byte_ms"]["p50"] <= call["total_ms"]["p50"] < 10_000
    assert (call["backend"], call["version"], call["role"], call["max_in_flight"]) == ("stable", "7", "live", 1024)
    assert [(each["name"], each["address"]) for each in shown["listeners"]] == [("ingress", program.url("ingress"))]
    assert [each["name"] for each in shown["processes"]] == ["control", "worker-0"]
    assert all(each["memory_bytes"] > 1_000_000 for each in shown["processes"])


def test_a_request_without_host_is_no_browser_and_is_served(program: Program) -> None:
    with socket.create_connection(program.address("probes")) as raw:
        raw.sendall(b"GET /readyz HTTP/1.0\r\n\r\n")
        assert raw.recv(100).split(b"\r\n")[0].endswith(b" 200 OK")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"POST /drain HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 20_000 + b"\r\n\r\n", b"400"),
        (b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", b"400"),
        (b"\x16\x03\x01\x02\x00\x01\x00", b"400"),
    ],
)
def test_what_is_too_large_or_no_http_is_refused(program: Program, sent: bytes, status: bytes) -> None:
    with socket.create_connection(program.address("probes")) as raw:
        raw.sendall(sent)
        assert raw.recv(100).split(b" ")[1] == status


def test_a_token_that_cannot_be_read_keeps_the_program_from_starting(backend: HeldBackend, tmp_path: Path) -> None:
    with Program(CONFIG.replace("URL", backend.url), tmp_path) as program:
        assert program.wait_exit() == 1
        assert "TOKEN" in program.stderr


def test_drain_by_post_ends_the_program_and_a_signal_after_it_does_not_cut(
    backend: HeldBackend, tmp_path: Path
) -> None:
    with running(CONFIG.replace("URL", backend.url), tmp_path, environment={"TOKEN": "correct-horse"}) as program:
        answer = ask(program, "POST", "/drain", JSON | TOKEN)
        assert (answer.status, answer.json) == (202, {"state": "draining"})
        assert program.stop() == 0
        program.wait_line("draining (POST /drain by 127.0.0.1)")
