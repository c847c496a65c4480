"""The configuration as types: what one may write in YAML. The comments here are the user's reference.

A `Document` is what a valid file says, with every default filled in. It travels to the workers as bytes. Times are
`Duration` (seconds), sizes `Size` (bytes); 0 means none. Limits count for the whole program.
"""

from __future__ import annotations

import hashlib
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, Union

import msgspec

from ..filters import FILTERS
from ..filters.api import FilterConfig
from ..filters.matching import Match
from ..filters.rewriting import PathRewriting
from ..filters.units import Count, Duration, FieldValue, Fraction, SecretRef, Size, dec_hook, enc_hook
from .collector import paused

if TYPE_CHECKING:
    AnyFilter: TypeAlias = FilterConfig
else:
    AnyFilter = Union[tuple(FILTERS)]  # noqa: UP007 - built from the table

Limit: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000)]
"""A limit whose 0 means none."""

DEFAULT_SAMPLE = 0.05
"""The share of traces that is sampled where neither the file nor the environment says one."""


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """A map of the YAML: unknown keys are mistakes."""


class ListenerPart(Part, frozen=True):
    """An address that faces callers."""

    bind: str  # host:port, [::1]:7080, unix:/run/understudy.sock or fd:3; port 0 takes a free one
    trust: tuple[str, ...] = ()  # peers (CIDR, or unix) whose forwarding headers are believed
    half_close: Literal["gone", "answer"] = "gone"  # what a FIN means while an answer is owed
    max_connections: Count = 10_000
    head_timeout: Duration = Duration(10)  # for a whole head
    body_timeout: Duration = Duration(60)  # between two bytes of a body
    idle_timeout: Duration = Duration(75)  # between two requests of a connection
    max_head: Size = Size(64 << 10)
    max_fields: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 100
    max_target: Size = Size(8 << 10)


class ProbesPart(Part, frozen=True):
    """The probes' own address: GET /livez, /readyz, /metrics and /compare only."""

    bind: str


class AdminPart(Part, frozen=True):
    """The admin API."""

    bind: str = "127.0.0.1:7081"  # everything
    probes: ProbesPart | None = None  # absent: no listener of their own
    hosts: tuple[str, ...] = ()  # names by which it may be asked, beside IP literals and localhost
    token: SecretRef | None = None  # a bearer token that every POST must carry; absent: none


class DrainPart(Part, frozen=True):
    """How the program ends."""

    delay: Duration = Duration(0)  # not ready, yet serving: for load balancers to notice
    grace: Duration = Duration(25)  # for exchanges in flight to finish


class TlsPart(Part, frozen=True):
    """How https endpoints are verified. Paths are relative to this file."""

    ca: str | None = None  # PEM bundle; absent: the system's
    server_name: str | None = None  # SNI and the name the certificate must carry; absent: the endpoint's host
    certificate: str | None = None  # client certificate, PEM
    key: str | None = None  # its private key; absent: in the certificate's file


class RewritePart(Part, frozen=True):
    """What changes in a request for this backend, live calls and copies alike."""

    path: PathRewriting | None = None
    json: dict[str, Any] | None = None  # top-level fields of a JSON body and their new values
    max_body: Size = Size(8 << 20)  # the largest body that is held for json; a larger one is 413


class BackendPart(Part, frozen=True):
    """One model version: interchangeable endpoints."""

    endpoints: tuple[str, ...]  # http://host:port, https://host:port or unix:/path
    version: str = ""  # a new value starts a new epoch in every comparison
    balance: Literal["least_request", "round_robin"] = "least_request"
    connect_timeout: Duration = Duration(1)
    first_byte_timeout: Duration = Duration(120)  # head of the answer; a long prefill is normal
    idle_timeout: Duration = Duration(300)  # between two bytes of a stream
    total_timeout: Duration = Duration(0)
    keep_alive: Duration = Duration(1.5)  # idle reuse; gunicorn closes at 2 s, uvicorn at 5
    max_in_flight: Count = 1024  # past it 503 at once
    max_connections: Limit = 0  # per endpoint; 0: as many as max_in_flight allows
    max_pending: Limit = 128  # requests that may wait for a connection
    host: str = "keep"  # keep | endpoint | a name
    rewrite: RewritePart | None = None
    tls: TlsPart | None = None
    dns_refresh: Duration = Duration(5)  # how often names are resolved again


class RoutePart(Part, frozen=True):
    """A match, a chain and a default backend."""

    name: str
    match: Match
    backend: str  # when no filter chose another
    timeout: Duration = Duration(0)  # the whole exchange
    filters: tuple[AnyFilter, ...] = ()  # in order


class StoresPart(Part, frozen=True):
    """Where state that outlives a request is kept."""

    ledger: str = "memory://"  # or sqlite:///path, redis://host:port/db


class OtlpPart(Part, frozen=True):
    """Where telemetry is exported to. What is absent here is taken from the standard OTEL_EXPORTER_OTLP_* variables."""

    endpoint: str | None = None  # http://host:4318, https://…; the signal's path is added as the standard says
    protocol: Literal["http/protobuf", "grpc"] | None = None  # absent: http/protobuf
    headers: dict[str, FieldValue] = {}
    compression: Literal["none", "gzip"] | None = None
    timeout: Duration | None = None  # for one export, its retries included; absent: 10s
    tls: TlsPart | None = None


class TracesPart(Part, frozen=True):
    """Which exchanges become traces."""

    sample: Fraction | None = (
        None  # of those whose trusted parent decided nothing; absent: OTEL_TRACES_SAMPLER, or 0.05
    )
    errors: bool = True  # failed ones always, and those whose shadow answered another status
    slow: Duration | None = None  # slower ones always
    over_p99: bool = False  # always those slower than the p99 of their live backend's last 30 to 60 seconds
    shadow: Literal["child", "link"] = "child"  # in the same trace, or in their own
    rate: Annotated[float, msgspec.Meta(gt=0, le=1_000_000)] = 5000.0  # spans a second; those beyond are counted
    headers: tuple[str, ...] = ()  # request fields that spans carry, by name; none otherwise

    @property
    def share(self) -> float:
        """The share (0..1) to sample, its default filled in."""
        return DEFAULT_SAMPLE if self.sample is None else self.sample


class MetricsPart(Part, frozen=True):
    """How metrics are exported."""

    interval: Duration | None = None  # absent: OTEL_METRIC_EXPORT_INTERVAL, or 10s
    buckets: tuple[Annotated[float, msgspec.Meta(gt=0)], ...] | None = None  # upper bounds, seconds, ascending


class AccessLogPart(Part, frozen=True):
    """One line per exchange."""

    to: str = "stdout"  # stdout, stderr or a path
    format: str = "json"  # json, or a template: "{time} {method} {path} {status} {total_ms}"
    sample: Fraction = 1.0
    errors: bool = True  # failed ones always
    headers: tuple[str, ...] = ()  # request fields that lines carry, by name; none otherwise


class TelemetryPart(Part, frozen=True):
    """What is told to the outside."""

    service_name: str | None = None  # absent: OTEL_SERVICE_NAME, or understudy
    otlp: OtlpPart | None = None  # absent, and no OTEL_EXPORTER_OTLP_ENDPOINT either: no export
    traces: Literal["off"] | TracesPart = TracesPart()
    metrics: Literal["off"] | MetricsPart = MetricsPart()  # of the export; /metrics is always there
    access_log: Literal["off"] | AccessLogPart | None = None  # absent: off


class EgressListenerPart(Part, frozen=True):
    """An address that faces one backend's own outgoing calls."""

    bind: str
    backend: str
    role: Literal["auto", "live", "shadow"] = "auto"
    uncorrelated: Literal["deny", "allow"] = "deny"  # unsafe calls of unknown role, where both are possible


class EgressRoutePart(Part, frozen=True):
    """Where outgoing calls go, and what may be repeated."""

    match: Match
    upstream: str  # replaces the prefix
    effects: Literal["none", "external"] | None = None  # absent: by method
    on_miss: Literal["deny", "stub"] = "deny"


class EgressPart(Part, frozen=True):
    """The model servers' own outgoing calls."""

    listeners: dict[str, EgressListenerPart] = {}
    routes: tuple[EgressRoutePart, ...] = ()


class Document(Part, frozen=True):
    """A whole configuration."""

    listeners: dict[str, ListenerPart]
    backends: dict[str, BackendPart]
    routes: tuple[RoutePart, ...]  # first match wins
    admin: AdminPart = AdminPart()
    workers: Annotated[int, msgspec.Meta(ge=1, le=256)] | Literal["auto"] = 1  # auto: the cgroup's CPUs
    drain: DrainPart = DrainPart()
    secret: SecretRef | None = None  # keys cookies, fingerprints and rewritten keys
    stores: StoresPart | None = None
    telemetry: TelemetryPart | None = None
    egress: EgressPart | None = None


def convert(raw: object) -> Document:
    """Build a Document from plain values. Raises msgspec.ValidationError at the first wrong one."""
    return msgspec.convert(raw, Document, dec_hook=dec_hook)


def encode(document: Document) -> bytes:
    """The document as it travels from control to a worker."""
    return msgspec.msgpack.encode(document, enc_hook=enc_hook)


def decode(wire: bytes) -> Document:
    """What `encode` wrote. Raises msgspec.ValidationError."""
    with paused():
        return _decoder().decode(wire)


def digest(document: Document) -> str:
    """SHA-256, hexadecimal, of the document: comments, x- keys, anchors and the order of keys do not count."""
    return hashlib.sha256(msgspec.msgpack.encode(document, enc_hook=enc_hook, order="sorted")).hexdigest()


@cache
def _decoder() -> msgspec.msgpack.Decoder[Document]:
    return msgspec.msgpack.Decoder(Document, dec_hook=dec_hook)
