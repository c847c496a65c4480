"""The URLs of a configuration."""

from __future__ import annotations

import pytest
from understudy.config.addresses import check_ledger, check_url, parse_endpoint, parse_network, redacted
from understudy.config.snapshot import Endpoint, Tls


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("http://127.0.0.1:9001", Endpoint("127.0.0.1", 9001)),
        ("http://Model.Example/", Endpoint("model.example", 80)),
        ("http://[::1]:9001", Endpoint("::1", 9001)),
        ("https://model", Endpoint("model", 443, tls=Tls())),
        ("https://[fd00::1]", Endpoint("fd00::1", 443, tls=Tls())),
        ("unix:/run/model.sock", Endpoint("", 0, unix="/run/model.sock")),
    ],
)
def test_one_address_of_a_backend(text: str, endpoint: Endpoint) -> None:
    assert parse_endpoint(text) == endpoint


def test_verification_goes_with_https_alone() -> None:
    tls = Tls(ca="/ca.pem")
    assert parse_endpoint("https://a", tls).tls == tls
    assert parse_endpoint("http://a", tls).tls is None
    assert parse_endpoint("unix:/a", tls).tls is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "127.0.0.1:9001",
        "HTTP://a",
        "ftp://a",
        "http:a",
        "http:///a",
        "http://",
        "http://a/b",
        "http://a?b",
        "http://a#b",
        "http://a#",
        "http://a?",
        "http://u@a",
        "http://u:p@a",
        "http://@a",
        "http://a:0",
        "http://a:65536",
        "http://a:",
        "http://a:x",
        "http://::1",
        "http://[::1",
        "http://[::1]x",
        "http://[::1]:",
        "http://[v1.a]",
        "http://a b",
        "http://a\n",
        "http://é",
        "http://1.2.3",
        "unix:a",
        "unix:",
        "unix://a",
        "http://a\\b",
    ],
)
def test_what_is_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_endpoint(text)


@pytest.mark.parametrize("text", ["http://a:4318", "https://a/v1/traces", "http://[::1]:1/x"])
def test_a_url_may_have_a_path(text: str) -> None:
    check_url(text)


@pytest.mark.parametrize("text", ["a", "http://u:p@a/b", "http://a/b?c", "http://a:99999/", "memory://"])
def test_a_url_that_may_not_be(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        check_url(text)


@pytest.mark.parametrize(
    "text",
    [
        "memory://",
        "sqlite:///var/lib/l.db",
        "redis://a",
        "redis://a:6379/0",
        "rediss://u:p@a/15",
        "redis://:p@[::1]:1/0",
    ],
)
def test_a_ledger(text: str) -> None:
    check_ledger(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "memory",
        "memory://a",
        "sqlite://a.db",
        "sqlite:///",
        "sqlite:///a/",
        "sqlite:///a?b",
        "redis://",
        "redis://a/b",
        "redis://a:0",
        "redis://a/0?b",
        "postgres://a",
    ],
)
def test_what_is_no_ledger(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        check_ledger(text)


@pytest.mark.parametrize("text", ["10.0.0.0/8", "127.0.0.1", "fd00::/8", "::1", "0.0.0.0/0"])
def test_a_network(text: str) -> None:
    assert parse_network(text)


def test_a_network_with_too_many_bits_is_told_what_was_meant() -> None:
    with pytest.raises(ValueError, match=r"allowed: 10\.0\.0\.0/8"):
        parse_network("10.1.2.3/8")


@pytest.mark.parametrize("text", ["", "a", "10.0.0.0/33", "10.0.0.0/255.0.0.1", "10.0.0", "::1/129"])
def test_what_is_no_network(text: str) -> None:
    with pytest.raises(ValueError, match="allowed"):
        parse_network(text)


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("redis://user:SECRET@host:6379/0", "redis://***@host:6379/0"),
        ("redis://user:SEC@RET@host:6379/0", "redis://***@host:6379/0"),
        ("http://user:SEC/RET@host", "http://***@host"),
        ("http://user:SEC?RET@host", "http://***"),
        ("user:SECRET@host:4317", "***@host:4317"),
        ("https://host/v1?api-key=SECRET", "https://host/v1?***"),
        ("https://host?api-key=SEC@RET", "https://***"),
        ("https://host?back=http://u:SECRET@host", "https://***"),
        ("https://user:SECRET@host?api-key=SECRET#SECRET", "https://***@host?***"),
        ("https://host#SECRET?SECRET", "https://host#***"),
        ("host:4318?back=https://host/SECRET", "host:4318?***"),
        ("host:4318?api-key=SECRET", "host:4318?***"),
        ("http://host/a", "http://host/a"),
        ("http://host/a?", "http://host/a?"),
        ("http://@host", "http://@host"),
        ("", ""),
        ("unix:/a@b", "unix:/a@b"),
    ],
)
def test_credentials_are_never_printed(text: str, printed: str) -> None:
    assert redacted(text) == printed
    assert not any(each in printed for each in ("SEC", "RET"))
