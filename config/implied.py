"""What can be proved about conditions without a request: that one holds wherever another does, or that none ever can.

Sound and not complete: True is a proof, False says nothing. A cookie or a query parameter may have several values of
which one must pass, and so two tests of one name may both hold there; a header has one value.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import combinations, islice
from typing import Any

from msgspec.structs import replace

from ..filters.matching import Condition, Match, ValueMatch
from ..filters.predicates import path_test, value_match, value_test
from ..filters.subjects import normal_path

_MOST_PAIRS = 5_000
_REMEMBERED = 4_096  # makes deep nests polynomial

_PATHS = ("path", "path_prefix", "path_suffix", "path_regex")
_VALUES = ("header", "cookie", "query")


def known_of(match: Match, *, heads: bool) -> Condition:
    """What a route's `match:` makes certain. `heads`: what it says of headers and cookies too, which filters change."""
    known: list[Condition] = [
        Condition(**{name: path}) for name in _PATHS if (path := getattr(match, name)) is not None
    ]
    known += [Condition(method=match.methods)] if match.methods else []
    known += [Condition(host=match.hosts)] if match.hosts else []
    tests = [("query", match.query)] + ([("header", match.headers), ("cookie", match.cookies)] if heads else [])
    for subject, values in tests:
        known += [_tested(subject, name, value_match(test)) for name, test in values.items()]
    if heads and match.when is not None:
        known.append(match.when)
    return Condition(every=tuple(known))


def also(known: Condition, condition: Condition | None) -> Condition:
    """Both of them."""
    return known if condition is None else Condition(every=(*(known.every or ()), condition))


@lru_cache(_REMEMBERED)
def implies(narrow: Condition, wide: Condition | None) -> bool:
    """Whether every request that meets the first provably meets the second; None holds for every request."""
    if wide is None or narrow == wide or _always(wide):
        return True
    if wide.every is not None:
        return all(implies(narrow, each) for each in wide.every)
    if narrow.some is not None:
        return all(implies(each, wide) for each in narrow.some)
    return any(implies(each, wide) for each in narrow.every or ()) or _one_implies(narrow, wide)


def _one_implies(narrow: Condition, wide: Condition) -> bool:
    if wide.some is not None:
        return any(implies(narrow, each) for each in wide.some)
    if wide.negated is not None:
        return disjoint(narrow, wide.negated)
    return narrow.negated is None and narrow.every is None and _atom_implies(narrow, wide)


@lru_cache(_REMEMBERED)
def disjoint(one: Condition, other: Condition) -> bool:
    """Whether provably no request meets both."""
    for first, second in ((one, other), (other, one)):
        if first.some is not None:
            return all(disjoint(each, second) for each in first.some)
    for first, second in ((one, other), (other, one)):
        if first.negated is not None and implies(second, first.negated):
            return True
        if first.every is not None and any(disjoint(each, second) for each in first.every):
            return True
    is_atomic = all(each.negated is None and each.every is None for each in (one, other))
    return is_atomic and _atom_disjoint(one, other)


def impossible(condition: Condition) -> bool:
    """Whether provably no request meets it."""
    if condition.some is not None:
        return all(map(impossible, condition.some))
    several = condition.every or ()
    return any(map(impossible, several)) or any(
        disjoint(one, other) for one, other in islice(combinations(several, 2), _MOST_PAIRS)
    )


def _tested(subject: str, name: str, test: ValueMatch) -> Condition:
    operators: dict[str, Any] = {each: getattr(test, each) for each in ValueMatch.__struct_fields__}
    operators[subject] = name
    return Condition(**operators)


def _always(condition: Condition) -> bool:
    prefix = condition.path_prefix
    return (prefix is not None and normal_path(prefix.encode()) == b"/") or "*" in _several(condition.host)


def _several(value: str | tuple[str, ...] | None) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else value or ()


def _subject(condition: Condition) -> str:
    return next(name for name in (*_VALUES, *_PATHS, "method", "host") if getattr(condition, name) is not None)


def _same_subject(one: Condition, other: Condition) -> str | None:
    """What both are about, or None. Names of headers fold case."""
    subject, another = _subject(one), _subject(other)
    if subject in _PATHS and another in _PATHS:
        return "path"
    if subject != another:
        return None
    if subject in _VALUES:
        names = getattr(one, subject), getattr(other, subject)
        is_same = names[0].lower() == names[1].lower() if subject == "header" else names[0] == names[1]
        return subject if is_same else None
    return subject


def _atom_implies(narrow: Condition, wide: Condition) -> bool:
    match _same_subject(narrow, wide):
        case None:
            return False
        case "path":
            return _path_implies(narrow, wide)
        case "method":
            return set(_several(narrow.method)) <= set(_several(wide.method))
        case "host":
            return all(any(_host_within(each, one) for one in _several(wide.host)) for each in _several(narrow.host))
    return _value_implies(narrow, wide)


def _atom_disjoint(one: Condition, other: Condition) -> bool:
    match subject := _same_subject(one, other):
        case None:
            return False
        case "path":
            return _path_disjoint(one, other)
        case "method":
            return not set(_several(one.method)) & set(_several(other.method))
        case "host":
            pairs = [(each, another) for each in _several(one.host) for another in _several(other.host)]
            return not any(_host_within(*pair) or _host_within(*reversed(pair)) for pair in pairs)
    if one.present is False or other.present is False:
        return one.present is not other.present
    return subject == "header" and one.present is None and other.present is None and _value_disjoint(one, other)


def _path_implies(narrow: Condition, wide: Condition) -> bool:
    test = path_test(wide)
    if narrow.path is not None:
        return test(normal_path(narrow.path.encode()))
    if narrow.path_suffix is not None and wide.path_suffix is not None:
        return test(normal_path(narrow.path_suffix.encode()))
    if narrow.path_prefix is None or wide.path_prefix is None:
        return False
    return test(normal_path(narrow.path_prefix.encode()))  # whoever takes a prefix takes what is under it


def _path_disjoint(one: Condition, other: Condition) -> bool:
    for first, second in ((one, other), (other, one)):
        if first.path is not None:
            return not path_test(second)(normal_path(first.path.encode()))
    if not any(None not in (getattr(one, kind), getattr(other, kind)) for kind in ("path_prefix", "path_suffix")):
        return False
    return not _path_implies(one, other) and not _path_implies(other, one)  # two of a kind are nested or apart


def _host_within(narrow: str, wide: str) -> bool:
    """Whether each host of the first pattern is one of the second's."""
    narrow, wide = narrow.lower().removesuffix("."), wide.lower().removesuffix(".")
    if wide in ("*", narrow):
        return True
    return wide.startswith("*.") and narrow != "*" and narrow.removeprefix("*").endswith(wide[1:])


def _literals(test: ValueMatch) -> list[bytes]:
    values = (test.equals,) if test.equals is not None else test.one_of or ()
    return [value.encode() for value in values]


def _value_implies(narrow: ValueMatch, wide: ValueMatch) -> bool:
    if narrow.present is not None or wide.present is not None:
        return wide.present is True and narrow.present is not False
    if narrow.range is not None:
        return wide.range is not None and wide.range[0] <= narrow.range[0] and narrow.range[1] <= wide.range[1]
    if narrow.ignore_case and not wide.ignore_case:
        return False
    if literals := _literals(narrow):
        return all(map(value_test(wide), literals))
    return _part_implies(narrow, wide)


def _part_implies(narrow: ValueMatch, wide: ValueMatch) -> bool:
    """For parts of values."""

    def text(value: str | None) -> bytes:
        folded = (value or "").encode()
        return folded.lower() if wide.ignore_case else folded

    if wide.prefix is not None:
        return narrow.prefix is not None and text(narrow.prefix).startswith(text(wide.prefix))
    if wide.suffix is not None:
        return narrow.suffix is not None and text(narrow.suffix).endswith(text(wide.suffix))
    if wide.contains is not None:
        return any(text(wide.contains) in text(each) for each in (narrow.prefix, narrow.suffix, narrow.contains))
    return False


def _value_disjoint(one: ValueMatch, other: ValueMatch) -> bool:
    """For one value, which both ask for."""
    fold = one.ignore_case or other.ignore_case
    for first, second in ((one, other), (other, one)):
        if literals := _literals(first):
            test = value_test(replace(second, ignore_case=True) if fold and second.range is None else second)
            return not any(map(test, literals))
    if one.range is not None and other.range is not None:
        return one.range[1] <= other.range[0] or other.range[1] <= one.range[0]
    for name, reads in (("prefix", bytes.startswith), ("suffix", bytes.endswith)):
        texts = [value.encode() for value in (getattr(one, name), getattr(other, name)) if value is not None]
        if len(texts) == 2:
            first_text, second_text = [text.lower() for text in texts] if fold else texts
            return not reads(first_text, second_text) and not reads(second_text, first_text)
    return False
