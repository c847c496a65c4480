"""Which fields pass, judged by name alone; and how the judgement is remembered."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from understudy.proxy.http1.fields import (
    CARRIED,
    CLAIM,
    CODING,
    CONNECTION,
    DROP,
    EXPECT,
    HOST,
    INTERNAL,
    LENGTH,
    PASS,
    REQUEST,
    RESPONSE,
    UPGRADE,
    Kinds,
    accepted_request_id,
    add_forwarding,
    without,
)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "in_request", "in_response"),
    [
        (b"content-type", PASS, PASS),
        (b"authorization", PASS, PASS),
        (b"keep-alive", DROP, DROP),
        (b"te", DROP, DROP),
        (b"trailer", DROP, DROP),
        (b"proxy-connection", DROP, DROP),
        (b"proxy-authorization", DROP, PASS),
        (b"proxy-authenticate", PASS, DROP),
        (b"connection", CONNECTION, CONNECTION),
        (b"content-length", LENGTH, LENGTH),
        (b"transfer-encoding", CODING, CODING),
        (b"upgrade", UPGRADE, UPGRADE),
        (b"host", HOST, PASS),
        (b"expect", EXPECT, PASS),
        (b"x-request-id", CLAIM, DROP),
        (b"x-forwarded-for", CLAIM, PASS),
        (b"traceparent", CARRIED, PASS),
        (b"tracestate", CARRIED, PASS),
        (b"baggage", CARRIED, PASS),
        (b"x-understudy-shadow", INTERNAL, DROP),
        (b"forwarded", INTERNAL, DROP),
    ],
)
def test_kinds(name: bytes, in_request: int, in_response: int) -> None:
    assert REQUEST.judge(name) == (name, in_request)
    assert RESPONSE.judge(name) == (name, in_response)


@pytest.mark.parametrize(
    "name",
    [b"x_forwarded_for", b"Content_Length", b"transfer_Encoding", b"X_Understudy-Shadow", b"x_request_id", b"hOsT_"],
)
def test_a_spelling_with_underscores_is_never_taken_for_the_other(name: bytes) -> None:
    """CGI-style servers read both as one."""
    _, kind = REQUEST.judge(name)
    assert kind == (PASS if name == b"hOsT_" else DROP)


@given(st.text("abcdefghij-_ABCDEFGHIJ", min_size=1).map(str.encode))
def test_the_case_of_a_name_does_not_matter(name: bytes) -> None:
    assert REQUEST.judge(name) == REQUEST.judge(name.upper()) == REQUEST.judge(name.lower())


def test_what_is_remembered_is_bounded() -> None:
    kinds = Kinds(frozenset(), {}, frozenset(), DROP)
    for n in range(5_000):
        assert kinds.judge(b"x-%d" % n) == (b"x-%d" % n, PASS)
    assert len(kinds.known) == 1024
    assert kinds.judge(b"x-4999") == (b"x-4999", PASS), "judged anew each time"


def test_without_drops_every_line_of_the_nominated() -> None:
    assert without([(b"a", b"1"), (b"b", b"2"), (b"a", b"3")], frozenset({b"a"})) == [(b"b", b"2")]


@given(st.binary(max_size=140))
def test_an_accepted_request_id_can_stand_in_a_log_line(value: bytes) -> None:
    accepted = accepted_request_id(value)
    visible = 1 <= len(value) <= 128 and all(0x21 <= byte <= 0x7E for byte in value)
    assert accepted == (value if visible else None)
    assert accepted_request_id(None) is None


def test_forwarding_of_a_stranger_and_of_a_trusted_peer() -> None:
    claims = {b"x-forwarded-for": b"1.2.3.4", b"x-forwarded-proto": b"https", b"x-forwarded-host": b"shop"}
    for claimed, hops, proto, host in (
        (None, b"9.9.9.9", b"http", b"a"),
        (claims, b"1.2.3.4, 9.9.9.9", b"https", b"shop"),
    ):
        kept: list[tuple[bytes, bytes]] = []
        add_forwarding(kept, claimed, b"a", b"9.9.9.9", b"http", b"id")
        assert kept == [
            (b"x-request-id", b"id"),
            (b"x-forwarded-for", hops),
            (b"x-forwarded-proto", proto),
            (b"x-forwarded-host", host),
            (b"via", b"1.1 understudy"),
        ]
