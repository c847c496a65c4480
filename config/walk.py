"""Every mistake of form at once: walks plain values along msgspec's own description of the types.

msgspec stops at the first wrong value. This walk runs only when it has stopped: it notes each wrong value with its path
and puts a stand-in in its place, so that what is right can still be converted and checked for meaning.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Sized
from datetime import date
from functools import cache
from typing import Any, NamedTuple

import msgspec
from msgspec import inspect as types

from .paths import Path
from .wording import describe_field, did_you_mean, listed, quoted, refusal, shown


class Walked(NamedTuple):
    """What a walk found: the mistakes, and a value that the type can be built from."""

    mistakes: list[tuple[Path, str]]
    repaired: Any
    made_up: set[Path]  # where a stand-in replaces a whole map: nothing beneath is the operator's


def walk(value: Any, kind: type) -> Walked:
    """Check plain values (None, bool, int, float, str, list, dict with str keys) against a msgspec type."""
    walker = _Walker()
    repaired = walker.visit(value, _described(kind), ())
    return Walked(walker.mistakes, repaired, walker.made_up)


@cache
def _described(kind: type) -> types.Type:
    return types.type_info(kind)


class _Walker:
    """One walk. Mutable: what was found so far."""

    def __init__(self) -> None:
        self.mistakes: list[tuple[Path, str]] = []
        self.made_up: set[Path] = set()

    def visit(self, value: Any, kind: types.Type, path: Path) -> Any:
        """Note what is wrong beneath this path; return a value that fits."""
        options = kind.types if isinstance(kind, types.UnionType) else (kind,)
        chosen = next((each for each in options if _fits(value, each)), None)
        if chosen is None:
            self._note(path, refusal(value, options))
            return stand_in(kind)
        if isinstance(chosen, types.StructType):
            return self._struct(value, [each for each in options if isinstance(each, types.StructType)], path)
        if isinstance(chosen, types.DictType):
            return {key: self.visit(each, chosen.value_type, (*path, key)) for key, each in value.items()}
        if isinstance(chosen, types.ListType | types.VarTupleType):
            return [self.visit(each, chosen.item_type, (*path, at)) for at, each in enumerate(value)]
        if isinstance(chosen, types.TupleType):
            kinds = chosen.item_types
            return [self.visit(each, kinds[at], (*path, at)) for at, each in enumerate(value)]
        return value

    def _note(self, path: Path, text: str) -> None:
        self.mistakes.append((path, text))

    def _struct(self, value: dict[str, Any], options: Sequence[types.StructType], path: Path) -> Any:
        chosen = self._tagged(value, options, path) if options[0].tag_field is not None else options[0]
        if chosen is None:
            self.made_up.add(path)
            return stand_in(options[0])
        repaired: dict[str, Any] = {} if chosen.tag_field is None else {chosen.tag_field: chosen.tag}
        fields = {field.encode_name: field for field in chosen.fields}
        for key, each in value.items():
            if key in fields:
                self._field(each, fields[key], (*path, key), repaired)
            elif key != chosen.tag_field:
                self._note((*path, key), f"is no key here{did_you_mean(key, fields)}; allowed: {listed(fields)}")
        for key, field in fields.items():
            if field.required and key not in value:
                self._note((*path, key), f"is missing; needed: {describe_field(field.type)}")
                repaired[key] = stand_in(field.type)
        return repaired

    def _field(self, value: Any, field: types.Field, path: Path, repaired: dict[str, Any]) -> None:
        """An optional field that is wrong as a whole keeps its default."""
        before = len(self.mistakes)
        fitting = self.visit(value, field.type, path)
        if field.required or all(where != path for where, _ in self.mistakes[before:]):
            repaired[field.encode_name] = fitting

    def _tagged(
        self, value: dict[str, Any], options: Sequence[types.StructType], path: Path
    ) -> types.StructType | None:
        tag_field = str(options[0].tag_field)
        by_tag = {str(each.tag): each for each in options}
        tag = value.get(tag_field)
        if tag_field not in value:
            self._note((*path, tag_field), f"is missing; needed: {listed(by_tag)}")
        elif not isinstance(tag, str):
            self._note((*path, tag_field), f"{shown(tag)} is not allowed here; allowed: {listed(by_tag)}")
        elif tag not in by_tag:
            hint = did_you_mean(tag, by_tag)
            self._note((*path, tag_field), f"{quoted(tag)} is not allowed here{hint}; allowed: {listed(by_tag)}")
        else:
            return by_tag[tag]
        return None


def stand_in(kind: types.Type) -> Any:
    """The plainest value that a kind can be built from, in place of a wrong one."""
    return next((plainest(kind) for kinds, plainest in _PLAINEST if isinstance(kind, kinds)), None)


def _plainest_option(kind: Any) -> Any:
    if any(isinstance(each, types.NoneType) for each in kind.types):
        return None
    return stand_in(kind.types[0])


def _plainest_struct(kind: Any) -> dict[str, Any]:
    own = {} if kind.tag_field is None else {kind.tag_field: kind.tag}
    return own | {field.encode_name: stand_in(field.type) for field in kind.fields if field.required}


_PLAINEST: list[tuple[Any, Callable[[Any], Any]]] = [
    (types.UnionType, _plainest_option),
    (types.StructType, _plainest_struct),
    (types.TupleType, lambda kind: [stand_in(each) for each in kind.item_types]),
    ((types.ListType, types.VarTupleType), lambda kind: [stand_in(kind.item_type)] * (kind.min_length or 0)),
    (types.DictType, lambda kind: {}),
    (types.LiteralType, lambda kind: kind.values[0]),
    (types.StrType, lambda kind: "-" * (kind.min_length or 0)),
    (types.BoolType, lambda kind: False),
    ((types.IntType, types.FloatType), lambda kind: max(kind.ge or 0, (kind.gt or 0) + (kind.gt is not None))),
    (types.CustomType, lambda kind: 0),
    (types.DateType, lambda kind: "9999-12-31"),
]


def _fits(value: Any, kind: types.Type) -> bool:
    """Whether a value is of this kind; what is inside a map or a list is looked at later."""
    return next((fits(value, kind) for kinds, fits in _FITS if isinstance(kind, kinds)), False)


def _fits_number(value: Any, kind: Any) -> bool:
    numbers = int if isinstance(kind, types.IntType) else int | float
    return (
        not isinstance(value, bool)
        and isinstance(value, numbers)
        and (kind.ge is None or value >= kind.ge)
        and (kind.gt is None or value > kind.gt)
        and (kind.le is None or value <= kind.le)
        and (kind.lt is None or value < kind.lt)
    )


def _is_as_long(value: Sized, kind: Any) -> bool:
    return (kind.min_length or 0) <= len(value) and (kind.max_length is None or len(value) <= kind.max_length)


def _fits_custom(value: Any, kind: Any) -> bool:
    try:
        kind.cls.parse(value)
    except ValueError:
        return False
    return True


def _fits_date(value: Any, kind: Any) -> bool:
    try:
        msgspec.convert(value, date)
    except msgspec.ValidationError:
        return False
    return True


_FITS: list[tuple[Any, Callable[[Any, Any], bool]]] = [
    (types.AnyType, lambda value, kind: True),
    (types.NoneType, lambda value, kind: value is None),
    (types.BoolType, lambda value, kind: isinstance(value, bool)),
    ((types.IntType, types.FloatType), _fits_number),
    (types.StrType, lambda value, kind: isinstance(value, str) and _is_as_long(value, kind)),
    (types.LiteralType, lambda value, kind: isinstance(value, str) and value in kind.values),
    (types.DateType, _fits_date),
    (types.CustomType, _fits_custom),
    ((types.ListType, types.VarTupleType), lambda value, kind: isinstance(value, list) and _is_as_long(value, kind)),
    (types.TupleType, lambda value, kind: isinstance(value, list) and len(value) == len(kind.item_types)),
    (types.DictType, lambda value, kind: isinstance(value, dict) and _is_as_long(value, kind)),
    (types.StructType, lambda value, kind: isinstance(value, dict)),
]
