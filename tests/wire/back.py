"""How a message behind the proxy must follow from the one in front of it (RFC 9110 7.6 and the proxy's contract)."""

from __future__ import annotations

from tests.kit.strict import Request, split_absolute

from .policy import is_claim, spelled_with_underscore

HOP_BY_HOP = frozenset(b"connection keep-alive proxy-connection te trailer transfer-encoding upgrade".split())
# Written or consumed by the proxy itself, so that they do not follow from the client's fields alone.
OWN = frozenset(
    b"host content-length expect x-request-id x-forwarded-for x-forwarded-proto x-forwarded-host via traceparent "
    b"tracestate baggage forwarded max-forwards proxy-authorization http2-settings".split()
)


def expected_target(front: Request) -> bytes:
    """The target an origin server gets: origin-form, or `*` for OPTIONS of a whole server (RFC 9112 3.2.4)."""
    if front.target[:1] in (b"/", b"*"):
        return front.target
    _, path, query = split_absolute(front.target)
    has_query = b"?" in front.target
    if front.method == b"OPTIONS" and not path and not has_query:
        return b"*"
    return (path or b"/") + (b"?" + query if has_query else b"")


def differences(front: Request, back: Request) -> list[str]:
    """Everything in the backend's message that does not follow from the client's, as sentences."""
    return [*_framing(front, back), *_authority(front, back), *_fields(front, back), *_own_fields(front, back)]


def _framing(front: Request, back: Request) -> list[str]:
    framings = back.all(b"content-length") + back.all(b"transfer-encoding")
    problems: list[str] = []
    if len(framings) > 1 or (back.body and len(framings) != 1):
        problems.append(f"framing fields behind: {framings}")
    if front.framing != "none" and not framings:
        problems.append("a message with a framing field lost it")
    if front.framing == "none" and back.framing == "chunked":
        problems.append("a message without content became chunked")
    if back.version != b"HTTP/1.1":
        problems.append(f"version behind: {back.version!r}")
    if back.trailers or back.all(b"trailer"):
        problems.append(f"trailers went on: {back.trailers} {back.all(b'trailer')}")
    return problems


def _authority(front: Request, back: Request) -> list[str]:
    hosts = back.all(b"host")
    if len(hosts) != 1:
        return [f"Host behind: {hosts}"]
    wanted = front.all(b"host")
    if front.target[:1] not in (b"/", b"*"):
        wanted = [split_absolute(front.target)[0]]  # RFC 9112 3.2.2: the received Host is ignored
    if wanted and hosts[0].lower() != wanted[0].lower():
        return [f"Host behind: {hosts}, in front {wanted}"]
    return []


def _end_to_end(request: Request) -> list[tuple[bytes, bytes]]:
    nominated = frozenset(request.tokens(b"connection"))
    return [
        (name.lower(), value)
        for name, value in request.fields
        if name.lower() not in HOP_BY_HOP | OWN | nominated
        and not is_internal(name)
        and not is_claim(name)
        and not spelled_with_underscore(name)
    ]


def is_internal(name: bytes) -> bool:
    """`X-Understudy-*` in any spelling of its hyphens."""
    return name.lower().replace(b"_", b"-").startswith(b"x-understudy-")


def _fields(front: Request, back: Request) -> list[str]:
    wanted, got = _end_to_end(front), _end_to_end(back)
    problems: list[str] = []
    if wanted != got:
        missing, added = [each for each in wanted if each not in got], [each for each in got if each not in wanted]
        problems.append(f"fields missing behind: {missing}, added: {added}" if missing or added else "fields reordered")
    problems += [f"{name!r} is believed" for name, _ in back.fields if is_claim(name) and name.lower() not in OWN]
    upgrading = b"upgrade" in front.tokens(b"connection") and bool(front.all(b"upgrade"))
    for name, value in back.fields:
        lower = name.lower()
        if is_internal(name) or spelled_with_underscore(name):
            problems.append(f"passed on: {name!r}: {value!r}")
        elif lower in HOP_BY_HOP and lower != b"transfer-encoding":
            allowed = upgrading and (lower == b"upgrade" or (lower, value.lower()) == (b"connection", b"upgrade"))
            allowed = allowed or (lower == b"connection" and value.lower() in (b"close", b"keep-alive"))
            if not allowed:
                problems.append(f"a hop-by-hop field went on: {name!r}: {value!r}")
    if back.all(b"http2-settings") or b"h2c" in back.tokens(b"upgrade"):
        problems.append("an upgrade to h2c went on")
    return problems


def _own_fields(front: Request, back: Request) -> list[str]:
    """Fields that speak for the proxy: replaced, since the test's client is not trusted."""
    problems: list[str] = []
    if back.all(b"x-forwarded-for") != [b"127.0.0.1"]:
        problems.append(f"X-Forwarded-For behind: {back.all(b'x-forwarded-for')}")
    if back.all(b"x-forwarded-proto") != [b"http"]:
        problems.append(f"X-Forwarded-Proto behind: {back.all(b'x-forwarded-proto')}")
    if len(back.all(b"x-forwarded-host")) > 1:
        problems.append(f"X-Forwarded-Host behind: {back.all(b'x-forwarded-host')}")
    identifiers = back.all(b"x-request-id")
    if len(identifiers) != 1 or identifiers[0] in front.all(b"x-request-id"):
        problems.append(f"X-Request-Id behind: {identifiers}")
    parents = back.all(b"traceparent")
    if len(parents) != 1 or len(parents[0].split(b"-")) != 4:
        problems.append(f"traceparent behind: {parents}")
    if not back.all(b"via"):
        problems.append("no Via behind")
    return problems
