"""One line of the access log as text: JSON, or by a template.

Whatever a client wrote, a line stays one line of printable ASCII: in JSON everything else is escaped as JSON does it,
in a template as `\\xNN`, the quotation mark and the backslash too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias

import msgspec
from msgspec import UNSET

from ...config.log_line import HEADER, JSON, Piece, pieces
from ...config.schema import AccessLogPart
from .records import Line, ShadowLine

Render: TypeAlias = Callable[[Line], bytes]
"""Makes the text of a line, with its end."""


def renderer(part: AccessLogPart) -> Render:
    """How each line is made. Raises ValueError for a template that no valid document has."""
    names = tuple(name.lower() for name in part.headers)
    if part.format == JSON:
        return lambda line: _json(_with_fields(line, names))
    parts = pieces(part.format, part.headers)
    return lambda line: _filled(parts, line)


def _with_fields(line: Line, names: Sequence[str]) -> Line:
    """The line with these request fields and no others."""
    told = line.headers
    if told:
        line.headers = {name: told[name] for name in names if name in told} or UNSET
    return line


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
