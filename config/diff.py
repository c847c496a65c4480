"""What changes from one document to another, as an operator asks: who answers whom, and who moves.

Pure. Routes, rules, arms and shadows are compared by name; where order decides, what moved is told.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from ..filters.api import FilterConfig
from ..filters.flags import FlagsConfig
from .diff_chain import filter_changes
from .diff_values import in_order, plain, values
from .difference import Change, changed
from .schema import Document, RoutePart

Changes = Iterator[Change]
Named = tuple[str, ...]

_AT_START = "takes effect at the next start"


def diff(old: Document, new: Document) -> list[Change]:
    """Every change, in the order of the document."""
    found: list[Change] = []
    for name in (
        "listeners",
        "backends",
        "routes",
        "admin",
        "workers",
        "drain",
        "secret",
        "stores",
        "telemetry",
        "egress",
    ):
        before, after = getattr(old, name), getattr(new, name)
        if before == after:
            continue
        if name == "routes":
            found += _routes(before, after)
        elif name in ("admin", "workers"):
            found += [_noted(each, _AT_START) for each in values((name,), before, after)]
        elif name == "secret":
            note = "another secret: clients with an issued cookie are drawn anew"
            found.append(changed((name,), plain(before), plain(after), note, warning=True))
        else:
            found += values((name,), before, after)
    return found


def _noted(change: Change, note: str) -> Change:
    return msgspec.structs.replace(change, notes=(*change.notes, note))


def _routes(old: Sequence[RoutePart], new: Sequence[RoutePart]) -> Changes:
    before, after = {each.name: each for each in old}, {each.name: each for each in new}
    rule = "the first route that matches takes a request"
    return in_order(("routes",), before, after, rule, _route, lambda route: plain(route.match))


def _route(path: Named, old: RoutePart, new: RoutePart) -> Changes:
    yield from values((*path, "match"), old.match, new.match)
    if old.backend != new.backend:
        drawn = [
            rule.flag
            for config in new.filters
            if isinstance(config, FlagsConfig)
            for rule in config.rules
            if 0 < rule.percent < 100
        ]
        notes = [f"it is the other side of the draw of {', '.join(drawn)}: others are in now"] if drawn else []
        yield changed((*path, "backend"), old.backend, new.backend, *notes, warning=bool(drawn))
    yield from values((*path, "timeout"), old.timeout, new.timeout)
    if old.filters != new.filters:
        yield from in_order(path, _named(old.filters), _named(new.filters), "filters act in order", filter_changes)


def _named(filters: Sequence[FilterConfig]) -> dict[str, FilterConfig]:
    """A chain by the types of its filters, from the second of a type on with a number."""
    named: dict[str, FilterConfig] = {}
    for config in filters:
        tag = str(config.__struct_config__.tag)
        count = sum(type(each) is type(config) for each in named.values())
        named[f"{tag}#{count + 1}" if count else tag] = config
    return named
