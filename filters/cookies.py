"""Cookies that the proxy issues so that a client without any identity keeps its arm.

The value is `<id>.<mac>`, both in base64url without padding: 16 random bytes, and the first 16 bytes of HMAC-SHA256
(RFC 2104) over the cookie's name, a zero byte and the id, under a key derived from the program's secret. A client can
keep or drop its id; it cannot choose one, and with it its arm. The key of the draw is the id alone.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from random import Random
from typing import Final

from .subjects import cookies

MAX_AGE_S: Final = 365 * 86_400
"""How long a client keeps its id: browsers cap a cookie at 400 days."""

_LABEL: Final = b"understudy issued cookie, 1"
_DIGITS: Final = 22  # of 16 bytes in base64url
_MOST_TRIED: Final = 4  # a browser may hold one for each parent domain; each costs a MAC


class Issuer:
    """Reads and makes the cookies of one name. Holds nothing of any request."""

    __slots__ = ("_keyed", "name")

    def __init__(self, name: str, secret: bytes) -> None:
        self.name = name.encode()
        derived = hmac.digest(secret, _LABEL, "sha256")
        self._keyed = hmac.new(derived, self.name + b"\0", "sha256")

    def valid_id(self, header: bytes) -> bytes | None:
        """The first id in a `Cookie` field that this program issued, or None."""
        tried = 0
        for value in cookies(header, self.name):
            if len(value) == 2 * _DIGITS + 1 and value[_DIGITS] == 0x2E and tried < _MOST_TRIED:
                tried += 1
                if hmac.compare_digest(self._mac(value[:_DIGITS]), value[_DIGITS + 1 :]):
                    return value[:_DIGITS]
        return None

    def new_id(self, rng: Random) -> bytes:
        """An id that nobody has."""
        return _encoded(rng.getrandbits(128).to_bytes(16, "big"))

    def value(self, id: bytes) -> bytes:
        """The value of the cookie that carries this id."""
        return id + b"." + self._mac(id)

    def set_cookie(self, value: bytes, secure: bool) -> bytes:
        """The `Set-Cookie` field: RFC 6265 section 4.1, with SameSite."""
        line = b"%b=%b; Max-Age=%d; Path=/; HttpOnly; SameSite=Lax" % (self.name, value, MAX_AGE_S)
        return line + b"; Secure" if secure else line

    def _mac(self, id: bytes) -> bytes:
        keyed = self._keyed.copy()
        keyed.update(id)
        return _encoded(keyed.digest()[:16])


def _encoded(sixteen: bytes) -> bytes:
    return urlsafe_b64encode(sixteen)[:_DIGITS]
