"""Where keys come from: headers, cookies of others and of ours, claims, addresses, chance."""

from __future__ import annotations

import base64
from random import Random

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from understudy.filters.api import Exchange, Failure, Filter, Response
from understudy.filters.claims import MAX_PAYLOAD_BYTES, claim_reader
from understudy.filters.cookies import Issuer
from understudy.filters.keying import DRAWN, MISSING, RETRIED, KeyReader, sends
from understudy.filters.keys import KeyOf

from tests.kit.heads import request
from tests.kit.services import FakeServices, exchange_of
from tests.kit.vectors import VECTORS


def reader_of(text: str, services: FakeServices | None = None) -> KeyReader:
    services = services or FakeServices()
    return KeyReader(msgspec.convert(yaml.safe_load(text), KeyOf), services, Filter(None, services))


def read(text: str, fields: str = "", *, trusted: bool = False) -> tuple[bytes | None, int]:
    return reader_of(text).read(exchange_of(request(f"POST / HTTP/1.1\n{fields}"), trusted=trusted))


def token(payload: bytes, scheme: str = "Bearer") -> str:
    encoded = base64.urlsafe_b64encode(payload).rstrip(b"=").decode()
    return f"authorization: {scheme} eyJhbGciOiJIUzI1NiJ9.{encoded}.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    ("key", "fields", "expected"),
    [
        ("{header: X-User-Id}", "x-user-id: u1", b"u1"),
        ("{header: x-user-id}", "x-user-id: a\nx-user-id: b", b"a, b"),
        ("{header: x-user-id}", "x-user-id:", None),
        ("{header: x-user-id}", "", None),
        ("{cookie: sid}", "cookie: other=1; sid=s1; sid=s2", b"s1"),
        ("{cookie: sid}", 'cookie: sid="s1"', b"s1"),
        ("{cookie: sid}", "cookie: SID=s1", None),
        ("{cookie: sid}", "cookie: sid=", None),
        ("{cookie: sid}", "", None),
        ("{first: [{header: a}, {cookie: b}]}", "a: 1\ncookie: b=2", b"1"),
        ("{first: [{header: a}, {cookie: b}]}", "cookie: b=2", b"2"),
        ("{first: [{header: a}, client_address]}", "", b"192.0.2.7"),
        ("client_address", "x-forwarded-for: 198.51.100.1, 192.0.2.7", b"192.0.2.7"),
    ],
)
def test_a_key_is_the_first_that_is_present_and_not_empty(key: str, fields: str, expected: bytes | None) -> None:
    assert read(key, fields)[0] == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("x-forwarded-for: 203.0.113.9, 198.51.100.1, 192.0.2.7", b"198.51.100.1"),
        ("x-forwarded-for: 198.51.100.1, 192.0.2.7", b"198.51.100.1"),
        ("x-forwarded-for: 192.0.2.7", b"192.0.2.7"),
        ("", b"192.0.2.7"),
    ],
)
def test_behind_a_trusted_peer_the_client_is_whom_that_peer_was_called_by(fields: str, expected: bytes) -> None:
    assert read("client_address", fields, trusted=True) == (expected, 0)


def test_the_source_is_told_by_its_position() -> None:
    key = "{first: [{header: a}, {jwt: sub}, {cookie: b}, random]}"
    assert read(key, "cookie: b=2") == (b"2", 2)
    assert reader_of(key).labels == ["header a", "JWT claim sub", "cookie b", "random"]


# Claims.


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b'{"sub": "u1"}', b"u1"),
        (b'{"iss": {"sub": "no"}, "sub": "Zo\\u00eb", "exp": 1}', "Zoë".encode()),
        (b'{"sub": 42}', b"42"),
        (b'{"sub": -1.50e3}', b"-1.50e3"),
        (b'{"sub": 123456789012345678901234567890}', b"123456789012345678901234567890"),
        (b'{"sub": ""}', None),
        (b'{"sub": null}', None),
        (b'{"sub": true}', None),
        (b'{"sub": ["u1"]}', None),
        (b'{"sub": {"a": 1}}', None),
        (b'{"Sub": "u1"}', None),
        (b"{}", None),
        (b"[]", None),
        (b'"sub"', None),
        (b'{"sub": "u1"', None),
        (b'{"sub": "\\ud800"}', None),
        (b'{"sub": "\xff"}', None),
        (b"[" * 100_000, None),
        (b'{"x": ' + b"[" * 2_900 + b"]" * 2_900 + b', "sub": "u1"}', None),
        (b'{"sub": "' + b"a" * MAX_PAYLOAD_BYTES + b'"}', None),
    ],
)
def test_a_claim_is_a_string_or_a_number_as_written(payload: bytes, expected: bytes | None) -> None:
    assert read("{jwt: sub}", token(payload))[0] == expected


def test_an_empty_claim_is_none() -> None:
    assert claim_reader("sub")(b"Bearer a.eyJzdWIiOiAiIn0.b") is None


def test_a_claim_is_named_literally() -> None:
    assert read("{jwt: 'https://example.com/tenant'}", token(b'{"https://example.com/tenant": "acme"}')) == (b"acme", 0)


@pytest.mark.parametrize(
    "fields",
    [
        token(b'{"sub": "u1"}', "Basic"),
        token(b'{"sub": "u1"}') + ".more",
        "authorization: Bearer eyJzdWIiOiAidTEifQ",
        "authorization: Bearer a.eyJzdWIiOiAidTEifQ==.b",
        "authorization: Bearer a.eyJzdWIiOiA*dTEifQ.b",
        "authorization: Bearer a.eyJzd.b",
        "authorization: Bearer a..b",
        "authorization: Bearer",
        "authorization:",
        "",
    ],
)
def test_what_is_no_signed_token_has_no_claim(fields: str) -> None:
    assert read("{jwt: sub}", fields) == (None, MISSING)


def test_the_scheme_folds_case() -> None:
    assert read("{jwt: sub}", token(b'{"sub": "u1"}', "bearer")) == (b"u1", 0)


@given(st.binary(max_size=200))
def test_no_authorization_breaks_the_reader(value: bytes) -> None:
    for authorization in (
        value,
        b"Bearer " + value,
        b"Bearer a." + base64.urlsafe_b64encode(value).rstrip(b"=") + b".c",
    ):
        found = claim_reader("sub")(authorization)
        assert found is None or found


# No key.


def test_a_missing_key_leaves_the_backend_refuses_or_is_drawn() -> None:
    assert read("{header: a}") == (None, MISSING)
    with pytest.raises(Failure) as failure:
        read("{first: [{header: a}, {cookie: b}], missing: refuse}")
    assert (failure.value.reason, failure.value.detail) == ("key_missing", "needed: header a or cookie b")
    key, source = read("{header: a, missing: random}")
    assert key is not None and len(key) == 8 and source == DRAWN


@pytest.mark.parametrize(("key", "source"), [("{header: a, missing: random}", RETRIED), ("random", 0)])
def test_where_a_key_is_drawn_the_idempotency_key_takes_its_place_so_that_a_retry_keeps_its_arm(
    key: str, source: int
) -> None:
    reader = reader_of(key)
    exchange = exchange_of(request("POST / HTTP/1.1\nIdempotency-Key: k-1"))
    assert reader.read(exchange) == reader.read(exchange) == (b"k-1", source)
    without = exchange_of(request("POST / HTTP/1.1"))
    assert reader.read(without) != reader.read(without)


# Cookies of ours.


def set_cookies(reader: KeyReader, exchange: Exchange) -> list[str]:
    response = Response(200, [])
    sends(reader._owner, exchange, response)
    return [value.decode() for name, value in response.headers if name == b"set-cookie"]


def test_the_vectors_of_the_cookies() -> None:
    for each in VECTORS["cookies"]:
        issuer = Issuer(each["name"], bytes.fromhex(each["secret_hex"]))

        class Fixed(Random):
            def getrandbits(self, k: int, id: str = each["id_hex"]) -> int:
                return int(id, 16)

        assert issuer.value(issuer.new_id(Fixed())).decode() == each["value"]
        assert issuer.valid_id(f"{each['name']}={each['value']}".encode()) == each["value"].partition(".")[0].encode()


def test_a_client_without_a_cookie_is_drawn_by_the_one_that_it_is_sent_and_keeps_it() -> None:
    services = FakeServices()
    reader = reader_of("{cookie: arm, issue: true}", services)
    first = exchange_of(request("POST / HTTP/1.1\ncookie: theme=dark"))
    key, source = reader.read(first)
    (line,) = set_cookies(reader, first)
    pair, _, attributes = line.partition("; ")
    assert attributes == "Max-Age=31536000; Path=/; HttpOnly; SameSite=Lax"
    assert (source, reader.issued(first)) == (0, True)
    assert key == pair.removeprefix("arm=").partition(".")[0].encode()
    assert first.request.get(b"cookie") == f"theme=dark; {pair}".encode(), "whoever reads it later reads the same id"

    again = exchange_of(request(f"POST / HTTP/1.1\ncookie: theme=dark; {pair}"))
    assert reader_of("{cookie: arm, issue: true}", services).read(again) == (key, 0), "the same in another worker"
    assert set_cookies(reader, again) == []


def test_two_readers_of_one_name_issue_one_cookie() -> None:
    services = FakeServices()
    one, other = (reader_of("{cookie: arm, issue: true}", services) for _ in range(2))
    exchange = exchange_of(request("POST / HTTP/1.1"))
    assert one.read(exchange) == other.read(exchange)
    assert len(set_cookies(one, exchange)) == 1
    assert set_cookies(other, exchange) == []


def test_where_an_earlier_source_has_a_key_no_cookie_is_issued() -> None:
    reader = reader_of("{first: [{header: a}, {cookie: arm, issue: true}]}")
    exchange = exchange_of(request("POST / HTTP/1.1\na: 1"))
    assert reader.read(exchange) == (b"1", 0)
    assert set_cookies(reader, exchange) == []


def test_an_id_that_a_client_made_up_counts_as_absent() -> None:
    services = FakeServices()
    issuer = Issuer("arm", services.secret)
    id = issuer.new_id(services.rng)
    good = issuer.value(id).decode()
    other_name = Issuer("sid", services.secret).value(id).decode()
    other_secret = Issuer("arm", bytes(32)).value(id).decode()
    flipped = ("B" if good[0] == "A" else "A") + good[1:]
    for value in (flipped, good[:-1], good + "A", good.replace(".", "-"), other_name, other_secret, id.decode(), "."):
        exchange = exchange_of(request(f"POST / HTTP/1.1\ncookie: arm={value}"))
        key, _ = reader_of("{cookie: arm, issue: true}", services).read(exchange)
        assert key not in (id, value.partition(".")[0].encode()), value
    assert issuer.valid_id(f"arm={flipped}; arm={good}".encode()) == id, "the valid one of several"


def test_no_more_than_a_few_made_up_ids_cost_a_signature() -> None:
    issuer = Issuer("arm", bytes(32))
    good = issuer.value(issuer.new_id(Random(1)))
    forged = b"arm=" + b"A" * 22 + b"." + b"A" * 22 + b"; "
    assert issuer.valid_id(forged * 3 + b"arm=" + good) is not None
    assert issuer.valid_id(forged * 4 + b"arm=" + good) is None


@pytest.mark.parametrize(
    ("scheme", "proto", "trusted", "secure"),
    [
        (b"https", "http", False, True),
        (b"http", "http", True, False),
        (b"http", "https", False, False),
        (b"http", "https", True, True),
        (b"http", "HTTPS", True, True),
    ],
)
def test_a_cookie_is_secure_where_the_client_speaks_https(
    scheme: bytes, proto: str, trusted: bool, secure: bool
) -> None:
    reader = reader_of("{cookie: arm, issue: true}")
    exchange = exchange_of(request(f"POST / HTTP/1.1\nx-forwarded-proto: {proto}"), trusted=trusted)
    exchange.request.scheme = scheme
    reader.read(exchange)
    (line,) = set_cookies(reader, exchange)
    assert line.endswith("; Secure") is secure


def test_ids_are_as_many_as_clients() -> None:
    reader = reader_of("{cookie: arm, issue: true}")
    assert len({reader.read(exchange_of(request("GET / HTTP/1.1")))[0] for _ in range(1000)}) == 1000
