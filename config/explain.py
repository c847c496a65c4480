"""What would become of a request, and why: the route that takes it, and why each one before it does not.

Filters whose behaviour comes later are named, not simulated.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from ..filters.api import Request
from ..filters.matching import Match, ValueMatch
from ..filters.predicates import compile_rest, path_test, value_match
from ..filters.subjects import cookies, normal_path, parameters
from .snapshot import Backend, Snapshot

_TOLD = 20
"""So many passed-over routes are told in words; the JSON has all."""


class PassedOver(msgspec.Struct, frozen=True):
    """A route that stands earlier in the document and does not match."""

    route: str
    why: tuple[str, ...]


class Explanation(msgspec.Struct, frozen=True, omit_defaults=False):
    """The decision about one request. `route` is None where none matches: the client would read a 404."""

    method: str
    target: str
    host: str
    route: str | None
    backend: str | None
    version: str | None
    endpoints: tuple[str, ...]
    target_sent: str | None  # after the backend's rewrite.path
    filters: tuple[str, ...]  # entered, in order
    not_active: tuple[str, ...]  # filters of the route that have no effect in this version
    passed_over: tuple[PassedOver, ...]
    config: str  # the hash of the configuration

    def words(self) -> str:
        """For a person, several lines."""
        return "\n".join(_words(self))


def explain(snapshot: Snapshot, method: str, target: str, headers: Iterable[tuple[str, str]] = ()) -> Explanation:
    """Decide as the data plane would. The target is a path with its query, or a URL.

    Raises ValueError where no request could look like this.
    """
    request = _request(method, target, headers)
    found = snapshot.match(request)
    passed_over = []
    for route in snapshot.routes:
        if route is found:
            break
        passed_over.append(PassedOver(route.name, tuple(why_not(route.takes or Match(), request))))
    backend = found.backend if found is not None else None
    return Explanation(
        method=method,
        target=request.target.decode(),
        host=request.authority.decode(),
        route=found.name if found is not None else None,
        backend=backend.name if backend is not None else None,
        version=backend.version if backend is not None else None,
        endpoints=tuple(each.label for each in backend.endpoints) if backend is not None else (),
        target_sent=_target_sent(backend, request) if backend is not None else None,
        filters=found.chain.names if found is not None else (),
        not_active=found.not_active if found is not None else (),
        passed_over=tuple(passed_over),
        config=snapshot.hash,
    )


def why_not(match: Match, request: Request) -> Iterator[str]:
    """Each condition of a match that the request does not meet, with what was found instead."""
    if not path_test(match)(normal_path(request.path)):
        yield f"path {request.path.decode()} is {_path_words(match)}"
    if match.methods and not _holds(Match(methods=match.methods), request):
        yield f"method {request.method.decode()} is not {' or '.join(match.methods)}"
    if match.hosts and not _holds(Match(hosts=match.hosts), request):
        yield f"host {request.authority.decode() or '(none)'} is not {' or '.join(match.hosts)}"
    for name, test in match.headers.items():
        if not _holds(Match(headers={name: test}), request):
            value = request.get(name.lower().encode())
            yield _value_words("header", name, test, [] if value is None else [value])
    for name, test in match.cookies.items():
        if not _holds(Match(cookies={name: test}), request):
            yield _value_words("cookie", name, test, cookies(request.get(b"cookie") or b"", name.encode()))
    for name, test in match.query.items():
        if not _holds(Match(query={name: test}), request):
            yield _value_words("query", name, test, parameters(request.query, name.encode()))
    if match.when is not None and not _holds(Match(when=match.when), request):
        yield f"when {_shown(match.when)} does not hold"


def _request(method: str, target: str, headers: Iterable[tuple[str, str]]) -> Request:
    lines = [(name.strip().lower().encode(), value.strip().encode()) for name, value in headers]
    authority = next((value for name, value in lines if name == b"host"), b"")
    for scheme in ("http://", "https://"):
        if target.startswith(scheme):
            host, slash, rest = target.removeprefix(scheme).partition("/")
            authority, target = host.encode(), slash + rest or "/"
    if not target.startswith("/") and (method, target) != ("OPTIONS", "*"):
        raise ValueError(f"{target} is no target; allowed: a path that begins with /, or a URL")
    return Request(method.encode(), target.encode(), authority, lines)


def _holds(match: Match, request: Request) -> bool:
    return compile_rest(match)(request)


def _path_words(match: Match) -> str:
    if match.path is not None:
        return f"not {match.path}"
    if match.path_prefix is not None:
        return f"not under {match.path_prefix}"
    return f"no match of {match.path_regex}"


def _value_words(subject: str, name: str, test: str | ValueMatch, values: list[bytes]) -> str:
    found = " and ".join(json.dumps(value.decode("utf-8", "replace"), ensure_ascii=False) for value in values)
    return f"{subject} {name} is {found or 'absent'}, wanted {_shown(value_match(test))}"


def _shown(condition: Any) -> str:
    return json.dumps(msgspec.to_builtins(condition), ensure_ascii=False)


def _target_sent(backend: Backend, request: Request) -> str:
    """The same as the data plane's rewriting: a prefix on segment borders."""
    rewrite = backend.path_rewrite
    path = request.path
    if rewrite is not None and (path == rewrite.prefix or path.startswith(rewrite.prefix.rstrip(b"/") + b"/")):
        path = rewrite.to + path[len(rewrite.prefix) :]
    return path.decode() + (f"?{request.query.decode()}" if b"?" in request.target else "")


def _words(explanation: Explanation) -> Iterator[str]:
    yield f"{explanation.method} {explanation.target}" + (f"  host {explanation.host}" if explanation.host else "")
    for passed in explanation.passed_over[:_TOLD]:
        yield f"  not {passed.route}: {'; '.join(passed.why)}"
    if len(explanation.passed_over) > _TOLD:
        yield f"  and {len(explanation.passed_over) - _TOLD} more routes do not match (--json has them all)"
    if explanation.route is None:
        yield "  no route matches: the client reads 404, no_route"
        return
    yield f"  route {explanation.route}: the first that matches"
    if explanation.filters:
        yield f"  filters {', '.join(explanation.filters)}"
    if explanation.not_active:
        yield f"  not active yet, without effect: {', '.join(explanation.not_active)}"
    version = f" version {explanation.version}" if explanation.version else ""
    yield f"  backend {explanation.backend}{version}: {', '.join(explanation.endpoints)}"
    if explanation.target_sent != explanation.target:
        yield f"  sent as {explanation.target_sent}"
