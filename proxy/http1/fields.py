"""Which header fields pass, and which we add, on either side (RFC 9110 section 7.6; contract: "Added").

Fields are judged by name alone, so each name is judged once and remembered. A head sorts its fields as they come into
those that go on, and those that only concern this hop, whose values are noted for the checks of `head.py`.
"""

from __future__ import annotations

from typing import Final

from ...filters.api import Headers
from .. import trace

PASS: Final = 0
DROP: Final = 1
CARRIED: Final = 2  # trace context, which the exchange passes on its own way
INTERNAL: Final = 3  # passes from a trusted peer only
CLAIM: Final = 4  # what a trusted peer says of the client; ends here
HOST: Final = 5  # this and those that follow end here, and say something about this hop
LENGTH: Final = 6
CODING: Final = 7
CONNECTION: Final = 8
UPGRADE: Final = 9
EXPECT: Final = 10

_HOP_BY_HOP = frozenset({b"keep-alive", b"proxy-connection", b"te", b"trailer"})
_FRAMING = {b"connection": CONNECTION, b"content-length": LENGTH, b"transfer-encoding": CODING, b"upgrade": UPGRADE}
_CLAIMED = (b"x-request-id", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host")
_REQUEST_DROPPED = _HOP_BY_HOP | {b"http2-settings", b"proxy-authorization"}
_REQUEST_NOTED = _FRAMING | {b"host": HOST, b"expect": EXPECT} | dict.fromkeys(_CLAIMED, CLAIM)
_RESPONSE_DROPPED = _HOP_BY_HOP | {b"x-request-id", b"proxy-authenticate"}
_INTERNAL_PREFIX = b"x-understudy-"
_CLAIMS = (b"x-forwarded-", b"x-real-ip")  # what one may say of a client only where one is trusted
_REMEMBERED_NAMES = 1024

VIA: Final = (b"via", b"1.1 understudy")


class Kinds:
    """What becomes of a field, by its name as received: (lower-case name, kind).

    Bounded: past the bound, names are judged anew each time.
    """

    __slots__ = ("_carried", "_dropped", "_internal", "_noted", "known")

    def __init__(
        self, dropped: frozenset[bytes], noted: dict[bytes, int], carried: frozenset[bytes], internal: int
    ) -> None:
        self.known: dict[bytes, tuple[bytes, int]] = {}
        self._dropped = dropped
        self._noted = noted
        self._carried = carried
        self._internal = internal

    def judge(self, received: bytes) -> tuple[bytes, int]:
        """Judge a name that is not `known` yet."""
        name = received.lower()
        judged = (name, self._judge(name))
        if len(self.known) < _REMEMBERED_NAMES:
            self.known[received] = judged
        return judged

    def _judge(self, name: bytes) -> int:
        # CGI-style servers read x_forwarded_for as X-Forwarded-For: one spelling decides for all.
        spelling = name.replace(b"_", b"-")
        if spelling.startswith(_INTERNAL_PREFIX):
            return self._internal if spelling == name else DROP
        if spelling == b"forwarded":
            return self._internal
        if self._internal == INTERNAL and spelling not in self._noted and spelling.startswith(_CLAIMS):
            return INTERNAL
        if spelling in self._dropped:
            return DROP
        if spelling in self._noted:
            return self._noted[name] if spelling == name else DROP
        return CARRIED if name in self._carried else PASS


REQUEST: Final = Kinds(_REQUEST_DROPPED, _REQUEST_NOTED, trace.FIELDS, INTERNAL)
RESPONSE: Final = Kinds(_RESPONSE_DROPPED, _FRAMING, frozenset(), DROP)


def without(headers: Headers, names: frozenset[bytes]) -> Headers:
    """The fields that Connection does not nominate."""
    return [line for line in headers if line[0] not in names]


def add_forwarding(
    kept: Headers, claims: dict[bytes, bytes] | None, authority: bytes, client: bytes, scheme: bytes, id: bytes
) -> None:
    """Say of a request's client what we know; a trusted peer's X-Forwarded-* are appended to, others replaced."""
    hops, proto, host = client, scheme, authority
    if claims is not None:
        before = claims.get(b"x-forwarded-for")
        hops = client if before is None else before + b", " + client
        proto = claims.get(b"x-forwarded-proto", scheme)
        host = claims.get(b"x-forwarded-host", host)
    kept.append((b"x-request-id", id))
    kept.append((b"x-forwarded-for", hops))
    kept.append((b"x-forwarded-proto", proto))
    kept.append((b"x-forwarded-host", host))
    kept.append(VIA)


def accepted_request_id(value: bytes | None) -> bytes | None:
    """A trusted peer's request id when it can stand in a log line: 1 to 128 visible ASCII characters."""
    if value is None or not 1 <= len(value) <= 128 or not value.isascii():
        return None
    return None if any(byte <= 0x20 or byte == 0x7F for byte in value) else value
