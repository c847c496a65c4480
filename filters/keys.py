"""Where a filter takes a request's key from: whom a draw is sticky to."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from .matching import Mistakes, name_mistakes

_SOURCES = ("header", "cookie", "jwt")


class KeySource(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """One place where a key may be: exactly one of header, cookie and jwt."""

    header: str | None = None  # a field's name
    cookie: str | None = None  # a cookie's name
    jwt: str | None = None  # a claim of the bearer token; decoded, not verified
    issue: bool = False  # with cookie: send one to a client that has none

    def mistakes(self) -> Mistakes:
        """What types cannot say."""
        given = [name for name in _SOURCES if getattr(self, name) is not None]
        if len(given) != 1:
            return [((), f"must hold exactly one of {', '.join(_SOURCES)}")]
        return _source_mistakes(self, given[0])


Source: TypeAlias = Literal["client_address", "random"] | KeySource
"""A key's source, or a word for what needs no name."""


class Key(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """A key with its alternatives: exactly one of header, cookie, jwt and first."""

    header: str | None = None  # a field's name
    cookie: str | None = None  # a cookie's name
    jwt: str | None = None  # a claim of the bearer token; decoded, not verified
    issue: bool = False  # with cookie: send one to a client that has none
    first: tuple[Source, ...] | None = None  # the first of these that is present
    missing: Literal["backend", "random", "refuse"] = "backend"  # the route's backend, a draw, or 400

    def mistakes(self) -> Mistakes:
        """What types cannot say."""
        allowed = (*_SOURCES, "first")
        given = [name for name in allowed if getattr(self, name) is not None]
        if len(given) != 1:
            return [((), f"must hold exactly one of {', '.join(allowed)}")]
        if self.first is None:
            return _source_mistakes(self, given[0])
        if not self.first:
            return [(("first",), "is empty; list at least one of header, cookie, jwt")]
        return [
            (("first", at, *inner), text)
            for at, source in enumerate(self.first)
            if isinstance(source, KeySource)
            for inner, text in source.mistakes()
        ]


def _source_mistakes(source: KeySource | Key, given: str) -> Mistakes:
    found: Mistakes = []
    name = getattr(source, given)
    if given == "jwt":
        found += [] if name else [(("jwt",), "needs the name of a claim, such as sub")]
    else:
        found += [((given, *inner), text) for inner, text in name_mistakes(given, name)]
    if source.issue and given != "cookie":
        found.append((("issue",), f"belongs to cookie, not to {given}"))
    return found


KeyOf: TypeAlias = Literal["client_address", "random"] | Key
"""What `key:` and `sample_by:` hold."""


def key_mistakes(key: KeyOf | None, *path: str | int) -> Mistakes:
    """What is wrong with a key, at a path."""
    if not isinstance(key, Key):
        return []
    return [((*path, *inner), text) for inner, text in key.mistakes()]
