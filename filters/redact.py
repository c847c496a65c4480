"""What may be shown of a filter's configuration: secrets never. `config/redact.py` does so for a whole document."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from .matching import Condition, ValueMatch
from .units import SecretRef

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
_OPERATORS = ("equals", "one_of", "prefix", "suffix", "contains", "regex")


class _Reference(SecretRef, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """As it was written: the source that it does not have is left out."""


class Redaction:
    """A copy of typed values with a stand-in for every literal secret; what holds none is not copied. No mutable state.

    Hidden are fields whose names speak of secrets, what a condition compares such a field or any cookie with, and
    passwords in URLs; references (`{env: …}`, `{file: …}`) stay.
    """

    def __init__(self, stand_in: Callable[[str], str] = lambda secret: HIDDEN) -> None:
        self._stand_in = stand_in

    def shown(self, value: Any) -> Any:
        """The value as it may be shown."""
        if isinstance(value, str):
            return without_login(value, self._stand_in)
        if isinstance(value, tuple):
            return tuple(self.shown(each) for each in value)
        if isinstance(value, dict):
            return {name: self.shown(each) for name, each in value.items()}
        if isinstance(value, SecretRef):
            return _Reference(env=value.env, file=value.file)
        if not isinstance(value, msgspec.Struct):
            return value
        parts = {name: getattr(value, name) for name in value.__struct_fields__}
        shown_parts = {name: self.field(value, name, part) for name, part in parts.items()}
        changes = {name: part for name, part in shown_parts.items() if part != parts[name]}
        shown = msgspec.structs.replace(value, **changes) if changes else value  # so that defaults are known as such
        return self.hidden(shown) if isinstance(value, Condition) and _is_about_secret(value) else shown

    def field(self, owner: msgspec.Struct, name: str, value: Any) -> Any:
        """One field of a struct, as it may be shown."""
        if name not in _FIELD_MAPS or not isinstance(value, dict):
            return self.shown(value)
        every = name == "cookies"
        return {key: self.hidden(each) if every or is_secret(key) else self.shown(each) for key, each in value.items()}

    def hidden(self, value: Any) -> Any:
        """All that it says is secret, not what it is about."""
        if isinstance(value, ValueMatch):
            return msgspec.structs.replace(value, **{name: self.hidden(getattr(value, name)) for name in _OPERATORS})
        if isinstance(value, dict):
            return {name: self.hidden(each) for name, each in value.items()}
        if isinstance(value, tuple | list):
            return type(value)(map(self.hidden, value))
        if isinstance(value, str):
            return self._stand_in(value)
        return self._stand_in(str(value)) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _is_about_secret(condition: Condition) -> bool:
    subjects = (condition.header, condition.query)
    return condition.cookie is not None or any(is_secret(each) for each in subjects if each)


def without_login(text: str, stand_in: Callable[[str], str]) -> str:
    """A URL with a stand-in for user and password: for all before the last @, since a password may be written with any
    character, and the URL be none for that."""
    scheme, separator, rest = text.partition("://")
    login, _, place = rest.rpartition("@")
    return f"{scheme}://{stand_in(login)}@{place}" if separator and login else text


def is_secret(name: str) -> bool:
    """Whether a field of this name may hold a secret."""
    return any(word in name.lower() for word in _SECRET_WORDS)
