"""What a valid document should still tell its operator: what has no effect yet, what can never match, what is open."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from ipaddress import ip_address
from typing import Any

import msgspec

from ..filters.matching import Match
from . import own_secret
from .binds import parse_bind
from .chain_warnings import chain_warnings
from .paths import Found, Path
from .schema import Document, RoutePart
from .telemetry_warnings import telemetry_warnings

NOT_ACTIVE: tuple[Path, ...] = (
    ("stores", "ledger"),
    ("egress",),
)
"""Keys that are checked and have no effect in this version. A filter says so itself (`FilterConfig.active`)."""

_TEXT = "not active yet: it is checked, and has no effect in this version"
_EVERYTHING = Match()


def warnings(document: Document, raw: Mapping[str, Any], today: date, base: str, environ: Mapping[str, str]) -> Found:
    """Every warning about a document without mistakes; `raw` is what was written, without defaults.

    Files are looked for relative to `base`; `environ` is what the program would be started with.
    """
    for path in NOT_ACTIVE:
        if _is_written(raw, path):
            yield path, _TEXT
    for at, route in enumerate(document.routes):
        for position, config in enumerate(route.filters):
            path = ("routes", at, "filters", position)
            if not config.active:
                yield path, f"{config.__struct_config__.tag}: {_TEXT}"
    yield from chain_warnings(document, today)
    yield from _never_asked(document.routes)
    yield from _unused(document)
    yield from _strangers(document)
    yield from _open_admin(document)
    yield from _open_secret(document, base)
    yield from telemetry_warnings(document, raw, base, environ)


def _is_written(raw: Mapping[str, Any], path: Path) -> bool:
    value: Any = raw
    for step in path:
        if not isinstance(value, Mapping) or step not in value:
            return False
        value = value[step]
    return value is not None


def _never_asked(routes: tuple[RoutePart, ...]) -> Found:
    """Routes all of whose requests an earlier route takes: one that asks for nothing but a prefix of their path."""
    takers: dict[str, int] = {}
    for at, route in enumerate(routes):
        match = route.match
        path = match.path if match.path is not None else match.path_prefix
        if path is None:
            path = "/"
        taker = next((takers[prefix] for prefix in _prefixes(path) if prefix in takers), None)
        if taker is not None:
            yield (
                ("routes", at, "match"),
                f"never matches: routes[{taker}] ({routes[taker].name}) takes all of its requests before it",
            )
        elif match.path_prefix is not None and msgspec.structs.replace(match, path_prefix=None) == _EVERYTHING:
            takers.setdefault(match.path_prefix, at)


def _prefixes(path: str) -> Iterator[str]:
    """The prefixes on segment borders that take everything under a path: / and, for /a/b, /a /a/ /a/b."""
    end = 0
    while (end := path.find("/", end)) >= 0:
        if end:
            yield path[:end]
        end += 1
        yield path[:end]
    yield path


def _unused(document: Document) -> Found:
    """Backends that nothing names: not asked, not mirrored to, and yet somebody wrote them down."""
    named = {route.backend for route in document.routes}
    for route in document.routes:
        named |= {name for config in route.filters for _, name in config.references()}
    if document.egress is not None:
        named |= {listener.backend for listener in document.egress.listeners.values()}
    for name in document.backends:
        if name not in named:
            yield ("backends", name), "is never asked: no route, filter or egress listener names it"


def _strangers(document: Document) -> Found:
    """Peers that are trusted where none of them can call."""
    for name, listener in document.listeners.items():
        if "unix" in listener.trust and parse_bind(listener.bind).kind == "tcp":
            at = listener.trust.index("unix")
            yield ("listeners", name, "trust", at), f"has no effect: {listener.bind} is no unix socket"


def _open_admin(document: Document) -> Found:
    bind = parse_bind(document.admin.bind)
    if bind.kind != "tcp" or document.admin.token is not None or bind.host == "localhost":
        return
    try:
        is_loopback = ip_address(bind.host).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback:
        yield (
            ("admin", "bind"),
            f"{bind.label} may be reached from other machines, and anyone may POST; give admin.token",
        )


def _open_secret(document: Document, base: str) -> Found:
    ref = own_secret.kept_at(document)
    mode = own_secret.others_may_read(ref, base) if ref is not None else None
    if ref is not None and mode is not None:
        path: Path = ("secret",) if document.secret is not None else ("stores", "ledger")
        yield path, f"the file {ref.file} is open to others than its owner (mode {mode}); chmod 600 it"
