"""The grammar of RFC 9110 and RFC 9112 as small predicates over bytes. Nothing of the proxy, nothing of its parser.

Every predicate answers for one ABNF rule and takes the whole candidate. `problem_*` functions return None, or the
rule that is broken in a reader's words.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

ALPHA = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
DIGIT = b"0123456789"
HEXDIG = DIGIT + b"abcdefABCDEF"
TCHAR = b"!#$%&'*+-.^_`|~" + DIGIT + ALPHA  # RFC 9110 5.6.2
UNRESERVED = ALPHA + DIGIT + b"-._~"  # RFC 3986 2.3
SUB_DELIMS = b"!$&'()*+,;="
PCHAR = UNRESERVED + SUB_DELIMS + b":@"  # without percent-encoded triplets
FIELD_VALUE = bytes([0x09, 0x20, *range(0x21, 0x7F), *range(0x80, 0x100)])  # RFC 9110 5.5
QDTEXT = bytes(byte for byte in FIELD_VALUE if byte not in b'"\\')  # RFC 9110 5.6.4


def consists_of(text: bytes, allowed: bytes) -> bool:
    """Whether every byte is among the allowed ones; the empty text does."""
    return not text.translate(None, allowed)


def is_token(text: bytes) -> bool:
    """`token` of RFC 9110 5.6.2: at least one tchar."""
    return bool(text) and consists_of(text, TCHAR)


def is_digits(text: bytes) -> bool:
    """`1*DIGIT`."""
    return bool(text) and consists_of(text, DIGIT)


def is_hex(text: bytes) -> bool:
    """`1*HEXDIG`."""
    return bool(text) and consists_of(text, HEXDIG)


def percent_encoded(text: bytes, allowed: bytes) -> bool:
    """Whether the text is `*( allowed / pct-encoded )` (RFC 3986 2.1)."""
    first, *escapes = text.split(b"%")
    if not consists_of(first, allowed):
        return False
    return all(len(each) >= 2 and is_hex(each[:2]) and consists_of(each[2:], allowed) for each in escapes)


def problem_of_host(text: bytes) -> str | None:
    """`uri-host [ ":" port ]` (RFC 9110 7.2) with a host: an http URI without one is invalid (RFC 9110 4.2.1)."""
    if text.startswith(b"["):
        literal, bracket, rest = text[1:].partition(b"]")
        if not bracket:
            return "RFC 3986 3.2.2: an IP literal without its bracket"
        if b"%" in literal or not _is_ipv6(literal):
            return "RFC 3986 3.2.2: brackets hold an IPv6 address"
        host, colon, port = b"[]", rest[:1], rest[1:]
        if rest and colon != b":":
            return "RFC 3986 3.2.2: only a port follows an IP literal"
    else:
        host, _, port = text.partition(b":")
    if not host:
        return "RFC 9110 4.2.1: the host is empty"
    if host != b"[]" and not percent_encoded(host, UNRESERVED + SUB_DELIMS):
        return "RFC 9110 7.2: not a uri-host"
    return None if consists_of(port, DIGIT) else "RFC 9110 7.2: the port is not digits"


def _is_ipv6(literal: bytes) -> bool:
    try:
        ipaddress.IPv6Address(literal.decode("ascii"))
    except ValueError:
        return False
    return True


def problem_of_path(text: bytes) -> str | None:
    """`absolute-path` of RFC 9110 4.1: it begins with a slash and holds pchars and slashes."""
    if not text.startswith(b"/"):
        return "RFC 9112 3.2.1: origin-form begins with a slash"
    if not percent_encoded(text, PCHAR + b"/"):
        return "RFC 9112 3.2.1: not URI characters in the path"
    return None


def problem_of_query(text: bytes) -> str | None:
    """`query` of RFC 3986 3.4, and `[` `]`, which good clients send there."""
    if not percent_encoded(text, PCHAR + b"/?[]"):
        return "RFC 3986 3.4: not URI characters in the query"
    return None


def list_elements(values: Iterable[bytes]) -> list[bytes]:
    """The elements of a comma-separated field over all its lines, empty ones kept (RFC 9110 5.6.1)."""
    return [element.strip(b" \t") for value in values for element in value.split(b",")]


def problem_of_chunk_extensions(text: bytes) -> str | None:
    """`*( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] )` (RFC 9112 7.1.1)."""
    rest = text.lstrip(b" \t")
    while rest:
        if not rest.startswith(b";"):
            return "RFC 9112 7.1.1: a chunk extension begins with a semicolon"
        name, rest = _take(rest[1:].lstrip(b" \t"), TCHAR)
        if not name:
            return "RFC 9112 7.1.1: a chunk extension without a name"
        rest = rest.lstrip(b" \t")
        if rest.startswith(b"="):
            value, rest = _take_value(rest[1:].lstrip(b" \t"))
            if not value:
                return "RFC 9112 7.1.1: a chunk extension's value is a token or a quoted string"
            rest = rest.lstrip(b" \t")
    # Bad whitespace is allowed around the separators only, not at the line's end.
    return "RFC 9112 7.1: whitespace at the end of a chunk line" if text[-1:] in (b" ", b"\t") else None


def _take(text: bytes, allowed: bytes) -> tuple[bytes, bytes]:
    rest = text.lstrip(allowed)
    return text[: len(text) - len(rest)], rest


def _take_value(text: bytes) -> tuple[bytes, bytes]:
    """A token or a quoted string, and what follows it; nothing where there is neither."""
    if not text.startswith(b'"'):
        return _take(text, TCHAR)
    at = 1
    while at < len(text):
        byte = text[at : at + 1]
        if byte == b'"':
            return text[: at + 1], text[at + 1 :]
        if byte == b"\\":
            at += 1
            byte = text[at : at + 1]
            if not byte or byte not in FIELD_VALUE:
                return b"", text
        elif byte not in QDTEXT:
            return b"", text
        at += 1
    return b"", text
