"""Which header fields pass, and which we add, on either side (RFC 9110 section 7.6; contract: "Added").

Fields are judged by name alone, so each name is judged once and remembered.
"""

from __future__ import annotations

from typing import Final

from ...filters.api import Headers
from .. import trace
from .head import RequestHead

_HOP_BY_HOP = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade"}
)
_REQUEST_OURS = (
    _HOP_BY_HOP | trace.FIELDS | {b"host", b"content-length", b"expect", b"http2-settings", b"proxy-authorization"}
)
_RESPONSE_OURS = _HOP_BY_HOP | {b"content-length", b"x-request-id", b"proxy-authenticate"}
_FORWARDED = frozenset({b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"x-request-id", b"forwarded"})
_INTERNAL = b"x-understudy-"
_REMEMBERED_NAMES = 1024


class _Passing(dict[bytes, bool]):
    """Name -> whether a field of this name passes. Bounded: past the bound, names are judged anew each time."""

    def __init__(self, ours: frozenset[bytes], internal: bool, forwarded: bool) -> None:
        self._ours = ours
        self._internal = internal
        self._forwarded = forwarded

    def __missing__(self, name: bytes) -> bool:
        passes = self._judge(name)
        if len(self) < _REMEMBERED_NAMES:
            self[name] = passes
        return passes

    def _judge(self, name: bytes) -> bool:
        # CGI-style servers read x_forwarded_for as X-Forwarded-For: one spelling decides for all.
        spelling = name.replace(b"_", b"-")
        if spelling != name and (spelling in self._ours or spelling in _FORWARDED):
            return False
        if spelling.startswith(_INTERNAL):
            return self._internal and spelling == name
        return name not in self._ours and (self._forwarded or name not in _FORWARDED)


_TRUSTED_REQUEST: Final = _Passing(_REQUEST_OURS | _FORWARDED, internal=True, forwarded=True)
_UNTRUSTED_REQUEST: Final = _Passing(_REQUEST_OURS, internal=False, forwarded=False)
_RESPONSE: Final = _Passing(_RESPONSE_OURS, internal=False, forwarded=True)

VIA: Final = (b"via", b"1.1 understudy")


def clean_request(head: RequestHead, client: bytes, trusted: bool, scheme: bytes, request_id: bytes) -> Headers:
    """The end-to-end fields of a request, with what we say of its client behind them.

    A trusted peer's X-Forwarded-* are appended to, everybody else's are replaced.
    """
    passing = _TRUSTED_REQUEST if trusted else _UNTRUSTED_REQUEST
    kept = [line for line in head.headers if passing[line[0]]]
    if head.nominated:
        kept = [line for line in kept if line[0] not in head.nominated]
    hops, proto, host = client, scheme, head.authority
    if trusted:
        before = head.fields.get(b"x-forwarded-for")
        hops = client if before is None else before + b", " + client
        proto = head.fields.get(b"x-forwarded-proto", scheme)
        host = head.fields.get(b"x-forwarded-host", host)
    kept.append((b"x-request-id", request_id))
    kept.append((b"x-forwarded-for", hops))
    kept.append((b"x-forwarded-proto", proto))
    kept.append((b"x-forwarded-host", host))
    kept.append(VIA)
    return kept


def clean_response(headers: Headers, nominated: frozenset[bytes]) -> Headers:
    """The end-to-end fields of an answer."""
    kept = [line for line in headers if _RESPONSE[line[0]]]
    if nominated:
        kept = [line for line in kept if line[0] not in nominated]
    return kept


def accepted_request_id(value: bytes | None) -> bytes | None:
    """A trusted peer's request id when it can stand in a log line: 1 to 128 visible ASCII characters."""
    if value is None or not 1 <= len(value) <= 128 or not value.isascii():
        return None
    return None if any(byte <= 0x20 or byte == 0x7F for byte in value) else value
