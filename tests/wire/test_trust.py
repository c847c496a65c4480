"""What a trusted peer may say of its own clients, and what even it may not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kit.strict import Request, Response, read_responses

from .harness import CONFIG, Harness, harness

TRUSTING = CONFIG.replace("127.0.0.1:0}}\nadmin", "127.0.0.1:0, trust: [127.0.0.0/8]}}\nadmin")


@pytest.fixture(scope="module")
def trusting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    """The program with a listener that trusts this machine."""
    with harness(tmp_path_factory.mktemp("trusting"), TRUSTING) as running:
        yield running
        assert running.alarms() == []


def _through(wire: Harness, *lines: bytes) -> tuple[Request, Response]:
    """What the backend read of a GET with these lines, and its answer as the client got it."""
    told = wire.converse([b"\r\n".join([b"GET /t HTTP/1.1", b"Host: a.test", *lines, b"", b""])])
    return told.log[0][1], read_responses(told.received, [b"GET", b"GET"])[0][0]


def test_forwarding_fields_are_continued(trusting: Harness) -> None:
    seen, _ = _through(
        trusting, b"X-Forwarded-For: 10.0.0.1", b"X-Forwarded-For: 10.0.0.2", b"X-Forwarded-Proto: https",
        b"X-Forwarded-Host: front.test",
    )  # fmt: skip
    assert b", ".join(seen.all(b"x-forwarded-for")) == b"10.0.0.1, 10.0.0.2, 127.0.0.1"
    assert b"https" in b", ".join(seen.all(b"x-forwarded-proto"))
    assert b"front.test" in b", ".join(seen.all(b"x-forwarded-host"))


def test_forwarding_fields_of_a_stranger_are_replaced(wire: Harness) -> None:
    seen, answer = _through(wire, b"X-Forwarded-For: 10.0.0.1", b"X-Request-Id: mine", b"X-Understudy-Backend: b")
    assert seen.all(b"x-forwarded-for") == [b"127.0.0.1"]
    assert seen.all(b"x-request-id") == answer.all(b"x-request-id") != [b"mine"]
    assert not seen.all(b"x-understudy-backend")
    assert not answer.all(b"x-understudy-backend")


def test_a_request_id_is_kept(trusting: Harness) -> None:
    seen, answer = _through(trusting, b"X-Request-Id: abc-123")
    assert seen.all(b"x-request-id") == answer.all(b"x-request-id") == [b"abc-123"]
    assert answer.all(b"x-understudy-backend") == [b"raw"]


@pytest.mark.parametrize("value", [b"", b"a b", b"a\tb", b"caf\xe9", b"x" * 5000])
def test_a_request_id_that_is_none_is_replaced(trusting: Harness, value: bytes) -> None:
    seen, answer = _through(trusting, b"X-Request-Id: " + value)
    assert seen.all(b"x-request-id") == answer.all(b"x-request-id") != [value]


def test_underscores_do_not_speak_for_a_trusted_peer(trusting: Harness) -> None:
    seen, _ = _through(trusting, b"X_Forwarded_For: 10.0.0.1", b"Content_Length: 5", b"Transfer_Encoding: chunked")
    assert not any(b"_" in name for name, _ in seen.fields)
