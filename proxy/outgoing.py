"""A request as one backend wants to be asked: trace, authority and the top-level fields of a JSON body. Pure.

Its target is what `target_of` in config/snapshot.py says: `explain` tells it, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from ..config.snapshot import Backend, Endpoint
from ..filters.api import Failure, Headers, Request, Response
from .trace import Context

_Fields = dict[str, msgspec.Raw]
_LONGEST_HOPS = 9


def trace_headers(spans: Context, span_id: bytes) -> Headers:
    """The trace context of one call: its own span is the parent of the backend's."""
    headers = [(b"traceparent", b"00-%b-%b-%b" % (spans.trace_id, span_id, spans.flags))]
    if spans.carried:
        headers += spans.carried
    return headers


def outgoing_authority(backend: Backend, endpoint: Endpoint, request: Request) -> bytes:
    """The Host: the client's, the endpoint's own or a configured name. An HTTP/1.0 client may have sent none."""
    if backend.host == "keep":
        return request.authority or endpoint.authority
    return endpoint.authority if isinstance(backend.host, str) else backend.host


def rewritten_json(values: Mapping[str, Any], request: Request, content: bytes) -> bytes:
    """The body with these top-level fields replaced; every other value keeps its very bytes.

    A body that is no JSON object goes on as it came: the backend says what is wrong with it. Raises Failure for what
    would silently reach the wrong model: with status 415 for a compressed body, for one that nests too deeply to read.
    """
    if not content or b"json" not in (request.get(b"content-type") or b"json").lower():
        return content
    if (request.get(b"content-encoding") or b"identity").lower() != b"identity":
        raise Failure("bad_request", "this backend's JSON fields are rewritten: send the body uncompressed", status=415)
    try:
        fields = msgspec.json.decode(content, type=_Fields)
    except RecursionError:
        raise Failure("bad_request", "this backend's JSON fields are rewritten: the body nests too deeply") from None
    except msgspec.MsgspecError:
        return content
    for name, value in values.items():
        fields[name] = msgspec.Raw(msgspec.json.encode(value))
    return msgspec.json.encode(fields)


def last_answer(request: Request) -> Response | None:
    """Count the Max-Forwards of OPTIONS and TRACE down (RFC 9110 section 7.6.2); at 0 the answer is ours to give.

    Raises Failure for a value that is no number. As a last recipient we know no methods, and reflect no TRACE.
    """
    left = request.get(b"max-forwards")
    if left is None:
        return None
    if not left.isdigit() or len(left) > _LONGEST_HOPS:
        raise Failure("bad_request", "max-forwards is not a number")
    if int(left) > 0:
        request.set(b"max-forwards", b"%d" % (int(left) - 1))
        return None
    if request.method == b"OPTIONS":
        return Response(200, [], local=True)
    return Response(405, [(b"allow", b"OPTIONS")], local=True)
