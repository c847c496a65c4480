"""The URLs of a configuration: a backend's endpoints, OTLP, egress upstreams, the ledger. Pure: nothing is opened."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network
from urllib.parse import SplitResult, urlsplit

from .binds import parse_host, parse_port, parse_unix_path
from .snapshot import Endpoint, Tls

ENDPOINT = "http://host:port, https://host:port or unix:/path"

_PORTS = {"http": 80, "https": 443, "redis": 6379, "rediss": 6379}


def parse_endpoint(text: str, tls: Tls | None = None) -> Endpoint:
    """One address of a backend; `tls` goes with https alone. Raises ValueError with what is wrong and allowed."""
    if text.startswith("unix:"):
        return Endpoint(host="", port=0, unix=parse_unix_path(text.removeprefix("unix:")))
    url = _split(text, ("http", "https"), ENDPOINT)
    if url.path not in ("", "/"):
        raise ValueError(f"has a path; a backend's rewrite.path changes paths; allowed: {ENDPOINT}")
    host, port = _authority(url)
    return Endpoint(host=host, port=port, tls=(tls or Tls()) if url.scheme == "https" else None)


def check_url(text: str) -> None:
    """Check an http or https URL that may have a path. Raises ValueError."""
    _authority(_split(text, ("http", "https"), "http://host:port/path or https://host/path"))


def check_ledger(text: str) -> None:
    """Check `stores.ledger`. Raises ValueError; its text never repeats a password."""
    allowed = "memory://, sqlite:///path/to.db, redis://host:6379/0 or rediss://host:6379/0"
    if text == "memory://":
        return
    if text.startswith("sqlite://"):
        path = text.removeprefix("sqlite://")
        if not path.startswith("/") or path.endswith("/") or "?" in path or "#" in path or "\0" in path:
            raise ValueError("needs an absolute path of a file after sqlite://; allowed: " + allowed)
        return
    url = _split(text, ("redis", "rediss"), allowed, userinfo=True)
    _authority(url)
    database = url.path.strip("/")
    if database and not (database.isascii() and database.isdigit()):
        raise ValueError("needs a database number after the slash; allowed: " + allowed)


def parse_network(text: str) -> IPv4Network | IPv6Network:
    """One CIDR of `trust`. Raises ValueError with what is wrong and allowed."""
    try:
        return ip_network(text)
    except ValueError:
        pass
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        raise ValueError("is no network; allowed: 10.0.0.0/8, 127.0.0.1, fd00::/8 or the like, or unix") from None
    raise ValueError(f"has bits set beyond its prefix; allowed: {network}")


def redacted(text: str) -> str:
    """A URL as one may print it, or a text that was meant for one: without user, password, query and fragment."""
    if text.startswith("unix:"):
        return text
    scheme, separator, _ = text.partition("://")
    known = scheme + separator if separator and scheme.isalnum() else ""
    login, at, place = text.removeprefix(known).rpartition("@")
    if "?" in login or "#" in login:  # a password's, or does the query hold an @?
        return f"{known}***"
    end = min((place.index(mark) + 1 for mark in "?#" if mark in place), default=len(place))
    return f"{known}{'***' if login else ''}{at}{place[:end]}{'***' if place[end:] else ''}"


def _split(text: str, schemes: tuple[str, ...], allowed: str, *, userinfo: bool = False) -> SplitResult:
    if any(each <= " " or each == "\x7f" for each in text) or not text.isascii():
        raise ValueError(f"has a blank, a control or a non-ASCII character; allowed: {allowed}")
    if not text.partition("://")[1] or text.partition("://")[0] not in schemes:
        raise ValueError(f"is no such URL; allowed: {allowed}")
    try:
        url = urlsplit(text)
    except ValueError:
        raise ValueError(f"has no valid host; allowed: {allowed}") from None
    if "@" in url.netloc and not userinfo:
        raise ValueError(
            f"has a user or password in it, never sent; credentials belong into headers; allowed: {allowed}"
        )
    if "?" in text or "#" in text:
        raise ValueError(f"has a query or a fragment; allowed: {allowed}")
    return url


def _authority(url: SplitResult) -> tuple[str, int]:
    """Host and port, strictly: urlsplit lets anything through."""
    netloc = url.netloc.rpartition("@")[2]
    if netloc.startswith("["):
        literal, _, rest = netloc[1:].partition("]")
        host = parse_host(literal, None)
        separator, port = rest[:1], rest[1:]
    elif netloc.count(":") > 1:
        raise ValueError("needs brackets around an IPv6 address, as in http://[::1]:9001")
    else:
        name, separator, port = netloc.partition(":")
        rest = separator
        host = parse_host(None, name)
    if not rest:
        return host, _PORTS[url.scheme]
    if separator != ":" or not (port.isascii() and port.isdigit() and len(port) <= 5):
        raise ValueError("has no valid port; allowed: 1 to 65535")
    return host, parse_port(port, least=1)
