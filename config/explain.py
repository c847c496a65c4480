"""What would become of a request, and why: its route, every filter of its chain, who answers and who listens.

Pure: each filter decides by its own `explain`, as it would by `on_request`. What hangs on the moment (budgets,
breakers, connections) is not foretold.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..filters.api import Exchange, Failure, Filter, Headers, Request
from ..filters.matching import Match
from .explanation import Call, Copy, Explanation, PassedOver, Refused, Step
from .snapshot import Backend, Route, Shadow, Snapshot, target_of
from .why_not import why_not


def explain(
    snapshot: Snapshot, request: Request, *, client: str = "127.0.0.1", trusted: bool = False, id: bytes = b"-",
    upgrades: bool = False,
) -> Explanation:  # fmt: skip
    """Decide about a request whose head was read and found good. Its headers change as filters change them."""
    found = snapshot.match(request)
    passed_over = []
    for route in snapshot.routes:
        if route is found:
            break
        passed_over.append(PassedOver(route.name, tuple(why_not(route.takes or Match(), request))))
    facts = _asked(request, client, trusted, id, snapshot.hash) | {"passed_over": tuple(passed_over)}
    if found is None:
        return Explanation(**facts, refused=Refused("", "no_route", "no route matches this request"))
    exchange = Exchange(request, found.name, found.backend.name, id, client, trusted)
    exchange.upgrades = upgrades
    return Explanation(**facts, **_decided(snapshot, found, exchange))


def refused(request: Request, failure: Failure, *, client: str, trusted: bool, id: bytes, hash: str) -> Explanation:
    """Of a request that is refused before any route is asked."""
    facts = _asked(request, client, trusted, id, hash)
    return Explanation(**facts, refused=Refused("", failure.reason, failure.detail, failure.status))


def _asked(request: Request, client: str, trusted: bool, id: bytes, hash: str) -> dict[str, Any]:
    return {
        "method": _text(request.method),
        "target": _text(request.target),
        "host": _text(request.authority),
        "client": client,
        "trusted": trusted,
        "request_id": _text(id),
        "config": hash,
    }


def _decided(snapshot: Snapshot, route: Route, exchange: Exchange) -> dict[str, Any]:
    before = exchange.request.headers
    steps, failure = _walk(route, exchange)
    facts: dict[str, Any] = {
        "route": route.name,
        "steps": tuple(steps),
        "not_active": route.not_active,
        "flags": tuple(exchange.flags or ()),
        "refused": failure,
    }
    if failure is not None:
        return facts
    backend = snapshot.backends[exchange.backend]
    changed, removed = _changes(before, exchange.request.headers)
    shadows = route.mirror.shadows if route.mirror is not None else {}
    return facts | {
        "experiment": exchange.experiment or None,
        "arm": exchange.arm or None,
        "call": _call(exchange.request, backend),
        "set_headers": changed,
        "removed_headers": removed,
        "copies": tuple(_copy(shadows[name], exchange) for name in exchange.copies or () if name in shadows),
        "notes": tuple(_notes(backend, exchange.request)),
    }


def _walk(route: Route, exchange: Exchange) -> tuple[list[Step], Refused | None]:
    """Down the chain, as the pipeline goes: a filter that a flag skips is not entered, one that refuses ends it."""
    steps: list[Step] = []
    skipped_by: dict[str, str] = {}
    for name, each in zip(route.chain.names, route.chain.filters, strict=True):
        if exchange.skips is not None and name in exchange.skips:
            steps.append(Step(name, skipped_by=skipped_by.get(name, "")))
            continue
        try:
            told = each.explain(exchange)
        except Failure as failure:
            return steps, Refused(name, failure.reason, failure.detail, failure.status)
        if told is None:
            decides = type(each).on_request is not Filter.on_request
            told_words = (f"{name}: does not tell what it decides",) if decides else ()
            steps.append(Step(name, told_words))
            continue
        steps.append(Step(name, told.words, told.facts))
        for rule in told.facts.get("rules", ()):
            for skipped in rule.get("skip", ()):
                skipped_by.setdefault(skipped, rule["flag"])
    return steps, None


def _changes(before: Headers, after: Headers) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names of fields whose lines were added or changed, and of those that are gone."""
    former, now = _lines(before), _lines(after)
    changed = (name for name, lines in now.items() if former.get(name) != lines)
    return tuple(map(_text, changed)), tuple(_text(name) for name in former if name not in now)


def _lines(headers: Headers) -> dict[bytes, list[bytes]]:
    lines: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        lines.setdefault(name, []).append(value)
    return lines


def _copy(shadow: Shadow, exchange: Exchange) -> Copy:
    request = exchange.request
    return Copy(
        call=_call(request, shadow.backend, shadow),
        refused=_refusal(shadow, exchange),
        set_headers=tuple(_text(name) for name, _ in shadow.set),
        removed_headers=tuple(_text(name) for name in dict(request.headers) if name in shadow.removed),
    )


def _refusal(shadow: Shadow, exchange: Exchange) -> str | None:
    """Why no copy is made, of what does not hang on the moment; in the data plane's order."""
    if shadow.backend.name == exchange.backend and not shadow.calibration:
        return "same_backend"
    if exchange.upgrades:
        return "not_mirrorable"
    if exchange.request.length is not None and exchange.request.length > shadow.max_body:
        return "body_too_large"
    return None


def _call(request: Request, backend: Backend, shadow: Shadow | None = None) -> Call:
    target = _text(target_of(request, backend, shadow))
    return Call(backend.name, backend.version, tuple(each.label for each in backend.endpoints), target)


def _notes(backend: Backend, request: Request) -> Iterable[str]:
    if backend.json_rewrite is not None:
        yield f"fields of a JSON body are replaced for {backend.name}: {', '.join(backend.json_rewrite)}"
        if request.length is not None and request.length > backend.json_rewrite_limit:
            yield f"the body is larger than rewrite.max_body of {backend.name}: the client reads 413, body_too_large"


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
