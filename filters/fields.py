"""What a configured header may be called and what it may say: shared by every filter that writes headers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .matching import TOKEN, Mistakes
from .units import FieldValue, SecretRef

FRAMING = frozenset(
    {
        "connection",
        "content-length",
        "expect",
        "host",
        "http2-settings",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Field names that belong to the connection or to the message's framing: the proxy writes them, no filter does."""

_CONTROLS = frozenset(map(chr, (*range(0x20), 0x7F))) - {"\t"}


def set_mistakes(values: Mapping[str, FieldValue], *path: str | int) -> Mistakes:
    """What is wrong with a `name: value` map of headers to set or append. A value is never repeated in the text."""
    found: Mistakes = []
    for name, value in values.items():
        found += [((*path, name), text) for text in name_texts(name)]
        if isinstance(value, SecretRef):
            found += [((*path, name, *inner), text) for inner, text in value.mistakes()]
        elif text := value_text(value):
            found.append(((*path, name), text))
    return found + [((*path, name), text) for name, text in twice_texts(values)]


def remove_mistakes(names: Iterable[str], *path: str | int) -> Mistakes:
    """What is wrong with a list of headers to remove."""
    return [((*path, at), text) for at, name in enumerate(names) for text in name_texts(name)]


def name_texts(name: str) -> list[str]:
    """What is wrong with the name of a header that a filter writes or removes (RFC 9110 section 5.1)."""
    if not name:
        return ["a header needs a name"]
    if not TOKEN.issuperset(name):
        return [f"{name!r} is no header name: letters, digits and !#$%&'*+-.^_`|~ are allowed"]
    if name.lower() in FRAMING:
        return [f"{name} belongs to the connection or the framing, which the proxy writes itself"]
    if name.lower().replace("_", "-").startswith("x-understudy-"):
        return [f"{name} is one of the proxy's own headers; use another name"]
    return []


def value_text(value: str) -> str | None:
    """What is wrong with a header's value, or None. RFC 9110 section 5.5: no CR, LF, NUL; no other control but tab."""
    if not _CONTROLS.isdisjoint(value):
        return "has a line break, NUL or another control character, which could inject a header; allowed: visible text"
    if value != value.strip(" \t"):
        return "begins or ends with a blank, which no recipient would see; allowed: visible text"
    return None


def twice_texts(names: Iterable[str]) -> list[tuple[str, str]]:
    """Names that are the same header in another case, each with what is wrong."""
    seen: dict[str, str] = {}
    found = []
    for name in names:
        first = seen.setdefault(name.lower(), name)
        if first != name:
            found.append((name, f"is the same header as {first}; keep one"))
    return found


def lines(values: Mapping[str, FieldValue]) -> list[tuple[bytes, bytes]]:
    """Field lines, lower-case name and value, ready to send.

    Raises ValueError, without the value, for a secret that no header can carry.
    """
    found = []
    for name, value in values.items():
        if isinstance(value, SecretRef):
            raise ValueError(f"{name}: the reference was not resolved")
        if text := value_text(value):
            raise ValueError(f"{name}: the value {text}")
        found.append((name.lower().encode(), value.encode()))
    return found
