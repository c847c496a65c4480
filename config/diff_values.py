"""What changes inside values of one kind, and in lists whose order decides."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import msgspec

from ..filters.flags import BackendFrom
from ..filters.keys import Key
from ..filters.matching import Condition, Match
from ..filters.units import Duration, SecretRef, Size, enc_hook
from .difference import Change, changed, moved

Part = TypeVar("Part")

_WHOLE = (Match, Condition, SecretRef, Key, BackendFrom)
"""Told as a whole: their parts make no sense alone."""


def values(path: tuple[str, ...], old: Any, new: Any) -> Iterator[Change]:
    """The changes inside two values of one kind."""
    if old == new:
        return
    if isinstance(old, msgspec.Struct) and type(old) is type(new) and not isinstance(old, _WHOLE):
        for field in msgspec.structs.fields(type(old)):
            yield from values((*path, field.encode_name), getattr(old, field.name), getattr(new, field.name))
    elif isinstance(old, dict) and isinstance(new, dict):
        for key in (*old, *(key for key in new if key not in old)):
            yield from values((*path, key), old.get(key), new.get(key))
    else:
        note = ("a new epoch begins in every comparison",) if path[0] == "backends" and path[-1] == "version" else ()
        yield changed(path, plain(old), plain(new), *note)


def plain(value: Any) -> Any:
    """As it stands in the YAML, defaults left out."""
    if isinstance(value, Duration | Size):
        return enc_hook(value)
    return _tidy(msgspec.to_builtins(value, enc_hook=enc_hook))


def _tidy(value: Any) -> Any:
    """Whole numbers without their point."""
    if isinstance(value, dict):
        return {name: _tidy(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_tidy(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def in_order(
    path: tuple[str, ...],
    before: Mapping[str, Part],
    after: Mapping[str, Part],
    rule: str,
    inside: Callable[[tuple[str, ...], Part, Part], Iterator[Change]],
    told: Callable[[Part], Any] = plain,
) -> Iterator[Change]:
    """The changes of a list whose order decides, as `rule` says: what left it, came into it or moved, and what changes
    `inside` the parts that stay. Parts that come and go are `told` as values."""
    for name, part in before.items():
        if name not in after:
            yield changed((*path, name), told(part), None)
    strayed = out_of_order(list(before), list(after))
    for name, part in after.items():
        if name not in before:
            yield changed((*path, name), None, told(part), place(name, list(after)))
            continue
        if name in strayed:
            yield moved((*path, name), f"{place(name, list(after))}; {rule}")
        if before[name] != part:
            yield from inside((*path, name), before[name], part)


def place(name: str, names: list[str]) -> str:
    """Where a name stands in its list."""
    at = names.index(name)
    return f"stands behind {names[at - 1]}" if at else "stands first"


def out_of_order(old: list[str], new: list[str]) -> set[str]:
    """The fewest names that must have moved, of those in both lists: all but a longest increasing subsequence."""
    at = {name: position for position, name in enumerate(old)}
    both = [name for name in new if name in at]
    lowest: list[int] = []  # the lowest position in `old` at which a run of each length ends,
    ends: list[int] = []  # and where it ends in `both`
    former: list[int] = []
    for index, name in enumerate(both):
        length = bisect_left(lowest, at[name])
        former.append(ends[length - 1] if length else -1)
        lowest[length : length + 1] = [at[name]]
        ends[length : length + 1] = [index]
    kept: set[str] = set()
    index = ends[-1] if ends else -1
    while index >= 0:
        kept.add(both[index])
        index = former[index]
    return set(both) - kept
