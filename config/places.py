"""On which line each value of a YAML text stands: asked only when there is something to say about one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple

import yaml
from yaml import CSafeLoader
from yaml.events import (
    AliasEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from .paths import Path
from .yaml12 import MAX_DEPTH


class Place(NamedTuple):
    """Where a value stands: the line of its key or of its item, and the places inside it."""

    line: int
    inside: dict[str | int, Place]

    def find(self, path: Path) -> int:
        """The line of a path, or of the nearest thing around it."""
        place = self
        for step in path:
            if step not in place.inside:
                break
            place = place.inside[step]
        return place.line

    def holds(self, path: Path) -> bool:
        """Whether the path itself is written, and not only what is around it."""
        place = self
        for step in path:
            if step not in place.inside:
                return False
            place = place.inside[step]
        return True


def places(text: str) -> Place:
    """The lines of a text. What `read` refused is left out."""
    root = Place(1, {})
    with suppress(yaml.YAMLError):
        root.inside.update(_Places(text).document())
    return root


class _Places:
    """The second pass. Mutable: the parser's position and the anchors."""

    def __init__(self, text: str) -> None:
        self._next: Callable[[], Any] = CSafeLoader(text).get_event
        self._anchors: dict[str, dict[str | int, Place]] = {}

    def document(self) -> dict[str | int, Place]:
        self._next()  # StreamStart
        if type(self._next()) is StreamEndEvent:
            return {}
        return self._inside(self._next(), 0)

    def _inside(self, event: Any, depth: int) -> dict[str | int, Place]:
        if type(event) is AliasEvent:
            return self._anchors.get(str(event.anchor), {})
        if depth > MAX_DEPTH:
            raise yaml.YAMLError("nested too deep")
        inside: dict[str | int, Place] = {}
        if type(event) is MappingStartEvent:
            for key, line, value in self._pairs(depth):
                inside.setdefault(key, Place(line, value))
        elif type(event) is SequenceStartEvent:
            while type(item := self._next()) is not SequenceEndEvent:
                inside[len(inside)] = Place(item.start_mark.line + 1, self._inside(item, depth + 1))
        if event.anchor is not None:
            self._anchors[event.anchor] = inside
        return inside

    def _pairs(self, depth: int) -> Iterator[tuple[str, int, dict[str | int, Place]]]:
        while type(event := self._next()) is not MappingEndEvent:
            if type(event) is not ScalarEvent:
                self._inside(event, depth + 1)
            line = event.start_mark.line + 1
            yield str(getattr(event, "value", "?")), line, self._inside(self._next(), depth + 1)
