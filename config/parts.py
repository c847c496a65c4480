"""The own mistakes of each part of a document: addresses, names, files, secrets. Called by `check.py`."""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Callable, Iterable, Iterator
from urllib.parse import urlsplit

from ..filters.fields import value_text
from ..filters.matching import host_mistakes
from ..filters.rewriting import path_mistakes
from ..filters.units import SecretRef
from . import log_line, otlp, own_secret
from . import secrets as references
from .addresses import check_ledger, check_url, parse_endpoint, parse_network, redacted
from .paths import Found, Path
from .schema import (
    AccessLogPart,
    AdminPart,
    BackendPart,
    Document,
    ListenerPart,
    OtlpPart,
    RewritePart,
    TelemetryPart,
    TlsPart,
)
from .snapshot import Endpoint
from .wording import quoted

_LEAST_HEAD_BYTES = 1024
_LEAST_TARGET_BYTES = 256
_LEAST_INTERVAL_S = 1.0  # control looks once a second
_MOST_BUCKETS = 100  # each is a series for every name that is counted
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_](?:[A-Za-z0-9._-]*))(?::([0-9]{1,5}))?")  # noqa: TID251 - constant
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")  # noqa: TID251 - a constant pattern
_VERSION = re.compile(r"[!-~][ -~]{0,63}")  # noqa: TID251 - a constant pattern


def listener(part: ListenerPart) -> Found:
    """Trust and limits; the bind is checked with all others."""
    for at, entry in enumerate(part.trust):
        if entry != "unix":
            yield from _parsed(("trust", at), entry, parse_network)
    if part.max_head < _LEAST_HEAD_BYTES:
        yield ("max_head",), f"{part.max_head} lets no real head through; allowed: 1KiB or more"
    if part.max_target < _LEAST_TARGET_BYTES:
        yield ("max_target",), f"{part.max_target} lets no real target through; allowed: 256B or more"
    elif part.max_target > part.max_head:
        yield ("max_target",), f"{part.max_target} is more than max_head, which holds it: {part.max_head}"


def backend(part: BackendPart, base: str) -> Found:
    """Endpoints, host, rewriting, TLS."""
    yield from _endpoints(part.endpoints)
    if part.version and not _VERSION.fullmatch(part.version):
        yield ("version",), f"{quoted(part.version)} is no version; allowed: up to 64 printable ASCII characters"
    if part.host not in ("keep", "endpoint") and not _is_host(part.host):
        yield ("host",), f"{quoted(part.host)} is no host; allowed: keep, endpoint, or a name with or without a port"
    if part.rewrite is not None:
        yield from _rewrite(part.rewrite)
    if part.tls is not None:
        yield from _tls(part.tls, base, ("tls",))
        if not any(endpoint.startswith("https://") for endpoint in part.endpoints):
            yield ("tls",), "has no effect, as no endpoint begins with https://"


def admin(part: AdminPart) -> Found:
    """Names by which the admin API may be asked; its binds are checked with all others."""
    for at, host in enumerate(part.hosts):
        if host_mistakes(host) or host.startswith("*"):
            yield ("hosts", at), f"{quoted(host)} is no name; allowed: whole names without a port"


def stores(document: Document, base: str) -> Found:
    """The ledger's URL, the secret that is kept beside a file, and the one that a shared one needs."""
    if document.stores is None:
        return
    ledger = document.stores.ledger
    wrong = list(_parsed(("stores", "ledger"), ledger, check_ledger))
    yield from wrong
    beside = own_secret.kept_at(document) if document.secret is None and not wrong else None
    if beside is not None:
        yield from _own_secret(("stores", "ledger"), beside, base)
    if ledger.startswith(("redis://", "rediss://")) and document.secret is None:
        yield ("secret",), "is missing; a ledger shared through redis needs one: {file: PATH} or {env: NAME}"


def telemetry(part: TelemetryPart, base: str) -> Found:
    """Export, metrics, access log."""
    if part.service_name == "":
        yield ("service_name",), "is empty; allowed: a name"
    if part.otlp is not None:
        for path, text in _otlp(part.otlp, base):
            yield ("otlp", *path), text
    if part.traces != "off":
        for at, text in log_line.name_mistakes(part.traces.headers):
            yield ("traces", "headers", at), text
    if part.metrics != "off":
        if part.metrics.interval is not None and part.metrics.interval < _LEAST_INTERVAL_S:
            yield (
                ("metrics", "interval"),
                f"{part.metrics.interval} is too short, as control looks once a second; allowed: 1s or more",
            )
        buckets = part.metrics.buckets
        if buckets == ():
            yield ("metrics", "buckets"), "is empty; leave it out for the default"
        if buckets is not None and list(buckets) != sorted(set(buckets)):
            yield ("metrics", "buckets"), "must grow from each to the next"
        if buckets is not None and len(buckets) > _MOST_BUCKETS:
            yield ("metrics", "buckets"), f"has {len(buckets)} bounds; allowed: at most {_MOST_BUCKETS}"
    if isinstance(part.access_log, AccessLogPart):
        for path, text in _access_log(part.access_log):
            yield ("access_log", *path), text


def url(text: str) -> Found:
    """An http or https URL that may have a path."""
    yield from _parsed((), text, check_url)


def secrets(document: Document, base: str) -> Found:
    """References that cannot be read, or whose secret no header can carry."""
    for path, ref in _references(document):
        if (ref.env is None) == (ref.file is None):
            if path[0] != "routes":  # a filter says so itself
                yield path, "must hold exactly one of env and file"
            continue
        if path == ("secret",):
            yield from _own_secret(path, ref, base)
            continue
        allowed = otlp.value_text if path[0] == "telemetry" else value_text
        try:
            text = allowed(references.read(ref, base))
        except ValueError as error:
            yield path, str(error)
        else:
            if text:
                yield path, f"the secret {text}"


def _own_secret(path: Path, ref: SecretRef, base: str) -> Found:
    """A file that is missing is made at start, in a folder that must be there."""
    if ref.file:
        file = references.absolute(ref.file, base)
        if not os.path.exists(file):
            if os.path.dirname(file) != base and not os.path.isdir(os.path.dirname(file)):
                yield path, f"the file {ref.file} cannot be made: its folder is missing"
            return
    try:
        own_secret.read(ref, base)
    except ValueError as error:
        yield path, str(error)


def _references(document: Document) -> Iterator[tuple[Path, SecretRef]]:
    for name in ("secret", "admin", "telemetry"):
        yield from references.find(getattr(document, name), (name,))
    for at, route in enumerate(document.routes):
        if route.filters:
            yield from references.find(route.filters, ("routes", at, "filters"))


def _is_host(text: str) -> bool:
    found = _HOST.fullmatch(text)
    return found is not None and (found[1] is None or 0 < int(found[1]) < 1 << 16)


def _endpoints(endpoints: tuple[str, ...]) -> Found:
    if not endpoints:
        yield ("endpoints",), "is empty; at least one is needed"
    seen: dict[Endpoint, int] = {}
    for at, text in enumerate(endpoints):
        try:
            endpoint = parse_endpoint(text)
        except ValueError as error:
            yield ("endpoints", at), f"{quoted(redacted(text))} {error}"
            continue
        if (earlier := seen.setdefault(endpoint, at)) != at:
            yield ("endpoints", at), f"{text} is endpoints[{earlier}] already; list it once"


def _rewrite(part: RewritePart) -> Found:
    if part.path is None and not part.json:
        yield ("rewrite",), "changes nothing; give path, or json with at least one field"
    if part.path is not None:
        yield from path_mistakes(part.path, "rewrite", "path")
    if not part.max_body:
        yield ("rewrite", "max_body"), "0 lets no body through; allowed: a size above 0"


def _otlp(part: OtlpPart, base: str) -> Found:
    if part.endpoint is not None:
        wrong = list(_parsed(("endpoint",), part.endpoint, check_url))
        yield from wrong or _otlp_path(part, part.endpoint)
    if part.timeout is not None and not part.timeout:
        yield ("timeout",), "0 is no timeout; allowed: a duration longer than 0"
    seen: dict[str, str] = {}
    for name, value in part.headers.items():
        texts = otlp.name_texts(name, part.protocol)
        if (earlier := seen.setdefault(name.lower(), name)) != name:
            texts.append(f"is {earlier} already, as case does not count; give one of them")
        text = otlp.value_text(value) if isinstance(value, str) else None
        for each in texts + ([text] if text else []):
            yield ("headers", name), each
    if part.tls is not None:
        yield from _tls(part.tls, base, ("tls",))
        if part.endpoint is not None and not part.endpoint.startswith("https://"):
            yield ("tls",), "has no effect, as the endpoint does not begin with https://"


def _otlp_path(part: OtlpPart, endpoint: str) -> Found:
    path = urlsplit(endpoint).path.rstrip("/")
    if part.protocol == "grpc" and path:
        yield ("endpoint",), f"{quoted(endpoint)} has a path, and gRPC has none; allowed: http://host:4317"
    elif path.endswith(("/v1/traces", "/v1/metrics")):
        yield ("endpoint",), f"{quoted(endpoint)} ends with a signal's path, which is added; allowed: http://host:4318"


def _access_log(part: AccessLogPart) -> Found:
    if not part.to or "\0" in part.to:
        yield ("to",), f"{quoted(part.to)} is no destination; allowed: stdout, stderr or the path of a file"
    for at, text in log_line.name_mistakes(part.headers):
        yield ("headers", at), text
    if part.format != log_line.JSON:
        try:
            log_line.pieces(part.format, part.headers)
        except ValueError as error:
            yield ("format",), str(error)


def _tls(part: TlsPart, base: str, path: Path) -> Found:
    """Loads what it names, as the program will: a missing file and a key that does not belong read alike bad."""
    if part.key is not None and part.certificate is None:
        yield (*path, "key"), "stands without certificate; give both, or neither"
    if part.server_name is not None and not _NAME.fullmatch(part.server_name):
        yield (*path, "server_name"), f"{quoted(part.server_name)} is no host name; allowed: a name without a port"
    context = ssl.create_default_context()
    if part.ca is not None:
        ca = references.absolute(part.ca, base)
        yield from _loads((*path, "ca"), part.ca, lambda: context.load_verify_locations(ca))
    if part.certificate is not None:
        certificate = references.absolute(part.certificate, base)
        key = references.absolute(part.key, base) if part.key is not None else None
        if key is not None and not os.path.isfile(key):
            yield (*path, "key"), f"the file {part.key} cannot be read: No such file or directory"
            return
        yield from _loads(
            (*path, "certificate"),
            part.certificate,
            lambda: context.load_cert_chain(certificate, key, password=lambda: ""),
        )


def _loads(path: Path, written: str, load: Callable[[], None]) -> Found:
    try:
        load()
    except ssl.SSLError as error:
        is_mismatch = "MISMATCH" in (error.reason or "")  # all else is worded differently by every OpenSSL
        reason = "the key is another certificate's" if is_mismatch else "no PEM that can be read"
        yield path, f"the file {written} cannot be used: {reason}; allowed: PEM, and a key without a passphrase"
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no valid path"
        yield path, f"the file {written} cannot be read: {reason}"


def _parsed(path: Path, text: str, parse: Callable[[str], object]) -> Iterable[tuple[Path, str]]:
    try:
        parse(text)
    except ValueError as error:
        return [(path, f"{quoted(redacted(text))} {error}")]
    return []
