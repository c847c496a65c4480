"""`type: flags` chooses a backend, sets headers or skips filters by rules. Schema only: the behaviour comes later."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import ClassVar, Literal

import msgspec

from .api import FilterConfig
from .fields import set_mistakes
from .keys import KeyOf, key_mistakes
from .matching import Condition, Mistakes, name_mistakes
from .units import FieldValue, Percent


class BackendFrom(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """A backend named by a header's value."""

    header: str  # its name
    one_of: tuple[str, ...] | None = msgspec.field(default=None, name="in")  # the backends that it may name
    map: dict[str, str] | None = None  # value: backend


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """One flag: a condition and its effects. For each effect the first matching rule decides."""

    flag: str  # its name in telemetry
    when: Condition | None = None  # absent: every request
    enabled: bool = True  # an operator's switch
    peers: Literal["any", "trusted"] = msgspec.field(
        default="any", name="from"
    )  # trusted: those in the listener's trust
    percent: Percent = 100.0  # of those matching; the rest are as if not matched
    key: KeyOf | None = None  # whom the draw is sticky to; absent: nobody
    salt: str | None = None  # absent: the flag's name; a split's experiment shares its draw
    backend: str | None = None  # effect: who answers
    backend_from: str | BackendFrom | None = None  # effect: the header whose value names who answers
    set_headers: dict[str, FieldValue] = {}  # effect: headers for the model server
    skip: tuple[Literal["mirror", "split", "headers"], ...] = ()  # effect: filters not entered; never dedup
    kind: Literal["release", "experiment", "operational", "permission"] | None = None  # documentation
    owner: str | None = None  # documentation
    expires: date | None = None  # documentation; past it `validate` warns

    def mistakes(self) -> Mistakes:
        """What types cannot say."""
        return list(self._mistakes())

    def _mistakes(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        if not self.flag:
            yield ("flag",), "is empty; a flag needs a name"
        if self.when is not None:
            yield from ((("when", *inner), text) for inner, text in self.when.mistakes())
        yield from key_mistakes(self.key, "key")
        yield from set_mistakes(self.set_headers, "set_headers")
        if self.backend is not None and self.backend_from is not None:
            yield ("backend_from",), "stands beside backend; keep one of them"
        if not (self.backend or self.backend_from or self.set_headers or self.skip):
            yield (), "has no effect; give at least one of backend, backend_from, set_headers, skip"
        yield from self._header_mistakes()

    def _header_mistakes(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        source = self.backend_from
        if isinstance(source, str):
            yield from ((("backend_from", *inner), text) for inner, text in name_mistakes("header", source))
        elif source is not None:
            yield from ((("backend_from", "header", *at), text) for at, text in name_mistakes("header", source.header))
            if not source.one_of and not source.map:
                yield ("backend_from",), "must say which backends may be named: in (a list) or map (value: backend)"
            if source.one_of and source.map:
                yield ("backend_from",), "has in and map; keep one of them"

    def references(self) -> Mistakes:
        """Every backend that the rule names, and where."""
        named: Mistakes = []
        if self.backend is not None:
            named.append((("backend",), self.backend))
        source = self.backend_from
        if isinstance(source, BackendFrom):
            named += [(("backend_from", "in", at), name) for at, name in enumerate(source.one_of or ())]
            named += [(("backend_from", "map", value), name) for value, name in (source.map or {}).items()]
        elif source is not None and self.when is not None and (self.when.header or "").lower() == source.lower():
            named += [(("when", "in", at), name) for at, name in enumerate(self.when.one_of or ())]
        return named


class FlagsConfig(FilterConfig, frozen=True, tag="flags"):
    """The YAML of `type: flags`."""

    active: ClassVar[bool] = False

    rules: tuple[Rule, ...]  # in order

    def mistakes(self) -> Mistakes:
        """What types cannot say."""
        found = [(("rules", at, *inner), text) for at, rule in enumerate(self.rules) for inner, text in rule.mistakes()]
        first: dict[str, int] = {}
        for at, rule in enumerate(self.rules):
            if (earlier := first.setdefault(rule.flag, at)) != at:
                found.append((("rules", at, "flag"), f"{rule.flag} is the name of rules[{earlier}] too; names differ"))
        if not self.rules:
            found.append((("rules",), "is empty; list at least one rule"))
        return found

    def references(self) -> Mistakes:
        """Every backend that a rule names, and where."""
        return [
            (("rules", at, *inner), name) for at, rule in enumerate(self.rules) for inner, name in rule.references()
        ]
