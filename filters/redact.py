"""A configuration as it may be shown: secrets never."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

HIDDEN = "(hidden)"
_SECRET_WORDS = (
    "auth",
    "cookie",
    "token",
    "secret",
    "passw",
    "credential",
    "api-key",
    "apikey",
    "api_key",
    "signature",
)
_FIELD_MAPS = frozenset({"headers", "cookies", "query", "set_headers", "set", "append", "json"})
_OPERATORS = frozenset({"equals", "in", "prefix", "suffix", "contains", "regex"})


def redacted(value: Any) -> Any:
    """A copy of plain values in which literal secrets are replaced; references (`{env: …}`, `{file: …}`) stay.

    Hidden are fields whose names speak of secrets, what a condition compares such a field with, the headers of the
    OTLP export, and passwords in URLs.
    """
    return _any(value, hide=False, in_map=False)


def _any(value: Any, *, hide: bool, in_map: bool) -> Any:
    if isinstance(value, dict):
        if is_reference(value):
            return {name: each for name, each in value.items() if each is not None}
        return _map(value, hide=hide, in_map=in_map)
    if isinstance(value, list | tuple):
        return [_any(each, hide=hide, in_map=False) for each in value]
    if isinstance(value, str):
        return HIDDEN if hide else _without_password(value)
    return value


def _map(value: dict[str, Any], *, hide: bool, in_map: bool) -> dict[str, Any]:
    subject = value.get("header") or value.get("query")
    about_secret = "cookie" in value or (isinstance(subject, str) and _is_secret(subject))
    shown: dict[str, Any] = {}
    for name, each in value.items():
        secret = (in_map and _is_secret(name)) or (about_secret and name in _OPERATORS)
        if name == "otlp" and isinstance(each, dict) and "headers" in each:
            shown[name] = _any(each, hide=False, in_map=False) | {"headers": dict.fromkeys(each["headers"], HIDDEN)}
        else:
            shown[name] = _any(each, hide=hide or secret or name == "cookies", in_map=name in _FIELD_MAPS)
    return shown


def is_reference(value: dict[str, Any]) -> bool:
    """Whether this is `{env: NAME}` or `{file: PATH}`, the absent one left out or None."""
    return bool(value) and value.keys() <= {"env", "file"}


def _is_secret(name: str) -> bool:
    return any(word in name.lower() for word in _SECRET_WORDS)


def _without_password(text: str) -> str:
    if "://" not in text or "@" not in text:
        return text
    try:
        parts = urlsplit(text)
    except ValueError:
        return HIDDEN
    place = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=f"{HIDDEN}@{place}").geturl() if parts.netloc != place else text
