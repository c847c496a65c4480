"""What types cannot say about a document: names, references, order, addresses, files. Every mistake, not the first.

Each function yields (path, what is wrong and what is allowed). Only `parts.py` looks outside the document, at files and
the environment.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from ..filters.api import FilterConfig
from ..filters.dedup import DedupConfig
from ..filters.mirror import MirrorConfig
from ..filters.split import SplitConfig
from . import parts
from .binds import Bind, clash, parse_bind
from .paths import Found, Path, path_text
from .schema import Document, RoutePart
from .wording import did_you_mean, listed, quoted

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,62}")  # noqa: TID251 - a constant pattern
_ONCE: dict[type[FilterConfig], tuple[str, str]] = {
    SplitConfig: ("split", "all arms in one split"),
    MirrorConfig: ("mirror", "all shadows in one mirror"),
}
_NAME_ALLOWED = "letters, digits, . _ and -, at most 63, the first no . or -"


def check(document: Document, base: str) -> Found:
    """Every mistake of meaning. Files are looked for relative to `base`."""
    yield from _names("listeners", document.listeners)
    yield from _names("backends", document.backends)
    for name, listener in document.listeners.items():
        yield from _below(("listeners", name), parts.listener(listener))
    for name, backend in document.backends.items():
        yield from _below(("backends", name), parts.backend(backend, base))
    yield from _routes(document)
    yield from _below(("admin",), parts.admin(document.admin))
    yield from _binds(document)
    yield from parts.stores(document, base)
    if document.telemetry is not None:
        yield from _below(("telemetry",), parts.telemetry(document.telemetry, base))
    yield from _egress(document)
    yield from parts.secrets(document, base)


def _below(path: Path, found: Iterable[tuple[Path, str]]) -> Found:
    for inner, text in found:
        yield (*path, *inner), text


def _names(part: str, names: Iterable[str]) -> Found:
    count = 0
    for count, name in enumerate(names, 1):  # noqa: B007 - the last count is used
        if not _NAME.fullmatch(name):
            yield (part, name), f"is no name; allowed: {_NAME_ALLOWED}"
    if not count:
        yield (part,), "is empty; at least one is needed"


def _routes(document: Document) -> Found:
    if not document.routes:
        yield ("routes",), "is empty; at least one is needed"
    first: dict[str, int] = {}
    for at, route in enumerate(document.routes):
        path: Path = ("routes", at)
        if not _NAME.fullmatch(route.name):
            yield (*path, "name"), f"{quoted(route.name)} is no name; allowed: {_NAME_ALLOWED}"
        elif (earlier := first.setdefault(route.name, at)) != at:
            yield (*path, "name"), f"{route.name} is the name of routes[{earlier}] too; names differ"
        yield from _below((*path, "match"), route.match.mistakes())
        yield from _below((*path, "backend"), _reference(route.backend, document))
        if route.filters:
            yield from _below((*path, "filters"), _chain(route, document))


def _chain(route: RoutePart, document: Document) -> Found:
    last_dedup = max((at for at, each in enumerate(route.filters) if isinstance(each, DedupConfig)), default=-1)
    first: dict[type[FilterConfig], int] = {}
    for at, each in enumerate(route.filters):
        yield from _below((at,), each.mistakes())
        yield from _below((at,), _references(each, document))
        earlier = first.setdefault(type(each), at)
        if earlier != at and type(each) in _ONCE:
            kind, instead = _ONCE[type(each)]
            yield (at,), f"{kind} is filters[{earlier}] already, and a chain has one; allowed: {instead}"
        if at < last_dedup and isinstance(each, MirrorConfig | SplitConfig):
            kind = "mirror" if isinstance(each, MirrorConfig) else "split"
            yield (at,), f"{kind} stands ahead of dedup, and a replay must reach neither; allowed: dedup first"


def _references(config: FilterConfig, document: Document) -> Found:
    for path, name in config.references():
        yield from _below(path, _reference(name, document))


def _reference(name: str, document: Document) -> Found:
    """Nothing is said where there are no backends at all: that is a mistake of its own."""
    if name not in document.backends and document.backends:
        hint = did_you_mean(name, document.backends)
        yield (), f"{quoted(name)} is no backend{hint}; allowed: {listed(document.backends)}"


def _binds(document: Document) -> Found:
    """Syntax, and addresses of which the second could not be bound."""
    taken: list[tuple[Path, Bind]] = []
    for path, text in _bind_texts(document):
        try:
            bind = parse_bind(text)
        except ValueError as error:
            yield path, f"{quoted(text)} {error}"
            continue
        for other, earlier in taken:
            if clash(earlier, bind):
                yield path, f"{bind.label} is taken by {path_text(other)} ({earlier.label}); each needs its own"
                break
        taken.append((path, bind))


def _bind_texts(document: Document) -> Iterator[tuple[Path, str]]:
    for name, listener in document.listeners.items():
        yield ("listeners", name, "bind"), listener.bind
    yield ("admin", "bind"), document.admin.bind
    if document.admin.probes is not None:
        yield ("admin", "probes", "bind"), document.admin.probes.bind
    if document.egress is not None:
        for name, egress in document.egress.listeners.items():
            yield ("egress", "listeners", name, "bind"), egress.bind


def _egress(document: Document) -> Found:
    if document.egress is None:
        return
    yield from _below(("egress",), _names("listeners", document.egress.listeners))
    for name, listener in document.egress.listeners.items():
        path: Path = ("egress", "listeners", name)
        yield from _below((*path, "backend"), _reference(listener.backend, document))
    for at, route in enumerate(document.egress.routes):
        yield from _below(("egress", "routes", at, "match"), route.match.mistakes())
        yield from _below(("egress", "routes", at, "upstream"), parts.url(route.upstream))
