"""What the client is told when something failed or was refused.

Parser, routes, pool and filters name a reason; this is the only place that maps it to a status, and that says whose
fault it was and whether another endpoint may be tried.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import msgspec

from ..filters.api import Failure, Reason, Response

Blame = Literal["client", "backend", "proxy"]


class Rescue(NamedTuple):
    """The consequence of one reason."""

    status: int
    blame: Blame
    title: str
    retry_after_s: int | None = None
    elsewhere: bool = False  # no byte was sent: another endpoint may be asked


RESCUES: dict[Reason, Rescue] = {
    "bad_request": Rescue(400, "client", "Bad request"),
    "client_timeout": Rescue(408, "client", "The request did not arrive in time"),
    "body_too_large": Rescue(413, "client", "The request body is too large"),
    "target_too_long": Rescue(414, "client", "The request target is too long"),
    "head_too_large": Rescue(431, "client", "The request head is too large"),
    "no_route": Rescue(404, "client", "No route matches the request"),
    "connect_failed": Rescue(503, "backend", "The backend cannot be reached", 1, elsewhere=True),
    "no_endpoint": Rescue(503, "backend", "The backend has no healthy endpoint", 1),
    "overloaded": Rescue(503, "proxy", "A limit is reached", 1),
    "draining": Rescue(503, "proxy", "The proxy is shutting down", 1),
    "upstream_protocol": Rescue(502, "backend", "The backend's answer is not valid HTTP"),
    "upstream_closed": Rescue(502, "backend", "The backend closed before it answered"),
    "upstream_timeout": Rescue(504, "backend", "The backend did not answer in time"),
    "truncated": Rescue(502, "backend", "The backend's answer broke off"),
    "client_gone": Rescue(499, "client", "The client left"),
    "filter_failed": Rescue(500, "proxy", "A filter failed"),
    "key_missing": Rescue(400, "client", "A key that this route needs is missing"),
    "key_mismatch": Rescue(422, "client", "The idempotency key was used for another request"),
    "key_in_flight": Rescue(409, "client", "The first request with this idempotency key is still running", 1),
    "key_consumed": Rescue(409, "client", "The idempotency key was used, and its answer was not kept"),
    "outcome_unknown": Rescue(409, "proxy", "The outcome of the first request with this key is unknown"),
    "key_expired": Rescue(409, "client", "The idempotency key has expired"),
    "store_down": Rescue(503, "proxy", "The ledger cannot be reached", 1),
    "shadow_refused": Rescue(403, "proxy", "A shadow may not run this call"),
}


class _Problem(msgspec.Struct):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    reason: str
    request_id: str


def status_of(failure: Failure) -> int:
    """The status that the client sees."""
    return failure.status or RESCUES[failure.reason].status


def problem(failure: Failure, request_id: bytes) -> Response:
    """The local answer for a failure. Its id header is added with that of every other answer."""
    rescue = RESCUES[failure.reason]
    status = status_of(failure)
    body = _Problem(
        type="about:blank",
        title=rescue.title,
        status=status,
        detail=failure.detail,
        reason=failure.reason,
        request_id=request_id.decode("ascii"),
    )
    headers = [(b"content-type", b"application/problem+json")]
    if rescue.retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % rescue.retry_after_s))
    return Response(status, headers, content=msgspec.json.encode(body), local=True)
