"""Finds a request's route: the first in document order that matches, at a cost flat in the number of routes.

Routes are filed by path: exact paths and prefixes in dicts, asked once per segment of the request's path; a regex under
the longest prefix on a segment border that all its matches share, which RE2 itself tells. Routes of one path are filed
further by a host or a header value that they insist on. What is filed together is kept in document order and its
remaining conditions are asked one by one: only routes that differ in nothing literal cost more as their number grows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

import re2

from ..filters.api import Request
from ..filters.matching import Match, compile_regex
from ..filters.predicates import Predicate, all_of, compile_rest, path_test, value_match
from ..filters.subjects import host_of, normal_path
from .snapshot import Route

Entry: TypeAlias = tuple[int, Predicate, Route]
"""Position in the document, the conditions besides what it is filed under, the route."""

_Key: TypeAlias = tuple[str, bytes]
"""What the routes of one path are filed further by: ("host", b"") or ("header", its name)."""

_BORDER = ord("/")
_PERCENT = ord("%")  # looking for a number costs CPython less than looking for bytes


class Router:
    """The routes of a snapshot. Filled once, by `add`, before the first `match`; never changed while it serves.

    `add` takes some 10 µs: a caller that must not block its loop adds in slices.
    """

    def __init__(self, routes: Iterable[tuple[Match, Route]] = ()) -> None:
        self._count = 0
        self._depth = 0  # the most segments of a filed prefix: a path is walked no deeper
        self._everything = _Shelf()
        self._exact: dict[bytes, _Shelf] = {}
        self._prefixes: dict[bytes, _Shelf] = {}
        for match, route in routes:
            self.add(match, route)

    def add(self, match: Match, route: Route) -> None:
        """File the next route of the document. The match has no mistakes; one in a regex raises re2.error."""
        rest = compile_rest(match)
        if match.path_regex is not None:
            test = path_test(match)
            rest = all_of([lambda request: test(normal_path(request.path)), rest])
        self._shelf_of(match).add((self._count, rest, route), match)
        self._count += 1

    def match(self, request: Request) -> Route | None:
        """The first route that takes the request, or None."""
        path = request.path if _PERCENT not in request.path else normal_path(request.path)
        shelf = self._exact.get(path)
        found = None if shelf is None else shelf.first(request, None)
        if self._depth:
            found = self._walk(path, request, found)
        # Last: what takes every path mostly stands last in the document, and then is not even asked.
        found = self._everything.first(request, found)
        return None if found is None else found[2]

    def _walk(self, path: bytes, request: Request, found: Entry | None) -> Entry | None:
        """Ask every prefix of the path that ends on a segment border: /a/b/ asks /a, /a/, /a/b, /a/b/."""
        prefixes = self._prefixes
        end = 0
        for _ in range(self._depth):
            end = path.find(b"/", end + 1)
            shelf = prefixes.get(path if end < 0 else path[:end])
            if shelf is not None:
                found = shelf.first(request, found)
            if end < 0:
                break
            shelf = prefixes.get(path[: end + 1])
            if shelf is not None:
                found = shelf.first(request, found)
        return found

    def _shelf_of(self, match: Match) -> _Shelf:
        if match.path is not None:
            return self._exact.setdefault(normal_path(match.path.encode()), _Shelf())
        if match.path_regex is not None:
            prefix = shared_prefix(match.path_regex)
        else:
            prefix = normal_path((match.path_prefix or "/").encode())
        if prefix == b"/":
            return self._everything
        self._depth = max(self._depth, prefix.count(b"/") - prefix.endswith(b"/"))
        return self._prefixes.setdefault(prefix, _Shelf())


class _Shelf:
    """The routes that are filed under one path, in document order."""

    __slots__ = ("by_key", "plain")

    def __init__(self) -> None:
        self.plain: list[Entry] = []
        self.by_key: dict[_Key, tuple[Callable[[Request], bytes | None], dict[bytes | None, list[Entry]]]] = {}

    def add(self, entry: Entry, match: Match) -> None:
        key, values = _insisted(match)
        if key is None:
            self.plain.append(entry)
            return
        if key not in self.by_key:
            self.by_key[key] = (_reader(key), {})
        entries = self.by_key[key][1]
        for value in values:
            entries.setdefault(value, []).append(entry)

    def first(self, request: Request, found: Entry | None) -> Entry | None:
        """The first entry that matches, or `found` where that stands before it in the document."""
        found = _earliest(self.plain, request, found)
        for read, entries in self.by_key.values():
            value = read(request)
            if value in entries:
                found = _earliest(entries[value], request, found)
        return found


def _earliest(entries: list[Entry], request: Request, found: Entry | None) -> Entry | None:
    for entry in entries:
        if found is not None and entry[0] > found[0]:
            return found
        if entry[1](request):
            return entry
    return found


def _insisted(match: Match) -> tuple[_Key | None, list[bytes]]:
    """A subject of which the match takes a few literal values only, and those values."""
    hosts = {host.lower().removesuffix(".") for host in match.hosts}
    if hosts and not any(host.startswith("*") for host in hosts):
        return ("host", b""), [host.encode() for host in sorted(hosts)]
    for name, given in match.headers.items():
        test = value_match(given)
        values = test.one_of if test.equals is None else (test.equals,)
        if values and not test.ignore_case:
            return ("header", name.lower().encode()), [value.encode() for value in dict.fromkeys(values)]
    return None, []


def _reader(key: _Key) -> Callable[[Request], bytes | None]:
    kind, name = key
    if kind == "host":
        return lambda request: host_of(request.authority)
    return lambda request: request.get(name)


def shared_prefix(pattern: str) -> bytes:
    """The longest b"/…/" with which every full match of a path regex begins; b"/" where there is none.

    RE2 bounds the strings that match from below and above, both included. All of them begin with a prefix when the
    lower bound does and the upper bound is no larger than the prefix's successor, which itself must not match.
    """
    regex = compile_regex(pattern)
    try:
        least, most = regex.possiblematchrange(256)
    except re2.error:
        return b"/"
    end = len(least)
    while (end := least.rfind(b"/", 0, end)) > 0:
        prefix: bytes = least[: end + 1]
        successor = least[:end] + bytes([_BORDER + 1])
        if least.startswith(b"/") and (most < successor or (most == successor and not regex.fullmatch(successor))):
            return prefix
    return b"/"
