"""What spans say of a configuration that records only name: routes as templates, endpoints as URLs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ....config.addresses import parse_endpoint
from ....config.schema import Document
from ....config.snapshot import PathRewrite
from ....filters.matching import Match
from ....filters.mirror import MirrorConfig
from ....filters.rewriting import PathRewriting
from ....filters.subjects import normal_path


class Address(NamedTuple):
    """Where an endpoint listens: a host, or the path of a Unix socket without a port."""

    host: str
    port: int | None
    url: str  # up to its path; "" for a Unix socket


class Places:
    """Immutable after construction, so that another thread may read it."""

    def __init__(self, document: Document) -> None:
        self._templates = {route.name: template for route in document.routes if (template := _template(route.match))}
        self._own = {
            name: _rewrite(backend.rewrite.path)
            for name, backend in document.backends.items()
            if backend.rewrite is not None and backend.rewrite.path is not None
        }
        self._rehearsed = {
            (route.name, shadow.backend): _rewrite(shadow.rewrite.path)
            for route in document.routes
            for config in route.filters
            if isinstance(config, MirrorConfig)
            for shadow in config.to
            if shadow.rewrite is not None
        }
        self._addresses = dict(_addresses(document))

    def template(self, route: str) -> str | None:
        """For http.route: the path that the route matches, `/*` standing for what may follow; None: by no path."""
        return self._templates.get(route)

    def address(self, endpoint: str) -> Address | None:
        """By `Endpoint.label`; None for one that the configuration has no more."""
        return self._addresses.get(endpoint)

    def path(self, route: str, backend: str, is_shadow: bool, path: str) -> str:
        """The path as this backend is asked for it."""
        steps = (self._own.get(backend), self._rehearsed.get((route, backend)) if is_shadow else None)
        for each in steps:
            if each is not None:
                path = each.rewritten(path.encode()).decode(errors="replace")
        return path


def _rewrite(part: PathRewriting) -> PathRewrite:
    return PathRewrite(normal_path(part.prefix.encode()), part.to.encode())


def _template(match: Match) -> str | None:
    if match.path is not None:
        return match.path
    if match.path_prefix is not None:
        return f"{match.path_prefix.removesuffix('/')}/*{match.path_suffix or ''}"
    return match.path_regex or (f"*{match.path_suffix}" if match.path_suffix is not None else None)


def _addresses(document: Document) -> Iterator[tuple[str, Address]]:
    for backend in document.backends.values():
        for text in backend.endpoints:
            endpoint = parse_endpoint(text)
            if endpoint.unix is not None:
                yield endpoint.label, Address(endpoint.unix, None, "")
            else:
                url = f"{'https' if endpoint.tls is not None else 'http'}://{endpoint.label}"
                yield endpoint.label, Address(endpoint.host, endpoint.port, url)
