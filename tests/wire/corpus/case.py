"""The shape of a case, and short ways to write one down.

A case says what is sent and what must become of it, from RFC 9110, RFC 9112 or the proxy's contract, named in `rule`:

    refuse("space before the colon", get("X-A : b"), "RFC 9112 5.1")
    serve("tab around a value", get("X-A:\\tb\\t"), "RFC 9110 5.5", has={"x-a": "b"})
    either("leading zeros", post("hello", "Content-Length: 005"), "RFC 9110 8.6")

Text is latin-1. Lines end in CRLF, written by the helpers; whatever deviates is written out with `raw`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Text: TypeAlias = str | bytes
Verdict: TypeAlias = Literal["refuse", "serve", "either"]


def octets(text: Text) -> bytes:
    """The bytes of a text in latin-1."""
    return text if isinstance(text, bytes) else text.encode("latin-1")


@dataclass(frozen=True, slots=True)
class Seen:
    """What the backend must have read of one request; `has` and `lacks` by lower-case field name."""

    method: bytes
    target: bytes
    body: bytes = b""
    has: Mapping[str, str] = field(default_factory=dict)
    lacks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Case:
    """One conversation's beginning, and the verdict on it."""

    name: str
    segments: tuple[bytes, ...]
    verdict: Verdict
    rule: str
    seen: tuple[Seen, ...] = ()  # what the backend reads, before a refusal too
    statuses: frozenset[int] = frozenset()  # of the refusal

    @property
    def sent(self) -> bytes:
        """All that the client sends."""
        return b"".join(self.segments)


def raw(*lines: Text, body: Text = b"") -> bytes:
    """A head of these lines, and a body behind it."""
    return b"\r\n".join(octets(line) for line in lines) + b"\r\n\r\n" + octets(body)


def get(*lines: Text, target: Text = "/t", method: Text = "GET", host: Text = "a.test") -> bytes:
    """A request without content, with these further field lines."""
    first = octets(method) + b" " + octets(target) + b" HTTP/1.1"
    return raw(first, b"Host: " + octets(host), *lines)


def post(body: Text, *lines: Text, target: Text = "/t") -> bytes:
    """A POST with these field lines, among which the framing must be, and what follows the head."""
    return raw(b"POST " + octets(target) + b" HTTP/1.1", "Host: a.test", *lines, body=body)


def sized(body: Text, *lines: Text, target: Text = "/t") -> bytes:
    """A POST with a correct Content-Length."""
    return post(body, *lines, f"Content-Length: {len(octets(body))}", target=target)


def chunked(body: Text, *lines: Text, target: Text = "/t") -> bytes:
    """A POST that declares chunked; the body is written out, chunk syntax and all."""
    return post(body, *lines, "Transfer-Encoding: chunked", target=target)


def _segments(sent: Text | Sequence[bytes]) -> tuple[bytes, ...]:
    return (octets(sent),) if isinstance(sent, str | bytes) else tuple(sent)


def refuse(name: str, sent: Text | Sequence[bytes], rule: str, *statuses: int, seen: Sequence[Seen] = ()) -> Case:
    """Must be refused, with 400 unless said otherwise, after the backend has read `seen`."""
    return Case(name, _segments(sent), "refuse", rule, tuple(seen), frozenset(statuses or (400,)))


def serve(
    name: str,
    sent: Text | Sequence[bytes],
    rule: str,
    *seen: Seen,
    has: Mapping[str, str] | None = None,
    lacks: Sequence[str] = (),
    method: str = "GET",
    target: str = "/t",
    body: Text = b"",
) -> Case:
    """Must be served; without `seen` the backend must have read one request as the keywords say."""
    one = Seen(octets(method), octets(target), octets(body), has or {}, tuple(lacks))
    return Case(name, _segments(sent), "serve", rule, seen or (one,))


def either(name: str, sent: Text | Sequence[bytes], rule: str) -> Case:
    """May be served or refused; when served, front and back must agree as always."""
    return Case(name, _segments(sent), "either", rule)
