"""The words of a decision, for `understudy explain`: shared by flags, splits and routes. Never on the hot path.

Anyone who may ask reads them: what `GET /config` hides of the configuration, they hide too.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from xxhash import xxh64_intdigest

from .api import Request
from .bucketing import Standing, arm_seed
from .keying import DRAWN, RETRIED, KeyReader
from .matching import Condition, Match, ValueMatch
from .predicates import compile_condition, value_match
from .redact import Redaction
from .subjects import cookies, parameters


def unmet(condition: Condition, request: Request) -> Iterator[str]:
    """Each part that keeps a condition from holding, with what was found instead; nothing where it holds."""
    if compile_condition(condition)(request):
        return
    for each in (*(condition.every or ()), *(condition.some or ())):
        yield from unmet(each, request)
    if condition.negated is not None:
        yield f"when {_on_one_line(condition)} does not hold"
    elif condition.header is not None:
        value = request.get(condition.header.lower().encode())
        yield value_words("header", condition.header, _test(condition), [] if value is None else [value])
    elif condition.cookie is not None:
        found = cookies(request.get(b"cookie") or b"", condition.cookie.encode())
        yield value_words("cookie", condition.cookie, _test(condition), found)
    elif condition.query is not None:
        found = parameters(request.query, condition.query.encode())
        yield value_words("query", condition.query, _test(condition), found)
    elif condition.method is not None:
        yield f"method {request.method.decode()} is not {_or(condition.method)}"
    elif condition.host is not None:
        yield f"host {request.authority.decode() or '(none)'} is not {_or(condition.host)}"
    elif not condition.every and not condition.some:
        yield f"path {request.path.decode()} is {path_words(condition)}"


def path_words(owner: Match | Condition) -> str:
    """What a path that fails is: not this one, not under it, not ending so, no match of it."""
    if owner.path is not None:
        return f"not {owner.path}"
    if owner.path_prefix is not None:
        return f"not under {owner.path_prefix}"
    if owner.path_suffix is not None and owner.path_regex is None:
        return f"not one that ends in {owner.path_suffix}"
    return f"no match of {owner.path_regex}"


def value_words(subject: str, name: str, test: str | ValueMatch, values: list[bytes]) -> str:
    """What was found of a header, cookie or parameter, and what was wanted."""
    found = " and ".join(json.dumps(value.decode("utf-8", "replace"), ensure_ascii=False) for value in values)
    about: dict[str, Any] = {subject: name, **msgspec.structs.asdict(value_match(test))}
    condition = Condition(**about)
    return f"{subject} {name} is {found or 'absent'}, wanted {_on_one_line(condition, without=subject)}"


def _on_one_line(condition: Condition, without: str = "") -> str:
    shown = msgspec.to_builtins(Redaction().shown(condition))
    return json.dumps({name: each for name, each in shown.items() if name != without}, ensure_ascii=False)


def key_words(reader: KeyReader, source: int) -> str:
    """Where a key came from, or that there was none."""
    if source >= 0:
        return reader.labels[source]
    wanted = " or ".join(reader.labels)
    if source == RETRIED:
        return f"the idempotency key, for want of {wanted}"
    if source == DRAWN:
        return f"drawn at random, for want of {wanted}"
    return f"none: the request has no {wanted}"


def key_hash(salt: str, key: bytes) -> str:
    """What stands for a key wherever one is told of: 16 hexadecimal digits under the draw's own salt."""
    return f"{xxh64_intdigest(key, arm_seed(salt, '')):016x}"


def race_words(standings: Iterable[Standing]) -> str:
    """Every score of a race, the winner's first."""
    return ", ".join(f"{each.arm or '(rest)'} scores {each.score:.4g}" for each in standings)


def race_facts(standings: Iterable[Standing]) -> list[dict[str, Any]]:
    """The same for a program."""
    return [each._asdict() for each in standings]


def _test(condition: Condition) -> ValueMatch:
    return ValueMatch(**{name: getattr(condition, name) for name in ValueMatch.__struct_fields__})


def _or(words: str | tuple[str, ...]) -> str:
    return words if isinstance(words, str) else " or ".join(words)
