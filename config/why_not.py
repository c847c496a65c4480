"""Why a route does not take a request."""

from __future__ import annotations

from collections.abc import Iterator

from ..filters.api import Request
from ..filters.matching import Match
from ..filters.predicates import compile_rest, path_test, suffix_test
from ..filters.subjects import cookies, normal_path, parameters
from ..filters.telling import path_words, unmet, value_words


def why_not(match: Match, request: Request) -> Iterator[str]:
    """Each condition of a match that the request does not meet, with what was found instead."""
    path = normal_path(request.path)
    if not path_test(match)(path):
        yield f"path {request.path.decode()} is {path_words(match)}"
    elif match.path_suffix is not None and not suffix_test(match.path_suffix)(path):
        yield f"path {request.path.decode()} is {path_words(Match(path_suffix=match.path_suffix))}"
    if match.methods and not _holds(Match(methods=match.methods), request):
        yield f"method {request.method.decode()} is not {' or '.join(match.methods)}"
    if match.hosts and not _holds(Match(hosts=match.hosts), request):
        yield f"host {request.authority.decode() or '(none)'} is not {' or '.join(match.hosts)}"
    for name, test in match.headers.items():
        if not _holds(Match(headers={name: test}), request):
            value = request.get(name.lower().encode())
            yield value_words("header", name, test, [] if value is None else [value])
    for name, test in match.cookies.items():
        if not _holds(Match(cookies={name: test}), request):
            yield value_words("cookie", name, test, cookies(request.get(b"cookie") or b"", name.encode()))
    for name, test in match.query.items():
        if not _holds(Match(query={name: test}), request):
            yield value_words("query", name, test, parameters(request.query, name.encode()))
    if match.when is not None:
        yield from unmet(match.when, request)


def _holds(match: Match, request: Request) -> bool:
    return compile_rest(match)(request)
