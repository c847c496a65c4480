"""How a path prefix is rewritten: shared by backends and shadows."""

from __future__ import annotations

import msgspec

from .matching import Mistakes


class PathRewriting(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A prefix, on segment borders, and what stands in its place."""

    prefix: str  # on segment borders, as in a match
    to: str  # what stands in its place


def path_mistakes(rewriting: PathRewriting, *path: str | int) -> Mistakes:
    """What is wrong with a prefix or its replacement: both become bytes of a request line."""
    return [
        ((*path, name), f'"{value}" {text}')
        for name, value in (("prefix", rewriting.prefix), ("to", rewriting.to))
        if (text := _text(value))
    ]


def _text(value: str) -> str | None:
    if not value.startswith("/"):
        return "must begin with /, as every path does"
    if not value.isascii() or any(each <= " " or each in '?#\\"<>^`{|}\x7f' for each in value):
        return "has a character that no path has; allowed: percent-encoded ASCII without ? and #"
    if any(segment.lower().replace("%2e", ".") in (".", "..") for segment in value.split("/")):
        return "has a dot segment, which is refused in requests"
    return None
