"""How a backend wants to be asked: its path and the top-level fields of a JSON body. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from ..config.snapshot import PathRewrite
from ..filters.api import Failure, Request

_Fields = dict[str, msgspec.Raw]


def rewritten_target(rewrite: PathRewrite, request: Request) -> bytes:
    """The target with the prefix replaced; as it came where the prefix does not stand on a segment border."""
    path, prefix = request.path, rewrite.prefix
    if not path.startswith(prefix):
        return request.target
    rest = path[len(prefix) :]
    if rest and not rest.startswith(b"/") and not prefix.endswith(b"/"):
        return request.target
    rewritten = (rewrite.to + rest) or b"/"
    return rewritten + b"?" + request.query if b"?" in request.target else rewritten


def rewritten_json(values: Mapping[str, Any], request: Request, content: bytes) -> bytes:
    """The body with these top-level fields replaced; every other value keeps its very bytes.

    A body that is no JSON object goes on as it came: the backend says what is wrong with it. Raises Failure with
    status 415 for a compressed body, which would silently reach the wrong model.
    """
    if not content or b"json" not in (request.get(b"content-type") or b"json").lower():
        return content
    if (request.get(b"content-encoding") or b"identity").lower() != b"identity":
        raise Failure("bad_request", "this backend's JSON fields are rewritten: send the body uncompressed", status=415)
    try:
        fields = msgspec.json.decode(content, type=_Fields)
    except msgspec.MsgspecError:
        return content
    for name, value in values.items():
        fields[name] = msgspec.Raw(msgspec.json.encode(value))
    return msgspec.json.encode(fields)
