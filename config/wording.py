"""How a mistake is worded: what was found, what is allowed, what was perhaps meant."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import inspect as types

from ..filters.units import SecretRef
from .addresses import redacted

_NAMED = 24  # more names than these are not listed
_SHOWN = 60  # a longer value is cut
_COMPARED = 200  # among more names than these none is looked for


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """` (did you mean …?)`, or nothing where no known word is near."""
    several = list(known)
    if len(word) > _SHOWN or len(several) > _COMPARED:
        return ""
    near = difflib.get_close_matches(word, several, n=1, cutoff=0.6)
    near = near or difflib.get_close_matches(word.lower(), several, n=1, cutoff=0.6)
    return f" (did you mean {near[0]}?)" if near else ""


def listed(names: Iterable[str], conjunction: str = "or") -> str:
    """Names as a person lists them; many are cut short."""
    several = list(names)
    if len(several) > _NAMED:
        return f"{', '.join(several[:_NAMED])} and {len(several) - _NAMED} more"
    if len(several) < 2:
        return "".join(several)
    return f"{', '.join(several[:-1])} {conjunction} {several[-1]}"


def quoted(text: str) -> str:
    """A text of the operator's, in quotes, cut to what one line bears."""
    return json.dumps(text if len(text) <= _SHOWN else text[:_SHOWN] + "…", ensure_ascii=False)


def printable(text: str) -> str:
    """On one line, and nothing that moves a terminal's cursor: a file's text may hold anything."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def shown(value: Any, options: Sequence[types.Type] = ()) -> str:
    """A wrong value as it may be printed: of what may hold a secret only its kind."""
    if isinstance(value, dict):
        return "a map"
    if isinstance(value, list):
        counted = any(isinstance(each, types.TupleType) or getattr(each, "min_length", None) for each in options)
        return f"a list of {len(value)}" if counted else "a list"
    if value is None:
        return "nothing"
    if any(isinstance(each, types.StructType) and each.cls is SecretRef for each in options):
        return "text" if isinstance(value, str) else "a number" if not isinstance(value, bool) else "a truth value"
    return quoted(redacted(value)) if isinstance(value, str) else json.dumps(value)


def refusal(value: Any, options: Sequence[types.Type]) -> str:
    """What to say of a value that none of these kinds can hold."""
    return f"{shown(value, options)} is not allowed here{_hint(value, options)}; allowed: {_alternatives(options)}"


def _hint(value: Any, options: Sequence[types.Type]) -> str:
    kinds = {type(each) for each in options}
    if isinstance(value, str) and types.BoolType in kinds and value.lower() in ("yes", "no", "on", "off", "y", "n"):
        return " (a word in YAML 1.2)"
    if isinstance(value, str):
        words = [str(word) for each in options if isinstance(each, types.LiteralType) for word in each.values]
        return did_you_mean(value, words)
    if isinstance(value, bool | int | float) and types.StrType in kinds:
        return "; put it in quotes"
    return ""


def describe_field(kind: types.Type) -> str:
    """What a field may hold."""
    return _alternatives(kind.types if isinstance(kind, types.UnionType) else (kind,))


def _alternatives(options: Sequence[types.Type]) -> str:
    several: list[str] = []
    for kind in options:
        several += [str(word) for word in kind.values] if isinstance(kind, types.LiteralType) else [_describe(kind)]
    return listed(dict.fromkeys(each for each in several if each))


def _describe(kind: types.Type) -> str:
    """What a value of this kind looks like; empty for the absence of one."""
    if isinstance(kind, types.IntType | types.FloatType):
        return _describe_number(kind)
    if isinstance(kind, types.CustomType):
        return str(getattr(kind.cls, "allowed", "a value"))
    if isinstance(kind, types.TupleType):
        return f"a list of {len(kind.item_types)}"
    if isinstance(kind, types.StructType):
        return _describe_struct(kind)
    if isinstance(kind, types.ListType | types.VarTupleType) and kind.min_length:
        return f"a list of {kind.min_length} or more"
    return _WORDS.get(type(kind), "a value")


_WORDS: dict[type, str] = {
    types.NoneType: "",
    types.StrType: "text",
    types.BoolType: "true or false",
    types.DateType: "a date such as 2030-12-31",
    types.ListType: "a list",
    types.VarTupleType: "a list",
    types.DictType: "a map",
}


def _describe_number(kind: types.IntType | types.FloatType) -> str:
    noun = "a whole number" if isinstance(kind, types.IntType) else "a number"
    least, most = kind.ge, kind.le
    if least is not None and most is not None:
        return f"{noun} from {least:g} to {most:,.12g}"
    if kind.gt is not None:
        return f"{noun} above {kind.gt:g}" + (f", at most {most:,.12g}" if most is not None else "")
    return noun


def _describe_struct(kind: types.StructType) -> str:
    if kind.cls is SecretRef:
        return "{env: NAME} or {file: PATH}"
    if kind.tag_field is not None:
        return f"a map with {kind.tag_field}"
    required = [field.encode_name for field in kind.fields if field.required]
    if required:
        return f"a map with {listed(required, 'and')}"
    return f"a map of {listed((field.encode_name for field in kind.fields), 'and')}"
