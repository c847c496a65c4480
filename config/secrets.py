"""Secrets by reference: found, read, and put in their places when a snapshot is compiled. Values reach no message."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from typing import Any

import msgspec

from ..filters.units import SecretRef
from .paths import Path

MAX_BYTES = 64 * 1024
"""The most that a secret's file may hold."""


def absolute(path: str, base: str) -> str:
    """A path of the configuration: relative to the folder that holds its file."""
    return os.path.normpath(os.path.join(base, path))


def find(value: Any, path: Path = ()) -> Iterator[tuple[Path, SecretRef]]:
    """Every reference inside a struct, a map or a list, with its path."""
    if isinstance(value, SecretRef):
        yield path, value
    elif isinstance(value, msgspec.Struct):
        for attribute, name in _fields(type(value)):
            inner = getattr(value, attribute)
            if isinstance(inner, _CONTAINERS):
                yield from find(inner, (*path, name))
    elif isinstance(value, dict):
        for key, inner in value.items():
            if isinstance(inner, _CONTAINERS):
                yield from find(inner, (*path, key))
    elif isinstance(value, tuple):
        for at, inner in enumerate(value):
            if isinstance(inner, _CONTAINERS):
                yield from find(inner, (*path, at))


def read(ref: SecretRef, base: str) -> str:
    """The secret itself. Raises ValueError with what is wrong, never with the value."""
    if ref.env is not None:
        value = os.environ.get(ref.env)
        if value is None:
            raise ValueError(f"the environment has no variable {ref.env}")
    else:
        value = _read_file(absolute(ref.file or "", base), ref.file or "")
    if not value:
        raise ValueError("the secret is empty")
    return value


def resolved(value: Any, base: str) -> Any:
    """The same struct, map or list with every reference replaced by its secret. Raises ValueError as `read` does."""
    if isinstance(value, SecretRef):
        return read(value, base)
    if isinstance(value, msgspec.Struct):
        if next(find(value), None) is None:
            return value
        changed = {name: resolved(getattr(value, name), base) for name, _ in _fields(type(value))}
        return msgspec.structs.replace(value, **changed)
    if isinstance(value, dict):
        return {key: resolved(inner, base) for key, inner in value.items()}
    if isinstance(value, tuple):
        return tuple(resolved(inner, base) for inner in value)
    return value


def _read_file(path: str, written: str) -> str:
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no path can hold NUL"
        raise ValueError(f"the file {written} cannot be read: {reason}") from None
    if len(data) > MAX_BYTES:
        raise ValueError(f"the file {written} is larger than {MAX_BYTES // 1024} KiB")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise ValueError(f"the file {written} is no UTF-8 text") from None
    return text.removesuffix("\n").removesuffix("\r")


_CONTAINERS = (msgspec.Struct, dict, tuple)


@cache
def _fields(kind: type[msgspec.Struct]) -> tuple[tuple[str, str], ...]:
    return tuple((field.name, field.encode_name) for field in msgspec.structs.fields(kind))
