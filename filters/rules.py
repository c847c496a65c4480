"""How flags decide about one request: compiled with the data plane; filters/flags.py has the YAML and the words.

Every condition sees the request as it came to the filter: what one rule sets, no other rule reads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .bucketing import Rollout
from .keying import MISSING, KeyReader
from .messages import Exchange, Headers
from .predicates import Predicate

if TYPE_CHECKING:
    from collections.abc import Mapping

MATCHED: Final = 0
SETTLED: Final = 1  # earlier rules had decided all that this one could
UNTRUSTED: Final = 2
UNMET: Final = 3  # the condition does not hold
UNNAMED: Final = 4  # the header names no backend that the rule allows
KEYLESS: Final = 5
OUTSIDE: Final = 6  # the draw left the key out


class Asked:
    """What became of one rule, for `explain`."""

    __slots__ = ("backend", "headers", "key", "rule", "skips", "source", "verdict")

    def __init__(self, rule: RulePlan, verdict: int, key: bytes | None = None, source: int = MISSING) -> None:
        self.rule = rule
        self.verdict = verdict
        self.key = key
        self.source = source
        self.backend = ""  # what it decided: a backend,
        self.headers: list[bytes] = []  # headers, by name,
        self.skips: list[str] = []  # types of filters


class RulePlan:
    """One rule that is enabled, ready to be asked."""

    __slots__ = (
        "_allowed", "_backend", "_folded", "_header", "_holds", "_trusted", "chooses", "flag", "headers", "position",
        "reader", "rollout", "skips",
    )  # fmt: skip

    def __init__(
        self, position: int, flag: str, holds: Predicate, trusted: bool, reader: KeyReader, rollout: Rollout | None,
        backend: str | None, header: bytes | None, allowed: Mapping[bytes, str],
        folded: Mapping[bytes, str], headers: Headers, skips: frozenset[str],
    ) -> None:  # fmt: skip
        self.position = position  # among all rules of the YAML
        self.flag = flag
        self.reader = reader
        self.rollout = rollout  # None: all that match
        self.headers = headers
        self.skips = skips
        self.chooses = backend is not None or header is not None
        self._holds = holds
        self._trusted = trusted
        self._backend = backend
        self._header = header
        self._allowed = allowed
        self._folded = folded  # by value in lower case

    def ask(self, exchange: Exchange, told: list[Asked] | None) -> bool:
        """Whether the rule matches. Raises Failure("key_missing") where its key is missing and it says `refuse`."""
        key: bytes | None = None
        source = MISSING
        verdict = MATCHED
        if self._trusted and not exchange.trusted:
            verdict = UNTRUSTED
        elif not self._holds(exchange.request):
            verdict = UNMET
        elif self.chooses and not self.named(exchange):
            verdict = UNNAMED
        elif self.rollout is not None:
            key, source = self.reader.read(exchange)
            if key is None:
                verdict = KEYLESS
            elif not self.rollout.takes(key, exchange.default_backend):
                verdict = OUTSIDE
        if told is not None:
            told.append(Asked(self, verdict, key, source))
        return verdict == MATCHED

    def named(self, exchange: Exchange) -> str:
        """The backend that the rule chooses for this request; "" where its header names none that is allowed."""
        if self._header is None:
            return self._backend or ""
        value = exchange.request.get(self._header)
        if value is None:
            return ""
        return self._allowed.get(value) or self._folded.get(value.lower(), "")


class Decided:
    """What rules have decided so far about one request; made when there is anything."""

    __slots__ = ("lines", "names", "skips")

    def __init__(self, skips: frozenset[str] | None) -> None:
        self.lines: Headers = []
        self.names: set[bytes] = set()
        self.skips: frozenset[str] = frozenset() if skips is None else skips  # those of earlier filters among them

    def leaves(self, rule: RulePlan, chosen: bool) -> bool:
        """Whether there is an effect of this rule that no earlier one has decided."""
        if rule.chooses and not chosen:
            return True
        for name, _ in rule.headers:
            if name not in self.names:
                return True
        return not rule.skips <= self.skips


class Rules:
    """The enabled rules of one `flags` filter, in order. Holds nothing of any request."""

    __slots__ = ("_plans",)

    def __init__(self, plans: list[RulePlan]) -> None:
        self._plans = plans

    def on_request(self, exchange: Exchange) -> None:
        """Decide."""
        self.decide(exchange, None)

    def decide(self, exchange: Exchange, told: list[Asked] | None) -> None:
        """Let the first matching rule decide each effect. `told` takes note of every rule, for `explain`."""
        decided: Decided | None = None
        if exchange.chosen or exchange.skips is not None:  # by an earlier filter
            decided = Decided(exchange.skips)
        for plan in self._plans:
            if decided is not None and not decided.leaves(plan, exchange.chosen):
                if told is not None:
                    told.append(Asked(plan, SETTLED))
            elif plan.ask(exchange, told):
                if decided is None:
                    decided = Decided(exchange.skips)
                _take(plan, exchange, decided, None if told is None else told[-1])
        if decided is None:
            return
        for name, value in decided.lines:
            exchange.request.set(name, value)
        if decided.skips:
            exchange.skips = decided.skips


def _take(plan: RulePlan, exchange: Exchange, decided: Decided, asked: Asked | None) -> None:
    """The effects of a rule that matches, each where no earlier rule has decided it."""
    effective = False
    if plan.chooses and not exchange.chosen:
        exchange.backend = plan.named(exchange)
        exchange.chosen = True
        exchange.experiment = exchange.arm = ""  # also where a split stands ahead of the flags
        effective = True
        if asked is not None:
            asked.backend = exchange.backend
    for line in plan.headers:
        if line[0] not in decided.names:
            decided.names.add(line[0])
            decided.lines.append(line)
            effective = True
            if asked is not None:
                asked.headers.append(line[0])
    if not plan.skips <= decided.skips:
        if asked is not None:
            asked.skips = sorted(plan.skips - decided.skips)
        decided.skips |= plan.skips
        effective = True
    if effective:
        if exchange.flags is None:
            exchange.flags = [plan.flag]
        else:
            exchange.flags.append(plan.flag)
