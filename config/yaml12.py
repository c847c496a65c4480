"""YAML 1.2 text to plain values: the core schema, strictly, in one pass over libyaml's events.

- `true false null ~`, numbers, `0o17` and `0x1f` are what YAML 1.2 says; `yes no on off`, `010:30` and dates are text.
- A key given twice, a merge key, a tag beyond the core schema, a key that is no text, a number that is no 64-bit
  integer or not finite, a second document: each is a mistake, and reading goes on where it can.
- An alias stands for its anchor's value. Depth and the number of values, aliases expanded, are bounded.

The pass keeps no line numbers of what is right; `places.py` makes a second one that keeps nothing else.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import yaml
from yaml import CSafeLoader
from yaml.events import (
    AliasEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    StreamEndEvent,
)

from .paths import Path

MAX_DEPTH = 64
MAX_VALUES = 2_000_000
"""With every alias expanded: what bounds the work of all later steps."""

_PLAIN = re.compile(  # noqa: TID251 - a constant pattern, linear: YAML 1.2.2 section 10.3.2
    r"(?P<null>null|Null|NULL|~|)|(?P<true>true|True|TRUE)|(?P<false>false|False|FALSE)"
    r"|(?P<int>[-+]?[0-9]+)|0o(?P<oct>[0-7]+)|0x(?P<hex>[0-9a-fA-F]+)"
    r"|(?P<float>[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?)"
    r"|(?P<odd>[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))"
)
_MAY_BE_MORE = frozenset("0123456789+-.~nNtTfF")
_TAGS = {f"tag:yaml.org,2002:{name}": name for name in ("str", "int", "float", "bool", "null", "map", "seq")}
_MERGE = "is a merge key, which YAML 1.2 does not know; write the keys out, or alias a whole value"


class Flaw(NamedTuple):
    """One mistake of the YAML itself. Lines count from 1; `path` is empty where there is none."""

    line: int
    path: Path
    text: str
    spoils: bool = True  # what was read in its place is not what was meant: nothing more is said of it


class Content(NamedTuple):
    """What a text holds. `value` is None where it could not be read to its end."""

    value: Any
    flaws: list[Flaw]


class _Stop(Exception):
    """Reading cannot go on."""


def read(text: str) -> Content:
    """Read one document. Never raises for what the text says."""
    reader = _Reader(text)
    try:
        return Content(reader.document(), reader.flaws)
    except _Stop:
        return Content(None, reader.flaws)
    except yaml.YAMLError as error:
        return Content(None, [*reader.flaws, _syntax_flaw(text, error)])


class _Reader:
    """Builds values from events. Mutable: the parser's position, the anchors, the path walked, the flaws found."""

    def __init__(self, text: str) -> None:
        self._next: Callable[[], Any] = CSafeLoader(text).get_event
        self._anchors: dict[str, tuple[Any, int]] = {}  # value and how many values it holds
        self._values = 0
        self._path: list[str | int] = []
        self.flaws: list[Flaw] = []

    def document(self) -> Any:
        self._next()  # StreamStart
        event = self._next()
        if type(event) is StreamEndEvent:
            self.flaws.append(Flaw(1, (), "is empty; at least listeners, backends and routes are needed"))
            raise _Stop
        value = self._value(self._next())
        self._next()  # DocumentEnd
        event = self._next()
        if type(event) is not StreamEndEvent:
            self._flaw(event, "a second document begins here; a file holds one", at=())
        return value

    def _value(self, event: Any) -> Any:
        kind = type(event)
        self._values += 1
        if self._values > MAX_VALUES:
            self._stop(event, f"holds more than {MAX_VALUES:,} values, aliases expanded")
        if kind is ScalarEvent:
            value = event.value
            if not event.style and event.tag is None and (not value or value[0] in _MAY_BE_MORE):
                value = self._plain(event, value)
            elif event.tag is not None:
                value = self._tagged(event)
            if event.anchor is not None:
                self._anchors[event.anchor] = (value, 1)
            return value
        if kind is AliasEvent:
            return self._alias(event)
        before = self._values
        if len(self._path) >= MAX_DEPTH:
            self._stop(event, f"something is nested deeper than {MAX_DEPTH} levels")
        if event.tag is not None:
            self._check_tag(event, "map" if kind is MappingStartEvent else "seq")
        built = self._mapping() if kind is MappingStartEvent else self._sequence()
        if event.anchor is not None:
            self._anchors[event.anchor] = (built, self._values - before + 1)
        return built

    def _sequence(self) -> list[Any]:
        items: list[Any] = []
        path = self._path
        while type(event := self._next()) is not SequenceEndEvent:
            path.append(len(items))
            items.append(self._value(event))
            path.pop()
        return items

    def _mapping(self) -> dict[str, Any]:
        pairs: dict[str, Any] = {}
        lines: dict[str, int] = {}
        path = self._path
        while type(event := self._next()) is not MappingEndEvent:
            key = self._key(event)
            path.append(key)
            value = self._value(self._next())
            if key == "<<" and type(event) is ScalarEvent and not event.style:
                self._flaw(event, _MERGE)
            elif key in pairs:
                self._flaw(event, f"is given twice, first on line {lines[key]}; keep one", spoils=False)
            else:
                pairs[key] = value
                lines[key] = event.start_mark.line + 1
            path.pop()
        return pairs

    def _key(self, event: Any) -> str:
        self._path.append("?")
        key = self._value(event)
        if isinstance(key, str):
            self._path.pop()
            return key
        shown = event.value if type(event) is ScalarEvent else "?"
        self._path[-1] = shown
        if type(event) is ScalarEvent and event.value:
            self._flaw(event, 'is a key that is no text; put it in quotes: "' + event.value + '"')
        else:
            self._flaw(event, "is a key that is no text; allowed: a word")
        self._path.pop()
        return str(shown)

    def _alias(self, event: Any) -> Any:
        if event.anchor not in self._anchors:
            self._flaw(event, f"*{event.anchor} names no anchor; &{event.anchor} must stand before it, not around it")
            return None
        value, size = self._anchors[event.anchor]
        self._values += size
        if self._values > MAX_VALUES:
            self._stop(event, f"holds more than {MAX_VALUES:,} values, aliases expanded")
        return value

    def _plain(self, event: Any, text: str) -> Any:
        match = _PLAIN.fullmatch(text)
        if match is None:
            return text
        kind = match.lastgroup
        if kind in ("null", None):
            return None
        if kind in ("true", "false"):
            return kind == "true"
        if kind == "float" and len(text) <= 400:
            number = float(text)
            if math.isfinite(number):
                return number
        elif kind in ("int", "oct", "hex") and len(text) <= 40:
            whole = int(match[kind], {"int": 10, "oct": 8, "hex": 16}[kind])
            if -(1 << 63) <= whole < 1 << 63:
                return whole
        self._flaw(event, "is a number beyond 64 bits or not finite; for text put it in quotes")
        return text

    def _tagged(self, event: Any) -> Any:
        name = self._check_tag(event, "str")
        if name == "str":
            return event.value
        value = self._plain(event, event.value)
        fits = {"int": int, "float": float, "bool": bool, "null": type(None)}.get(name)
        if fits is float and type(value) is int:
            return float(value)
        if fits is not type(value):
            self._flaw(event, f"is not what its tag !!{name} says; leave the tag out")
        return value

    def _check_tag(self, event: Any, own: str) -> str:
        """The tag's name; one that does not belong is a flaw and counts as the value's own kind."""
        if event.tag == "!":
            return own
        name = _TAGS.get(event.tag)
        collection = own if own != "str" else None
        if name is None or ((name in ("map", "seq") or collection) and name != collection):
            self._flaw(event, f"has the tag {event.tag}; allowed: no tags, or those of the YAML 1.2 core schema")
            return own
        return name

    def _flaw(self, event: Any, text: str, *, at: Path | None = None, spoils: bool = True) -> None:
        path = tuple(self._path) if at is None else at
        if len(self.flaws) >= 1_000:
            raise _Stop
        self.flaws.append(Flaw(event.start_mark.line + 1, path, text, spoils))

    def _stop(self, event: Any, text: str) -> None:
        self._flaw(event, text, at=())
        raise _Stop


def _syntax_flaw(text: str, error: yaml.YAMLError) -> Flaw:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "cannot be read"
    context = getattr(error, "context", None)
    if mark is not None:
        line = mark.line + 1
    else:
        position = getattr(error, "position", None)
        line = text.encode()[:position].count(b"\n") + 1 if isinstance(position, int) else 1
    if _begins_with_a_tab(text, line):
        return Flaw(line, (), "is no valid YAML: the line begins with a tab; allowed: blanks")
    said = f"{problem} ({context})" if context else str(problem)
    if context in ("while parsing a block collection", "while parsing a block mapping"):
        said += "; is this line indented as those that it belongs to?"
    return Flaw(line, (), f"is no valid YAML: {said}")


def _begins_with_a_tab(text: str, line: int) -> bool:
    lines = text.split("\n", line)
    return len(lines) >= line and lines[line - 1].lstrip(" ").startswith("\t")
