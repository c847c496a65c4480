"""Values with a unit or a form of their own, usable as field types of configuration structs.

msgspec asks `dec_hook` for a `Duration` or a `Size` and `enc_hook` for its text, so that a configuration travels
between processes as it was written.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Self, TypeAlias

import msgspec

_FORM = re.compile(r"([0-9]{1,16})([A-Za-z]+)")  # noqa: TID251 - a constant pattern over one short word


class Duration(float):
    """Seconds. In YAML `1500ms`, `10s`, `2m`, `24h`, or a plain `0`, which means none."""

    __slots__ = ()

    allowed = "a duration such as 1500ms, 10s, 2m or 24h, or 0"
    _units_ms = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000}  # noqa: RUF012 - never written to
    _most_ms = 87_600 * 3_600_000  # ten years: a longer one is a slip of the pen

    @classmethod
    def parse(cls, value: object) -> Self:
        """Read the YAML form. Raises ValueError with what is allowed."""
        amount_ms = _parse(value, cls._units_ms, cls.allowed)
        if amount_ms > cls._most_ms:
            raise ValueError(f"at most {cls._most_ms // 3_600_000}h")
        return cls(amount_ms / 1_000)

    def __str__(self) -> str:
        """The shortest YAML form of the same value."""
        return _format(round(self * 1_000), self._units_ms)


class Size(int):
    """Bytes. In YAML `512B`, `64KiB`, `8MiB`, `1MB`, `1GiB`, or a plain `0`."""

    __slots__ = ()

    allowed = "a size such as 512B, 64KiB, 8MiB, 1MB or 1GiB, or 0"
    _units_bytes = {  # noqa: RUF012 - never written to
        "B": 1,
        "KB": 1_000,
        "KiB": 1 << 10,
        "MB": 1_000_000,
        "MiB": 1 << 20,
        "GB": 1_000_000_000,
        "GiB": 1 << 30,
    }
    _most_bytes = 1 << 50

    @classmethod
    def parse(cls, value: object) -> Self:
        """Read the YAML form. Raises ValueError with what is allowed."""
        amount_bytes = _parse(value, cls._units_bytes, cls.allowed)
        if amount_bytes > cls._most_bytes:
            raise ValueError(f"at most {cls._most_bytes >> 30}GiB")
        return cls(amount_bytes)

    def __str__(self) -> str:
        """The shortest YAML form of the same value."""
        return _format(int(self), self._units_bytes)


def _parse(value: object, units: dict[str, int], allowed: str) -> int:
    if type(value) is int and value == 0:
        return 0
    match = _FORM.fullmatch(value) if isinstance(value, str) else None
    if match is None or match[2] not in units:
        raise ValueError(allowed)
    return int(match[1]) * units[match[2]]


def _format(amount: int, units: dict[str, int]) -> str:
    if amount == 0:
        return "0"
    whole = [f"{amount // size}{unit}" for unit, size in units.items() if amount % size == 0]
    return min(whole, key=len)


class SecretRef(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A value kept out of the file: `{env: NAME}` or `{file: PATH}`, exactly one of them.

    A path is relative to the configuration file; one trailing line break of the file is dropped. The value is read
    when a snapshot is compiled, before any filter is built: a filter finds a `str` where the YAML held a reference.
    """

    env: str | None = None  # the environment variable that holds it
    file: str | None = None  # the file that holds it

    def mistakes(self) -> list[tuple[tuple[str | int, ...], str]]:
        """Not exactly one source."""
        if (self.env is None) == (self.file is None):
            return [((), "must hold exactly one of env and file")]
        if not (self.env or self.file):
            return [((), "must not be empty")]
        return []


FieldValue: TypeAlias = str | SecretRef
"""A header's value in YAML: the text itself, or a reference to a secret."""

Percent: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=100)]
"""0 to 100."""

Fraction: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=1)]
"""0 to 1."""

Count: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)]
"""A limit that must let something through."""


def dec_hook(kind: type, value: Any) -> Any:
    """Build a `Duration` or `Size` from its YAML form, for msgspec. Raises ValueError with what is allowed."""
    if kind is Duration or kind is Size:
        return kind.parse(value)
    raise NotImplementedError(kind)


def enc_hook(value: Any) -> Any:
    """The YAML form of a `Duration` or `Size`, for msgspec."""
    if isinstance(value, Duration | Size):
        return str(value) if value else 0
    raise NotImplementedError(type(value))
