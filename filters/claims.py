"""Reads one claim of a bearer token, as a key: decoded and never verified, so it decides nothing but an arm.

What comes out is meant to be hashed: neither the token nor the claim is logged, stored or sent on.
"""

from __future__ import annotations

from binascii import Error, a2b_base64
from collections.abc import Callable
from typing import Any

import msgspec

MAX_PAYLOAD_BYTES = 8 * 1024
"""Of a token's encoded payload; a longer one counts as absent."""

_STANDARD = bytes.maketrans(b"-_", b"+/")
_NUMBER = frozenset(b"-0123456789")


def claim_reader(name: str) -> Callable[[bytes], bytes | None]:
    """A function from the value of an `Authorization` field to the claim of this name, or None.

    The token must be a signed JWT in its compact form (RFC 7519, RFC 7515 section 7.1) under the scheme `Bearer`
    (RFC 6750). A string is taken as UTF-8, a number as it is written; anything else, or an empty string, is absent.
    """
    wanted: Any = msgspec.defstruct("Claims", [("value", msgspec.Raw, msgspec.field(name=name, default=msgspec.Raw()))])
    decode = msgspec.json.Decoder(wanted).decode

    def read(authorization: bytes) -> bytes | None:
        if authorization[:7].lower() != b"bearer ":
            return None
        parts = authorization[7:].strip(b" ").split(b".", 3)
        if len(parts) != 3 or len(parts[1]) > MAX_PAYLOAD_BYTES or b"=" in parts[1]:
            return None
        encoded = parts[1].translate(_STANDARD)
        try:
            payload = a2b_base64(encoded + b"=" * (-len(encoded) % 4), strict_mode=True)
            return _text(bytes(decode(payload).value))
        except (Error, msgspec.DecodeError, RecursionError, UnicodeError):
            return None

    return read


def _text(raw: bytes) -> bytes | None:
    if raw.startswith(b'"'):
        return msgspec.json.decode(raw, type=str).encode() or None
    return raw if raw and raw[0] in _NUMBER else None
