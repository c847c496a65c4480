"""The compiled configuration: what a worker serves by. Immutable, built whole or not at all.

Everything here is a plain value. What must outlive a snapshot (connections, health, statistics) is owned elsewhere
and found by the values below: a pool by its `Endpoint`, statistics by route, backend and version names.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from ..filters.api import Exchange, Filter, Outcome, Request, Response
from ..filters.matching import Match
from ..filters.subjects import behind_prefix

RequestHook = Callable[[Exchange], Any]
ResponseHook = Callable[[Exchange, Response], Any]
CompleteHook = Callable[[Exchange, Outcome], None]


@dataclass(frozen=True)
class Tls:
    """How a connection to an `https` endpoint is verified. Paths are absolute."""

    ca: str | None = None  # PEM bundle; None: the system's
    server_name: str | None = None  # SNI and the name the certificate must carry; None: the endpoint's host
    certificate: str | None = None  # client certificate, PEM
    key: str | None = None  # its private key; None: in the certificate's file


@dataclass(frozen=True)
class Endpoint:
    """One address of a backend, hashable: it is the key under which connections stay warm across reloads."""

    host: str  # a name or an IP literal without brackets; "" for a unix socket
    port: int
    unix: str | None = None  # the socket's path
    tls: Tls | None = None

    @property
    def label(self) -> str:
        """How logs, metrics and status name it."""
        if self.unix is not None:
            return f"unix:{self.unix}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def authority(self) -> bytes:
        """The Host that `host: endpoint` sends; the default port of the scheme is left out."""
        if self.unix is not None:
            return b"localhost"
        host = f"[{self.host}]" if ":" in self.host else self.host
        default = 443 if self.tls else 80
        return host.encode() if self.port == default else f"{host}:{self.port}".encode()


@dataclass(frozen=True)
class PathRewrite:
    """A prefix on segment borders and what replaces it."""

    prefix: bytes
    to: bytes

    def rewritten(self, path: bytes) -> bytes:
        """The path with the prefix replaced; as it came where the prefix does not stand on a segment border."""
        rest = behind_prefix(path, self.prefix)
        return path if rest is None else (self.to + rest) or b"/"


@dataclass(frozen=True)
class Backend:
    """A named set of interchangeable endpoints: one model version. Times in seconds, 0 meaning none."""

    name: str
    version: str
    endpoints: tuple[Endpoint, ...]
    balance: Literal["least_request", "round_robin"] = "least_request"
    connect_timeout: float = 1.0
    first_byte_timeout: float = 120.0
    idle_timeout: float = 300.0
    total_timeout: float = 0.0
    keep_alive: float = 1.5
    dns_refresh: float = 5.0  # how often names of endpoints are resolved anew
    max_in_flight: int = 1024  # this worker's share, as all limits here
    max_connections: int = 0  # per endpoint; 0: as many as max_in_flight allows
    max_pending: int = 128  # requests that may wait for a connection when max_connections is reached
    host: bytes | Literal["keep", "endpoint"] = "keep"
    path_rewrite: PathRewrite | None = None
    json_rewrite: Mapping[str, Any] | None = None  # top-level fields of a JSON body and their new values
    json_rewrite_limit: int = 8 * 1024 * 1024  # the largest body that is held to be rewritten


@dataclass(frozen=True)
class Shadow:
    """A backend that hears copies of a route's requests, as the route's mirror wants it to."""

    backend: Backend  # with the copy's own timeouts
    max_body: int  # bytes; a larger body is not copied, and a copy may lag by so many
    removed: frozenset[bytes]  # lower-case names of fields that no copy carries
    set: tuple[tuple[bytes, bytes], ...]  # fields that copies carry instead of the client's
    path_rewrite: PathRewrite | None = None  # after the backend's own
    finish: bool = False  # whether a copy runs to its end when the client has left
    calibration: bool = False  # whether the backend may shadow itself


def target_of(request: Request, backend: Backend, shadow: Shadow | None = None) -> bytes:
    """The target in origin-form, as the backend wants it; of a copy, then as the mirror does."""
    own, further = backend.path_rewrite, shadow.path_rewrite if shadow is not None else None
    if own is None and further is None:
        return request.target
    path = request.path if own is None else own.rewritten(request.path)
    if further is not None:
        path = further.rewritten(path)
    return path + b"?" + request.query if b"?" in request.target else path


@dataclass(frozen=True)
class Mirror:
    """A route's shadows by the names of their backends, and what all copies together may hold (this worker's share)."""

    shadows: Mapping[str, Shadow]
    max_copies: int  # in flight for each of the shadows
    max_bytes: int  # held for copies that lag
    rate_per_s: float = 0.0  # 0: no bound


@dataclass(frozen=True)
class Chain:
    """A route's filters, reduced at compile time to the hooks that they really define, with their positions.

    `request` runs in order; `response` and `complete` are in reverse order. A hook whose position was never reached
    by a request is not called back.
    """

    filters: tuple[Filter, ...] = ()
    names: tuple[str, ...] = ()
    request: tuple[tuple[int, RequestHook], ...] = ()
    response: tuple[tuple[int, ResponseHook], ...] = ()
    complete: tuple[tuple[int, CompleteHook], ...] = ()

    @classmethod
    def of(cls, filters: Sequence[tuple[str, Filter]]) -> Chain:
        """Build from (type name, filter) pairs in order."""

        def defined(name: Literal["on_request", "on_response", "on_complete"]) -> list[tuple[int, Any]]:
            hooks = [(position, each.hook(name)) for position, (_, each) in enumerate(filters)]
            return [(position, hook) for position, hook in hooks if hook is not None]

        return cls(
            filters=tuple(each for _, each in filters),
            names=tuple(name for name, _ in filters),
            request=tuple(defined("on_request")),
            response=tuple(reversed(defined("on_response"))),
            complete=tuple(reversed(defined("on_complete"))),
        )


class Flag(NamedTuple):
    """A rule of a route's flags, as telemetry names it."""

    backend: str | None  # that it chooses; "" for one that a header names, None where it chooses none
    others: str  # its other effects, in words
    reason: Literal["targeting_match", "split"]  # of feature_flag.result.reason: split where a draw decides
    about: dict[str, str]  # its kind, owner and expiry, as far as they are given; all that are told share it


@dataclass(frozen=True)
class Telemetry:
    """Which exchanges control is told of, and what. Shares are 0 to 1, times seconds."""

    traces: bool  # whether any become traces
    sample: float = 0.0  # the draw, where no trusted parent decided
    errors: bool = False  # failed ones always, and those whose shadow answered another status
    slow: float = math.inf  # slower ones always
    over_p99: bool = False  # those slower than the p99 of their live backend always
    spans_per_s: float = math.inf  # those beyond are counted and not told
    link: bool = False  # copies have traces of their own
    log: bool = False  # whether any become lines of the access log
    log_sample: float = 0.0
    log_errors: bool = False
    fields: tuple[str, ...] = ()  # lower-case names of the request fields that are told
    traced_fields: tuple[str, ...] = ()  # those of them that spans carry


@dataclass(frozen=True, eq=False)
class Route:
    """A match's consequence: the chain and the backend that answers when no filter chose another."""

    name: str
    backend: Backend
    chain: Chain
    timeout: float = 0.0  # the whole exchange, seconds; 0: none
    mirror: Mirror | None = None  # of its chain
    takes: Match | None = None  # what it was compiled from, for `explain`
    not_active: tuple[str, ...] = ()  # filters of its YAML that have no effect in this version, for `explain`
    flags: Mapping[str, Flag] | None = None  # of its chain, by name


@dataclass(frozen=True)
class Listener:
    """A bound address that faces callers."""

    name: str
    bind: str  # host:port, [::1]:port, unix:/path or fd:N
    trust_unix: bool = False
    trust: tuple[Any, ...] = ()  # ipaddress networks whose forwarding headers are believed
    half_close: Literal["gone", "answer"] = "gone"
    max_connections: int = 10_000
    head_timeout: float = 10.0  # seconds for a whole head
    body_timeout: float = 60.0  # seconds between two bytes of a body
    idle_timeout: float = 75.0  # seconds between two requests of a connection
    max_head: int = 64 * 1024
    max_fields: int = 100
    max_target: int = 8 * 1024


@dataclass(frozen=True, eq=False)
class Snapshot:
    """One configuration, compiled."""

    hash: str  # of the document, hexadecimal
    version: int  # counts accepted configurations since start
    listeners: Mapping[str, Listener]
    backends: Mapping[str, Backend]
    routes: tuple[Route, ...]
    match: Callable[[Request], Route | None]  # config/routes.py: the first route that matches
    drain_grace: float = 25.0  # seconds
    workers: int = 1
    telemetry: Telemetry | None = None  # None: control is told of no exchange
    only_shadows: frozenset[str] = frozenset()  # backends to which nothing but copies is sent
