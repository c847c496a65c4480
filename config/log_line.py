"""What a line of the access log can hold, and templates of lines. Pure; proxy/telemetry/access_line.py fills them."""

from __future__ import annotations

from collections.abc import Iterable
from string import Formatter
from typing import Final, NamedTuple

from ..filters.matching import TOKEN

JSON: Final = "json"
FIELDS: Final = (
    "time", "request_id", "trace_id", "method", "path", "http_version", "status", "reason", "route", "flags",
    "experiment", "arm", "backend", "version", "endpoint", "first_byte_ms", "total_ms", "request_bytes",
    "response_bytes", "client", "resent", "shadows", "time_to_first_token_ms", "time_per_output_chunk_ms",
    "output_chunks",
)  # fmt: skip
"""By their names in JSON, in their order; a template has them by the same names."""
HEADER: Final = "headers."
"""Before the name of a request field, in a template."""


class Piece(NamedTuple):
    """Text as it is, and then a field; "" at the end."""

    text: str
    field: str


def pieces(template: str, headers: Iterable[str]) -> list[Piece]:
    """The parts of a template, in their order. `headers` are the names that the access log may hold.

    Raises ValueError, saying what is wrong and what is allowed.
    """
    if not template.isprintable():
        raise ValueError("has a line break or another character that cannot be printed; a line must stay one line")
    try:
        parsed = list(Formatter().parse(template))
    except ValueError:
        raise ValueError("has a brace without its other half; write {{ or }} for a brace itself") from None
    named = {name.lower() for name in headers}
    found = []
    for text, field, form, conversion in parsed:
        if field is not None:
            _check(field, form, conversion, named)
        found.append(Piece(text, field or ""))
    if not any(piece.field for piece in found):
        raise ValueError(f"names no field, and would say the same of every request; allowed: json, or {_allowed()}")
    return found


def name_mistakes(headers: tuple[str, ...]) -> Iterable[tuple[int, str]]:
    """What is wrong with the names of the fields that lines carry, by their place."""
    seen: dict[str, str] = {}
    for at, name in enumerate(headers):
        if not name or not TOKEN.issuperset(name):
            yield at, f"{name!r} is no header name: letters, digits and !#$%&'*+-.^_`|~ are allowed"
        elif (first := seen.setdefault(name.lower(), name)) != name or headers.index(name) != at:
            yield at, f"is the same header as {first}; keep one"


def _check(field: str, form: str | None, conversion: str | None, named: set[str]) -> None:
    if form or conversion:
        raise ValueError(f"{{{field}}} is given a form, which no field takes; write {{{field}}}")
    if field.startswith(HEADER):
        name = field.removeprefix(HEADER)
        if name.lower() not in named:
            raise ValueError(f"{{{field}}} is not among access_log.headers; name it there too: headers: [{name}]")
    elif field not in FIELDS:
        raise ValueError(f"{{{field}}} is no field; allowed: {_allowed()}")


def _allowed() -> str:
    return ", ".join(f"{{{name}}}" for name in FIELDS) + f" and {{{HEADER}NAME}}"
