"""`type: flags`: rules that choose a backend, set headers or skip filters; for each effect the first match decides.

In YAML::

    - type: flags
      rules:
        - {flag: dogfood, when: {header: x-employee, equals: "true"}, backend: canary}
        - {flag: trial, percent: 1, key: {header: x-user-id}, salt: ranker-v2, backend: canary, skip: [mirror]}

The YAML, its mistakes and the words of `explain` are here; rules.py decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date
from typing import Any, Literal

import msgspec

from .api import Exchange, Filter, FilterConfig, Request, Response, Services, Told
from .bucketing import Rollout
from .fields import lines, set_mistakes
from .keying import KeyReader, sends
from .keys import KeyOf, key_mistakes
from .matching import Condition, Mistakes, ValueMatch, name_mistakes
from .predicates import always, compile_condition
from .rules import KEYLESS, MATCHED, OUTSIDE, SETTLED, UNMET, UNNAMED, UNTRUSTED, Asked, RulePlan, Rules
from .telling import key_hash, key_words, race_facts, race_words, unmet, value_words
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
    owner: str | None = None  # likewise: traces carry all three
    expires: date | None = None  # likewise; past it `validate` warns

    def mistakes(self) -> Mistakes:
        """What types cannot say."""
        return list(self._mistakes())

    def _mistakes(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        if not self.flag:
            yield ("flag",), "is empty; a flag needs a name"
        if self.salt == "":
            yield ("salt",), "is empty; leave it out for the flag's name"
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
            wrong = name_mistakes("header", source)
            yield from ((("backend_from", *inner), text) for inner, text in wrong)
            if not wrong and self.backend is None and not self.allowed():
                yield ("backend_from",), f"may name no backend: list them in when, as {{header: {source}, in: […]}}"
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
        elif source is not None and self.when is not None:
            named += [(("when", *at), name) for at, name, _ in _listed(self.when, source)]
        return named

    def allowed(self) -> dict[str, str]:
        """Of `backend_from`: each value that the header may have, and the backend that it names."""
        source = self.backend_from
        if isinstance(source, BackendFrom):
            return source.map if source.map else {name: name for name in source.one_of or ()}
        return {} if source is None or self.when is None else {name: name for _, name, _ in _listed(self.when, source)}

    def folded(self) -> dict[str, str]:
        """Of `backend_from`: in lower case, those of the allowed values that the condition takes in any case."""
        source = self.backend_from
        if not isinstance(source, str) or self.when is None:
            return {}
        return {name.lower(): name for _, name, folds in _listed(self.when, source) if folds}


def _listed(when: Condition, header: str) -> list[tuple[tuple[str | int, ...], str, bool]]:
    """The values of a header that a condition insists on: where they stand in it, and whether their case is folded."""
    if when.every is not None:
        return [
            (("all", at, *inner), name, folds)
            for at, each in enumerate(when.every)
            for inner, name, folds in _listed(each, header)
        ]
    if (when.header or "").lower() != header.lower():
        return []
    if when.equals:
        return [(("equals",), when.equals, when.ignore_case)]
    return [(("in", at), name, when.ignore_case) for at, name in enumerate(when.one_of or ())]


class FlagsConfig(FilterConfig, frozen=True, tag="flags"):
    """The YAML of `type: flags`."""

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

    def deciding(self) -> FilterConfig:
        """All of it: a rule that names no backend may keep a split or a mirror from its turn."""
        return self


class FlagsFilter(Filter):
    """Lets the first matching rule decide each effect. Holds nothing of any request."""

    def __init__(self, config: FlagsConfig, services: Services) -> None:
        super().__init__(config, services)
        plans = [
            _plan(at, rule, KeyReader(rule.key, services, self)) for at, rule in enumerate(config.rules) if rule.enabled
        ]
        self._rules = Rules(plans)
        self._issues = any(plan.rollout is not None and plan.reader.issues for plan in plans)

    def hook(self, name: Literal["on_request", "on_response", "on_complete"]) -> Callable[..., Any] | None:
        """The rules themselves; answers pass by where no cookie is issued."""
        if name == "on_response" and not self._issues:
            return None
        return self._rules.on_request if name == "on_request" else super().hook(name)

    def on_request(self, exchange: Exchange) -> None:
        """Decide."""
        self._rules.on_request(exchange)

    def on_response(self, exchange: Exchange, response: Response) -> Response:
        """Send the cookies that were issued."""
        sends(self, exchange, response)
        return response

    def explain(self, exchange: Exchange) -> Told:
        """Decide, and tell what became of each rule."""
        came = Request(
            exchange.request.method, exchange.request.target, exchange.request.authority, exchange.request.headers
        )
        asked: list[Asked] = []
        self._rules.decide(exchange, asked)
        by_position = {each.rule.position: each for each in asked}
        words, facts = [], []
        for at, rule in enumerate(self.config.rules):
            line, fact = _told(rule, by_position.get(at), exchange.default_backend, came)
            words.append(line)
            facts.append(fact)
        return Told(tuple(words), {"rules": facts, "flags": exchange.flags or []})


def _plan(position: int, rule: Rule, reader: KeyReader) -> RulePlan:
    source = rule.backend_from
    header = source.header if isinstance(source, BackendFrom) else source
    return RulePlan(
        position=position,
        flag=rule.flag,
        holds=always if rule.when is None else compile_condition(rule.when),
        trusted=rule.peers == "trusted",
        reader=reader,
        rollout=Rollout(rule.salt or rule.flag, rule.backend or rule.flag, rule.percent)
        if rule.percent < 100
        else None,
        backend=rule.backend,
        header=None if header is None else header.lower().encode(),
        allowed={value.encode(): name for value, name in rule.allowed().items()},
        folded={value.encode(): name for value, name in rule.folded().items()},
        headers=lines(rule.set_headers),
        skips=frozenset(rule.skip),
    )


_VERDICTS = {
    MATCHED: "matched",
    SETTLED: "settled",
    UNTRUSTED: "untrusted",
    UNMET: "unmet",
    UNNAMED: "unnamed",
    KEYLESS: "keyless",
    OUTSIDE: "outside",
}


def _told(rule: Rule, asked: Asked | None, default: str, came: Request) -> tuple[str, dict[str, Any]]:
    """One rule in words and for a program; `asked` is None where the rule is switched off."""
    if asked is None:
        return f"not {rule.flag}: it is switched off", {"flag": rule.flag, "verdict": "disabled"}
    why = _why(rule, asked, came)
    effects = _effects(asked)
    facts: dict[str, Any] = {"flag": rule.flag, "verdict": _VERDICTS[asked.verdict], "why": why}
    facts |= {"backend": asked.backend or None, "set_headers": [each.decode() for each in asked.headers]}
    facts |= {"skip": asked.skips, "draw": None}
    drawn = ""
    rollout = asked.rule.rollout
    if asked.key is not None and rollout is not None:
        standings = rollout.standings(asked.key, default)
        hashed = key_hash(rollout.salt, asked.key)
        whose = key_words(asked.rule.reader, asked.source)
        drawn = f" ({rollout.percent:g} % by {whose}, hash {hashed}: {race_words(standings)})"
        facts["draw"] = {"percent": rollout.percent, "salt": rollout.salt, "key_from": whose, "key_hash": hashed}
        facts["draw"]["arms"] = race_facts(standings)
    if asked.verdict == MATCHED:
        return f"flag {rule.flag}: {'; '.join(effects)}{drawn}", facts
    return f"not {rule.flag}: {'; '.join(why)}{drawn}", facts


def _why(rule: Rule, asked: Asked, came: Request) -> list[str]:
    """Why a rule does not match."""
    if asked.verdict == UNMET and rule.when is not None:
        return list(unmet(rule.when, came))
    if asked.verdict == UNNAMED:
        header = rule.backend_from.header if isinstance(rule.backend_from, BackendFrom) else rule.backend_from or ""
        value = came.get(header.lower().encode())
        return [
            value_words("header", header, ValueMatch(one_of=tuple(rule.allowed())), [] if value is None else [value])
        ]
    texts = {
        SETTLED: "earlier rules have decided all that it could",
        UNTRUSTED: "the peer is not in the listener's trust",
        KEYLESS: f"its key is {key_words(asked.rule.reader, asked.source)}",
        OUTSIDE: "the draw leaves it out",
    }
    return [texts[asked.verdict]] if asked.verdict in texts else []


def _effects(asked: Asked) -> list[str]:
    told = [f"backend {asked.backend}"] if asked.backend else []
    if asked.headers:
        told.append(f"sets {', '.join(name.decode() for name in asked.headers)}")
    if asked.skips:
        told.append(f"skips {', '.join(asked.skips)}")
    return told
