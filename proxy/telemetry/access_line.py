"""One line of the access log from what a worker told of an exchange: JSON, or by a template.

Whatever a client wrote, a line stays one line of printable ASCII: in JSON everything else is escaped as JSON does it,
in a template as `\\xNN`, the quotation mark and the backslash too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias

import msgspec
from msgspec import UNSET, UnsetType

from ...config.log_line import HEADER, JSON, Piece, pieces
from ...config.schema import AccessLogPart
from ..iso_time import time_text
from .records import ToldCall, ToldExchange

Render: TypeAlias = Callable[[ToldExchange], bytes]
"""A line with its end."""


class ShadowLine(msgspec.Struct):
    """A copy, in JSON."""

    backend: str
    version: str
    status: int
    outcome: str
    first_byte_ms: float | None
    total_ms: float | None


class Line(msgspec.Struct):
    """A line, in JSON; what is UNSET is left out."""

    time: str
    request_id: str
    trace_id: str | UnsetType
    method: str
    path: str
    http_version: str
    status: int
    reason: str
    route: str
    flags: dict[str, str] | UnsetType
    experiment: str | UnsetType
    arm: str | UnsetType
    backend: str
    version: str
    endpoint: str
    first_byte_ms: float | None
    total_ms: float
    request_bytes: int
    response_bytes: int
    client: str
    resent: int
    shadows: list[ShadowLine] | UnsetType
    time_to_first_token_ms: float | UnsetType | None
    time_per_output_chunk_ms: float | UnsetType | None
    output_chunks: int | UnsetType
    headers: dict[str, str] | UnsetType


def renderer(part: AccessLogPart) -> Render:
    """How each line is made. Raises ValueError for a template that no valid document has."""
    names = tuple(name.lower() for name in part.headers)
    if part.format == JSON:
        return lambda told: _json(line_of(told, names))
    parts = pieces(part.format, part.headers)
    return lambda told: _filled(parts, line_of(told, names))


def line_of(told: ToldExchange, names: Sequence[str]) -> Line:
    """What a line says; `names` are the request fields that it may hold, in lower case."""
    calls = [call for call in told.calls if call.role == "live"]
    live = calls[-1] if calls else None
    stream = live.stream if live is not None else None
    headers = {name: told.fields[name] for name in names if name in told.fields}
    shadows = [_shadow(call) for call in told.calls if call.role == "shadow"]
    return Line(
        time=time_text(told.began_s),
        request_id=told.request_id,
        trace_id=told.trace_id if told.traced else UNSET,
        method=told.method,
        path=told.path.partition("?")[0],  # a query is told to nobody
        http_version=told.http_version,
        status=told.status,
        reason=told.reason,
        route=told.route,
        flags={flag.key: flag.variant for flag in told.flags} or UNSET,
        experiment=told.experiment or UNSET,
        arm=told.arm or UNSET,
        backend=live.backend if live is not None else "",
        version=live.version if live is not None else "",
        endpoint=live.endpoint if live is not None else "",
        first_byte_ms=_rounded(told.first_byte_ms),
        total_ms=round(told.total_ms, 3),
        request_bytes=told.request_bytes,
        response_bytes=told.response_bytes,
        client=told.client,
        resent=max(live.resent, len(calls) - 1) if live is not None else 0,
        shadows=shadows or UNSET,
        time_to_first_token_ms=_rounded(stream.first_token_ms) if stream is not None else UNSET,
        time_per_output_chunk_ms=_rounded(stream.per_chunk_ms) if stream is not None else UNSET,
        output_chunks=stream.chunks if stream is not None else UNSET,
        headers=headers or UNSET,
    )


def _shadow(call: ToldCall) -> ShadowLine:
    first_byte_ms = None if call.first_byte_ms is None else round(call.first_byte_ms - call.start_ms, 3)
    total_ms = round(call.end_ms - call.start_ms, 3) if call.span_id and call.outcome != "pending" else None
    return ShadowLine(call.backend, call.version, call.status, call.outcome, first_byte_ms, total_ms)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


_encode: Final = msgspec.json.Encoder().encode


def _json(line: Line) -> bytes:
    text = _encode(line)
    if not text.isascii():  # rare: what the client wrote; terminals and readers of lines know other line ends
        text = json.dumps(json.loads(text), separators=(",", ":")).encode()
    return text.replace(b"\x7f", b"\\u007f") + b"\n"


def _filled(parts: Sequence[Piece], line: Line) -> bytes:
    filled = []
    for text, field in parts:
        filled.append(text)
        if field.startswith(HEADER):
            filled.append(_escaped(line.headers.get(field.removeprefix(HEADER).lower(), "") if line.headers else ""))
        elif field:
            filled.append(_escaped(_text(getattr(line, field))))
    return "".join(filled).encode() + b"\n"


def _text(value: object) -> str:
    """A field of `Line` as a template has it."""
    if isinstance(value, Mapping):
        return ",".join(f"{key}={variant}" for key, variant in value.items())
    if isinstance(value, list):
        return ",".join(map(_shadow_text, value))
    return "" if value is None or value is UNSET else str(value)


def _shadow_text(shadow: ShadowLine) -> str:
    name = f"{shadow.backend}@{shadow.version}" if shadow.version else shadow.backend
    return f"{name}:{shadow.status}:{shadow.outcome}:{'-' if shadow.total_ms is None else shadow.total_ms}"


_ESCAPES: Final = {code: f"\\x{code:02x}" for code in (*range(0x20), 0x22, 0x5C, 0x7F)}


def _escaped(text: str) -> str:
    """What cannot end a line, close a quotation, or speak to a terminal; "-" for nothing."""
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return text or "-"
    if not text.isascii():
        return "".join(_escaped(each) if each.isascii() else _bytes_text(each) for each in text)
    return text.translate(_ESCAPES) or "-"


def _bytes_text(text: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in text.encode(errors="surrogatepass"))
