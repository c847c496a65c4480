"""What spans say of a configuration that what is told only names: routes as templates, endpoints as URLs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ...config.snapshot import Endpoint, PathRewrite, Snapshot
from ...filters.matching import Match


class Address(NamedTuple):
    """Where an endpoint listens: a host, or the path of a Unix socket without a port."""

    host: str
    port: int | None
    url: str  # up to its path; "" for a Unix socket


class Places:
    """Those of one snapshot. Immutable after construction."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._templates = {each.name: _template(each.takes) for each in snapshot.routes if each.takes is not None}
        self._own = {name: each.path_rewrite for name, each in snapshot.backends.items()}
        self._rehearsed = {
            (route.name, name): shadow.path_rewrite
            for route in snapshot.routes
            if route.mirror is not None
            for name, shadow in route.mirror.shadows.items()
        }
        self._addresses = dict(_addresses(snapshot))

    def template(self, route: str) -> str | None:
        """For http.route: the path that the route matches, `/*` standing for what may follow; None: by no path."""
        return self._templates.get(route)

    def address(self, endpoint: str) -> Address | None:
        """By `Endpoint.label`; None for one that the configuration has no more."""
        return self._addresses.get(endpoint)

    def rewrites(self, route: str, backend: str, is_shadow: bool) -> tuple[PathRewrite, ...]:
        """How the path is changed for this backend, one after the other."""
        steps = (self._own.get(backend), self._rehearsed.get((route, backend)) if is_shadow else None)
        return tuple(each for each in steps if each is not None)


def _template(match: Match) -> str | None:
    if match.path is not None:
        return match.path
    if match.path_prefix is not None:
        return f"{match.path_prefix.removesuffix('/')}/*{match.path_suffix or ''}"
    return match.path_regex or (f"*{match.path_suffix}" if match.path_suffix is not None else None)


def _addresses(snapshot: Snapshot) -> Iterator[tuple[str, Address]]:
    for backend in snapshot.backends.values():
        for endpoint in backend.endpoints:
            yield endpoint.label, _address(endpoint)


def _address(endpoint: Endpoint) -> Address:
    if endpoint.unix is not None:
        return Address(endpoint.unix, None, "")
    scheme = "https" if endpoint.tls is not None else "http"
    return Address(endpoint.host, endpoint.port, f"{scheme}://{endpoint.label}")
