"""A `Document` to the `Snapshot` that a worker serves by: built whole, or not at all.

Workers import this, and so it knows no YAML. Secrets are read here, endpoints parsed, filters built, limits divided.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal, cast

from ..filters import FILTERS
from ..filters.api import Filter, FilterConfig, Services
from ..filters.fields import lines
from ..filters.mirror import CREDENTIALS, MirrorConfig
from ..filters.mirror import Shadow as ShadowPart
from ..filters.subjects import normal_path
from . import secrets
from .addresses import parse_endpoint, parse_network
from .collector import paused
from .compile_telemetry import flags, telemetry
from .routes import Router
from .schema import BackendPart, Document, ListenerPart, RewritePart, RoutePart, TlsPart, digest
from .snapshot import Backend, Chain, Listener, Mirror, PathRewrite, Route, Shadow, Snapshot, Tls

_ROUTES_AT_ONCE = 100
"""What takes some 2 ms."""


def compile_snapshot(document: Document, services: Services, *, version: int, workers: int, base: str) -> Snapshot:
    """Compile a document that has no mistakes, in one go; see `compiling`."""
    with paused():
        steps = compiling(document, services, version=version, workers=workers, base=base)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                snapshot: Snapshot = end.value
                return snapshot


def compiling(
    document: Document, services: Services, *, version: int, workers: int, base: str
) -> Generator[None, None, Snapshot]:
    """Compile a document that has no mistakes, pausing every few milliseconds for the loop that serves traffic.

    `workers` share every limit, each getting at least 1; paths are relative to `base`. Raises ValueError, with no
    secret in its text, where the world has changed since the document was checked: a file or a variable is gone.
    """
    backends = {name: _backend(name, part, workers, base) for name, part in document.backends.items()}
    empty = Chain()
    router = Router()
    routes = []
    asked: set[str] = set()
    for count, part in enumerate(document.routes):
        if count % _ROUTES_AT_ONCE == 0:
            yield
        chain = _chain(part.filters, services, base) if part.filters else empty
        idle = tuple(_type_name(each) for each in part.filters if FILTERS[type(each)] is None)
        mirror = _mirror(part.filters, backends, workers, base)
        rules = flags(part.filters)
        route = Route(part.name, backends[part.backend], chain, float(part.timeout), mirror, part.match, idle, rules)
        router.add(part.match, route)
        routes.append(route)
        asked.update(_asked(part))
    return Snapshot(
        hash=digest(document),
        version=version,
        listeners={name: _listener(name, part, workers) for name, part in document.listeners.items()},
        backends=backends,
        routes=tuple(routes),
        match=router.match,
        drain_grace=float(document.drain.grace),
        workers=workers,
        telemetry=telemetry(document.telemetry, workers),
        only_shadows=frozenset(backends) - asked,
    )


def _asked(route: RoutePart) -> Iterator[str]:
    """Whatever may answer a request of this route: all that it names, save for copies."""
    yield route.backend
    for config in route.filters:
        if not isinstance(config, MirrorConfig):
            yield from (name for _, name in config.references())


def share(limit: int, workers: int) -> int:
    """One worker's part of a limit of the whole program: at least 1; 0 stays 0, which means none."""
    return max(1, limit // workers) if limit else 0


def copies_each(requests: int, workers: int, shadows: int) -> int:
    """How many copies for each shadow one worker may have in flight: at least 1, be the mirror's budget as it may."""
    return max(1, share(requests, workers) // shadows)


def _listener(name: str, part: ListenerPart, workers: int) -> Listener:
    return Listener(
        name=name,
        bind=part.bind,
        trust_unix="unix" in part.trust,
        trust=tuple(parse_network(each) for each in part.trust if each != "unix"),
        half_close=part.half_close,
        max_connections=share(part.max_connections, workers),
        head_timeout=float(part.head_timeout),
        body_timeout=float(part.body_timeout),
        idle_timeout=float(part.idle_timeout),
        max_head=int(part.max_head),
        max_fields=part.max_fields,
        max_target=int(part.max_target),
    )


def _backend(name: str, part: BackendPart, workers: int, base: str) -> Backend:
    tls = _tls(part.tls, base) if part.tls is not None else None
    rewrite = part.rewrite or RewritePart()
    return Backend(
        name=name,
        version=part.version,
        endpoints=tuple(parse_endpoint(each, tls) for each in part.endpoints),
        balance=part.balance,
        connect_timeout=float(part.connect_timeout),
        first_byte_timeout=float(part.first_byte_timeout),
        idle_timeout=float(part.idle_timeout),
        total_timeout=float(part.total_timeout),
        keep_alive=float(part.keep_alive),
        dns_refresh=float(part.dns_refresh),
        max_in_flight=share(part.max_in_flight, workers),
        max_connections=share(part.max_connections, workers),
        max_pending=share(part.max_pending, workers),
        host=_host(part.host),
        path_rewrite=PathRewrite(normal_path(rewrite.path.prefix.encode()), rewrite.path.to.encode())
        if rewrite.path
        else None,
        json_rewrite=rewrite.json,
        json_rewrite_limit=int(rewrite.max_body),
    )


def _tls(part: TlsPart, base: str) -> Tls:
    def path(written: str | None) -> str | None:
        return secrets.absolute(written, base) if written is not None else None

    return Tls(path(part.ca), part.server_name, path(part.certificate), path(part.key))


def _host(written: str) -> bytes | Literal["keep", "endpoint"]:
    if written in ("keep", "endpoint"):
        return cast(Literal["keep", "endpoint"], written)
    return written.encode()


def _chain(configs: Iterable[FilterConfig], services: Services, base: str) -> Chain:
    """The filters whose behaviour exists; `validate` and `run` name the others as not active yet."""
    built: list[tuple[str, Filter]] = []
    for config in configs:
        kind = FILTERS[type(config)]
        if kind is not None:
            built.append((_type_name(config), kind(secrets.resolved(config, base), services)))
    return Chain.of(built)


def _mirror(configs: Iterable[FilterConfig], backends: Mapping[str, Backend], workers: int, base: str) -> Mirror | None:
    """What the data plane must know of a chain's mirror; whom it copies for is the filter's own business."""
    for config in configs:
        if isinstance(config, MirrorConfig):
            part = cast(MirrorConfig, secrets.resolved(config, base))
            return Mirror(
                shadows={each.backend: _shadow(each, backends[each.backend]) for each in part.to},
                max_copies=copies_each(part.budget.requests, workers, len(part.to)),
                max_bytes=share(int(part.budget.bytes), workers),
                rate_per_s=(part.budget.rate or 0.0) / workers,
            )
    return None


def _shadow(part: ShadowPart, backend: Backend) -> Shadow:
    own: dict[str, Any] = {
        name: float(value)
        for name in ("connect_timeout", "first_byte_timeout", "idle_timeout", "total_timeout")
        if (value := getattr(part, name)) is not None
    }
    path = part.rewrite.path if part.rewrite is not None else None
    return Shadow(
        backend=replace(backend, **own),
        max_body=int(part.max_body),
        removed=CREDENTIALS | {name.lower().encode() for name in (*part.remove_headers, *part.set_headers)},
        set=tuple(lines(part.set_headers)),
        path_rewrite=PathRewrite(normal_path(path.prefix.encode()), path.to.encode()) if path is not None else None,
        finish=part.on_client_gone == "finish",
        calibration=part.calibration,
    )


def _type_name(config: FilterConfig) -> str:
    return str(config.__struct_config__.tag)
