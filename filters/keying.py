"""Takes a request's key from where `key:` or `sample_by:` says. filters/keys.py has the YAML.

A key is bytes that are hashed at once: never logged, stored or shown. An empty value is an absent one, else everybody
without a name would share an arm.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Final, TypeAlias

from .claims import claim_reader
from .cookies import Issuer
from .keys import Key, KeyOf, KeySource
from .messages import Exchange, Failure, Response
from .subjects import cookies

if TYPE_CHECKING:
    from .api import Filter, Services

Source: TypeAlias = Callable[[Exchange], bytes | None]

MISSING: Final = -1  # no source had a key, and none was drawn
RETRIED: Final = -2  # no source had a key: the idempotency key stands in
DRAWN: Final = -3  # no source had a key: a random one stands in

_RETRY_HEADER: Final = b"idempotency-key"


class KeyReader:
    """Reads the key of each request of one filter. None as `key` means random: sticky to nobody.

    Where a random key is drawn and the request carries an `Idempotency-Key`, that is the key, so that a retry keeps its
    arm. A filter whose reader `issues` cookies must call `sends` in `on_response`.
    """

    __slots__ = ("_owner", "_refuses", "_rng", "_sources", "_stands_in", "issues", "labels", "random_at")

    def __init__(self, key: KeyOf | None, services: Services, owner: Filter) -> None:
        self._owner = owner
        self._rng: Random = services.rng
        self.issues = False  # whether it may send a cookie
        self.random_at = -2  # the position of the source that is not sticky; below MISSING: there is none
        self.labels: list[str] = []  # the sources, in words
        self._sources: list[Source] = []
        missing = "backend"
        if isinstance(key, Key):
            missing = key.missing
            for source in (key,) if key.first is None else key.first:
                self._add(source, services)
        else:
            self._add(key or "random", services)
        self._refuses = missing == "refuse"
        self._stands_in = missing == "random"

    def read(self, exchange: Exchange) -> tuple[bytes | None, int]:
        """The key, and the position in `labels` of the source that had it, or one of MISSING, RETRIED and DRAWN.

        Raises Failure("key_missing") where the configuration refuses requests without a key.
        """
        for at, source in enumerate(self._sources):
            key = source(exchange)
            if key:
                return key, at
        if self._stands_in:
            key = exchange.request.get(_RETRY_HEADER)
            return (key, RETRIED) if key else (self._random(), DRAWN)
        if self._refuses:
            raise Failure("key_missing", f"needed: {' or '.join(self.labels)}")
        return None, MISSING

    def issued(self, exchange: Exchange) -> bool:
        """Whether the client of this exchange will be sent a cookie."""
        return self._owner in exchange.notes

    def _add(self, source: Key | KeySource | str, services: Services) -> None:
        if isinstance(source, str):
            if source == "random":
                self.random_at = len(self.labels)
            self.labels.append(source.replace("_", " "))
            self._sources.append(_client_address if source == "client_address" else self._retried_or_random)
        elif source.header is not None:
            self.labels.append(f"header {source.header}")
            self._sources.append(_header(source.header))
        elif source.cookie is None:
            self.labels.append(f"JWT claim {source.jwt}")
            self._sources.append(_claim(source.jwt or ""))
        elif source.issue:
            self.issues = True
            self.labels.append(f"issued cookie {source.cookie}")
            self._sources.append(self._issued(Issuer(source.cookie, services.secret)))
        else:
            self.labels.append(f"cookie {source.cookie}")
            self._sources.append(_cookie(source.cookie))

    def _issued(self, issuer: Issuer) -> Source:
        def read(exchange: Exchange) -> bytes | None:
            header = exchange.request.get(b"cookie")
            if header:
                found = issuer.valid_id(header)
                if found is not None:
                    return found
            return self._issue(issuer, exchange, header)

        return read

    def _issue(self, issuer: Issuer, exchange: Exchange, header: bytes | None) -> bytes:
        """Draw this very request by the new id, and let whoever reads its cookie later read the same one."""
        id = issuer.new_id(self._rng)
        value = issuer.value(id)
        pair = issuer.name + b"=" + value
        exchange.request.set(b"cookie", header + b"; " + pair if header else pair)
        line = issuer.set_cookie(value, _is_https(exchange))
        exchange.notes.setdefault(self._owner, []).append(line)
        return id

    def _retried_or_random(self, exchange: Exchange) -> bytes | None:
        return exchange.request.get(_RETRY_HEADER) or self._random()

    def _random(self) -> bytes:
        return self._rng.getrandbits(64).to_bytes(8, "little")


def sends(owner: Filter, exchange: Exchange, response: Response) -> None:
    """Send the client of this exchange the cookies that this filter's readers issued it, whoever answered."""
    if exchange.notes:
        for line in exchange.notes.get(owner, ()):
            response.append(b"set-cookie", line)


def _header(name: str) -> Source:
    lowered = name.lower().encode()
    return lambda exchange: exchange.request.get(lowered)


def _cookie(name: str) -> Source:
    encoded = name.encode()

    def read(exchange: Exchange) -> bytes | None:
        header = exchange.request.get(b"cookie")
        found = cookies(header, encoded) if header else None
        return found[0] if found else None

    return read


def _claim(name: str) -> Source:
    claim = claim_reader(name)

    def read(exchange: Exchange) -> bytes | None:
        authorization = exchange.request.get(b"authorization")
        return claim(authorization) if authorization else None

    return read


def _client_address(exchange: Exchange) -> bytes | None:
    """The peer's address; behind a trusted peer, the address that it says it was called from."""
    if exchange.trusted:
        hops = exchange.request.fields.get(b"x-forwarded-for", b"").rsplit(b",", 2)  # the last one is the peer itself
        if len(hops) > 1:
            return hops[-2].strip()
    return exchange.client.encode()


def _is_https(exchange: Exchange) -> bool:
    """Whether the client speaks https, as far as we or a trusted peer can tell."""
    request = exchange.request
    if request.scheme == b"https":
        return True
    return exchange.trusted and request.fields.get(b"x-forwarded-proto", b"").lower() == b"https"
