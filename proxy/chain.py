"""What a chain does beside its hooks: failures are told by the name of their filter, completions reach all."""

from __future__ import annotations

import logging

from ..config.snapshot import Route
from ..filters.api import Exchange, Failure, Outcome

log = logging.getLogger(__name__)


def failure_of(error: Exception, route: Route, position: int, exchange: Exchange) -> Failure:
    """A refusal as it is; any other exception is the failure of the filter at this position, and is logged so.

    A position of -1 is before the first filter: the proxy itself.
    """
    if isinstance(error, Failure):
        return error
    name = route.chain.names[position] if position >= 0 else "proxy"
    log.error("route %s: filter %s failed: request %s", route.name, name, exchange.id.decode(), exc_info=error)
    return Failure("filter_failed", f"the filter {name} failed")


def complete(exchange: Exchange, route: Route, entered: int, skipped: int, outcome: Outcome) -> None:
    """Tell every filter that was entered: those before `entered` whose bit is not set in `skipped`.

    One that fails is logged, and the others still hear of it.
    """
    for position, hook in route.chain.complete:
        if position < entered and not skipped >> position & 1:
            try:
                hook(exchange, outcome)
            except Exception:
                name = route.chain.names[position]
                log.exception("route %s: filter %s failed in on_complete", route.name, name)


def skipped_from(exchange: Exchange, route: Route, position: int) -> int:
    """The filters from this position on that shall not be entered, a bit for each position."""
    skipped = 0
    skips = exchange.skips
    if skips is not None:
        for at, name in enumerate(route.chain.names):
            if at >= position and name in skips:
                skipped |= 1 << at
    return skipped
