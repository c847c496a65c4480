"""Where telemetry is exported to, and as whom: the configuration and the standard variables, put together once."""

from __future__ import annotations

import os
import socket
import ssl
import uuid
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Final, Literal, cast
from urllib.parse import urlsplit

from ....config import environment as env
from ....config import secrets
from ....config.environment import Environ, Signal
from ....config.otlp import name_texts, value_text
from ....config.schema import Document, MetricsPart, OtlpPart, TelemetryPart, TlsPart
from ....filters.units import SecretRef

DEFAULT_TIMEOUT_S: Final = 10.0
DEFAULT_INTERVAL_S: Final = 10.0
_PORTS: Final = {"http/protobuf": 4318, "grpc": 4317}
_SYSTEM_ROOTS: Final = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")
# Variables of a Kubernetes manifest that are filled from its downward API, and what they say. Elsewhere such names may
# mean anything.
DOWNWARD: Final = {
    "POD_NAME": "k8s.pod.name", "POD_UID": "k8s.pod.uid", "POD_NAMESPACE": "k8s.namespace.name",
    "NODE_NAME": "k8s.node.name", "CONTAINER_NAME": "k8s.container.name",
}  # fmt: skip
_STARTED_AS: Final = uuid.uuid4()  # where nothing names this instance


@dataclass(frozen=True, slots=True)
class Target:
    """Where one signal goes. Paths are absolute."""

    signal: Signal
    endpoint: str  # of http/protobuf with its path
    protocol: Literal["http/protobuf", "grpc"]
    headers: tuple[tuple[str, str], ...] = field(repr=False)  # may be secret
    compression: Literal["none", "gzip"]
    timeout_s: float
    ca: str | None
    server_name: str | None
    certificate: str | None
    key: str | None
    written_ns: tuple[int, ...] = ()  # when those three files were: another one is another target
    insecure: bool = False  # over gRPC without TLS, where the endpoint has no scheme that says
    problem: str = ""  # why nothing can be sent there; it tells no secret


@dataclass(frozen=True, slots=True)
class Plan:
    """All that an export depends on, save the routes and backends that spans name."""

    targets: tuple[Target, ...] = ()
    interval_s: float = DEFAULT_INTERVAL_S  # of metrics
    resource: tuple[tuple[str, str | int], ...] = ()

    def target(self, signal: Signal) -> Target | None:
        """None where this signal is not exported."""
        return next((each for each in self.targets if each.signal == signal), None)


def plan_of(document: Document, environ: Environ, base: str) -> Plan:
    """The plan of a document as it was written."""
    part = document.telemetry or TelemetryPart()
    on = env.signals(document.telemetry, environ)
    if not on:
        return Plan()
    metrics = part.metrics if isinstance(part.metrics, MetricsPart) else MetricsPart()
    return Plan(
        targets=tuple(
            _target(signal, part.otlp or OtlpPart(), environ, base) for signal in env.SIGNALS if signal in on
        ),
        interval_s=metrics.interval or env.metric_interval_s(environ) or DEFAULT_INTERVAL_S,
        resource=tuple(resource_of(env.service_name(document.telemetry, environ), environ).items()),
    )


def resource_of(service_name: str, environ: Environ) -> dict[str, str | int]:
    """Who tells all this: OTEL_RESOURCE_ATTRIBUTES wins over what is found out."""
    found: dict[str, str | int] = {
        "service.version": version("understudy"),
        "service.instance.id": str(_instance(environ)),
        "host.name": socket.gethostname(),
        "process.pid": os.getpid(),
        "telemetry.sdk.name": "opentelemetry",
        "telemetry.sdk.language": "python",
        "telemetry.sdk.version": version("opentelemetry-sdk"),
    }
    if env.value(environ, "POD_NAME") or env.value(environ, "KUBERNETES_SERVICE_HOST"):
        found |= {name: written for variable, name in DOWNWARD.items() if (written := env.value(environ, variable))}
    found |= env.pairs(env.value(environ, "OTEL_RESOURCE_ATTRIBUTES")) or {}
    return found | {"service.name": service_name}


def _instance(environ: Environ) -> uuid.UUID:
    """The same after a restart of the container where a manifest names it, as the conventions ask for."""
    named = [env.value(environ, name) for name in ("POD_NAMESPACE", "POD_NAME", "CONTAINER_NAME")]
    if not (named[0] and named[1]):
        return _STARTED_AS
    return uuid.uuid5(uuid.UUID("4d63009a-8d0f-11ee-aad7-4c796ed8e320"), ".".join(filter(None, named)))


def _target(signal: Signal, otlp: OtlpPart, environ: Environ, base: str) -> Target:
    def variable(what: str) -> str:
        return env.of_signal(environ, signal, what)

    protocol = cast(Literal["http/protobuf", "grpc"], env.protocol(otlp, signal, environ))
    compression = otlp.compression or variable("COMPRESSION").lower()
    timeout_s = float(otlp.timeout) if otlp.timeout is not None else env.timeout_s(variable("TIMEOUT"))
    tls = otlp.tls or TlsPart()

    def path(written: str | None, what: str) -> str | None:
        return secrets.absolute(written, base) if written is not None else variable(what) or None

    ca = path(tls.ca, "CERTIFICATE") or _system_roots()
    headers, problem = _headers(otlp, env.of_signal(environ, signal, "HEADERS", protocol), protocol, base)
    certificate, key = path(tls.certificate, "CLIENT_CERTIFICATE"), path(tls.key, "CLIENT_KEY")
    return Target(
        signal=signal,
        endpoint=_endpoint(signal, otlp, environ, protocol),
        protocol=protocol,
        headers=headers,
        compression="gzip" if compression == "gzip" else "none",
        timeout_s=timeout_s or DEFAULT_TIMEOUT_S,
        ca=ca,
        server_name=tls.server_name,
        certificate=certificate,
        key=key if certificate is not None else None,
        written_ns=tuple(os.stat(each).st_mtime_ns for each in (ca, certificate, key) if each and os.path.exists(each)),
        insecure=variable("INSECURE").lower() == "true",
        problem=problem,
    )


def _endpoint(signal: Signal, otlp: OtlpPart, environ: Environ, protocol: str) -> str:
    """The signal's path is added, save to an endpoint of the signal's own, as the standard has it."""
    own = env.understood(environ, f"{signal.upper()}_ENDPOINT", "ENDPOINT", protocol)
    shared = env.understood(environ, "ENDPOINT", "ENDPOINT", protocol) or f"http://localhost:{_PORTS[protocol]}"
    if protocol == "grpc":
        return otlp.endpoint or own or shared
    if otlp.endpoint is None and own:
        return own
    url = urlsplit(otlp.endpoint or shared)
    return url._replace(path=f"{url.path.removesuffix('/')}/v1/{signal}").geturl()


def _headers(otlp: OtlpPart, variable: str, protocol: str, base: str) -> tuple[tuple[tuple[str, str], ...], str]:
    """The file's win over those of the environment, name by name. Beside them, what makes them of no use: `validate`
    has seen the file's, but maybe with other secrets, or another protocol, than stand in the environment here."""
    found = {name.lower(): text for name, text in (env.headers(variable, protocol) or {}).items()}
    try:
        for name, written in otlp.headers.items():
            found[name.lower()] = secrets.read(written, base) if isinstance(written, SecretRef) else written
    except ValueError as problem:
        return (), f"a header cannot be told: {problem}"
    headers = tuple((name, text.strip()) for name, text in found.items())
    wrong = [*(text for name, _ in headers for text in name_texts(name, protocol)),
             *(f"the header {name} {text}" for name, value in headers if (text := value_text(value)))]  # fmt: skip
    return headers, wrong[0] if wrong else ""


def _system_roots() -> str | None:
    """A bundle; None leaves it to the libraries, which carry one of their own."""
    candidates = (ssl.get_default_verify_paths().cafile, *_SYSTEM_ROOTS)
    return next((path for path in candidates if path is not None and os.path.isfile(path)), None)
