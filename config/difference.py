"""What changes between two configurations: for a program as plain values, for a person in words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from .wording import printable

_SHOWN = 200
_SIGNS = {"added": "+", "removed": "-", "changed": "~", "moved": ">"}


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that changes. What has a name in its list is named so: routes, iris, split, arms."""

    kind: Literal["added", "removed", "changed", "moved"]
    path: tuple[str, ...]
    old: Any = None  # plain values, None where there is none
    new: Any = None
    notes: tuple[str, ...] = ()  # what it brings about
    warning: bool = False  # whether it brings about what one may not have meant


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """All that changes, in the order of the document."""

    schema: str = "understudy.diff/1"
    old: str  # the hash of the document
    new: str
    epoch: str | None  # why comparisons begin anew; None: they go on
    changes: tuple[Change, ...]

    def words(self) -> str:
        """For a person: a line for each change, what it brings about beneath."""
        return "\n".join(_words(self))


def changed(path: tuple[str, ...], old: Any, new: Any, *notes: str, warning: bool = False) -> Change:
    """A value that is another one; added or removed where one of them is None."""
    kind: Literal["added", "removed", "changed"] = "added" if old is None else "removed" if new is None else "changed"
    return Change(kind=kind, path=path, old=old, new=new, notes=notes, warning=warning)


def moved(path: tuple[str, ...], *notes: str) -> Change:
    """What stands elsewhere in its list."""
    return Change(kind="moved", path=path, notes=notes)


def _words(difference: Difference) -> Iterator[str]:
    if not difference.changes:
        both = {difference.old[:6]: None, difference.new[:6]: None}  # a default that is written out counts in a hash
        yield f"no difference ({' and '.join(both)})"
        return
    yield f"{difference.old[:6]} -> {difference.new[:6]}"
    for change in difference.changes:
        yield printable(f"{'!' if change.warning else _SIGNS[change.kind]} {'.'.join(change.path)}{_values(change)}")
        yield from (printable(f"    {note}") for note in change.notes)
    if difference.epoch is not None:
        yield f"a new epoch begins in every comparison ({difference.epoch})"


def _values(change: Change) -> str:
    if change.kind == "moved":
        return ""
    if change.kind == "changed":
        return f": {_value(change.old)} -> {_value(change.new)}"
    return f": {_value(change.new if change.kind == 'added' else change.old)}"


def _value(value: Any) -> str:
    text = value if isinstance(value, str) and value.isprintable() and value else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
