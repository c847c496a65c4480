"""Many `/compare` documents as one: forty replicas added up as if one program had seen all their pairs."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import msgspec

from ..telemetry.sketch import add
from .state import add_state
from .sums import Sums
from .view import SCHEMA, Arm, ArmLatency, ArmState, Compare, Comparison, Epoch, comparison_of, live_ms


class Unusable(Exception):
    """This is no document that could be added to others; the message says why."""


class Merged(NamedTuple):
    """The sum, and what the reader must know of it."""

    compare: Compare
    warnings: list[str]


class _Schema(msgspec.Struct):
    schema: str = ""


# Made once, by one thread: msgspec looks at types when they are first decoded, and crashes where two threads do.
_SCHEMA = msgspec.json.Decoder(_Schema)
_DOCUMENT = msgspec.json.Decoder(Compare)


def read(text: bytes) -> Compare:
    """One document. Raises Unusable."""
    try:
        schema = _SCHEMA.decode(text).schema
    except msgspec.DecodeError:
        schema = ""
    if not schema.startswith("understudy.compare/"):
        raise Unusable("it is no answer of GET /compare")
    if schema != SCHEMA:
        raise Unusable(f"its schema is {schema}; this program reads {SCHEMA}")
    try:
        compare = _DOCUMENT.decode(text)
    except msgspec.DecodeError as problem:
        raise Unusable(f"it is no answer of GET /compare: {problem}") from None
    states = [*(pair.state for pair in compare.pairs), *(arm.state for arm in compare.arms)]
    if msgspec.UNSET in states:
        raise Unusable("it carries no state that could be added up")
    return compare


def merge(documents: Sequence[Compare], generated: str) -> Merged:
    """Add up documents of `read`, at least one. One given twice, or at two moments of the same epoch, counts once.

    A sum may be added to others; whether it holds one of them already cannot be told.
    """
    latest: dict[tuple[str, str, int | None], Compare] = {}
    for each in sorted(documents, key=lambda each: each.generated):
        latest[each.instance, each.run, each.epoch.id if each.epoch else None] = each
    kept = list(latest.values())
    programs = {(each.instance, each.run): each.instances for each in kept}
    instances = sum(programs.values())
    compare = Compare(
        schema=SCHEMA,
        instance=kept[0].instance if instances == 1 else f"{instances} instances",
        generated=generated,
        epoch=_epoch(kept),
        pairs=_pairs(kept),
        arms=_arms(kept),
        config=kept[0].config if len({_hash(each) for each in kept}) == 1 else None,
        late=_since_start(kept, lambda each: each.late),
        refused=_since_start(kept, lambda each: each.refused),
        lost=_since_start(kept, lambda each: each.lost),
        instances=instances,
        run=kept[0].run if len(programs) == 1 else _drawn_from(programs),
    )
    return Merged(compare, _warnings(documents, kept))


def _since_start(kept: Sequence[Compare], count: Callable[[Compare], int]) -> int:
    """The sum over programs of what each has counted since its start, whatever its epochs."""
    latest: dict[tuple[str, str], int] = {}
    for each in kept:
        program = (each.instance, each.run)
        latest[program] = max(latest.get(program, 0), count(each))
    return sum(latest.values())


def _drawn_from(programs: Iterable[tuple[str, str]]) -> str:
    """What tells this sum from others."""
    return hashlib.sha256(repr(sorted(programs)).encode()).hexdigest()[:16]


def _epoch(kept: Sequence[Compare]) -> Epoch | None:
    epochs = [each.epoch for each in kept if each.epoch is not None]
    if len(kept) == 1 or not epochs:
        return epochs[0] if epochs else None
    return Epoch(None, min(each.since for each in epochs), "merged")


def _pairs(kept: Sequence[Compare]) -> list[Comparison]:
    sums: dict[tuple[str, str, str, str, str], Sums] = {}
    exchanges: dict[tuple[str, str, str, str, str], int | None] = {}
    tolerances: dict[tuple[str, str, str, str, str], float] = {}
    for each in (pair for document in kept for pair in document.pairs):
        assert isinstance(each.state, msgspec.Struct), "`read` has seen to it"
        key = (each.route, each.live.backend, each.live.version, each.shadow.backend, each.shadow.version)
        add_state(sums.setdefault(key, Sums()), each.state)
        former, more = exchanges.get(key, 0), each.counts.exchanges
        exchanges[key] = None if former is None or more is None else former + more
        tolerances[key] = min(tolerances.get(key, each.verdict.tolerance), each.verdict.tolerance)
    return [comparison_of(key, sums[key], exchanges[key], tolerances[key]) for key in sorted(sums)]


def _arms(kept: Sequence[Compare]) -> list[Arm]:
    found: dict[tuple[str, str, str, str, str], Arm] = {}
    requests: Counter[tuple[str, str]] = Counter()
    for each in (arm for document in kept for arm in document.arms):
        assert isinstance(each.state, ArmState), "`read` has seen to it"
        requests[each.route, each.experiment] += each.requests
        key = (each.route, each.experiment, each.arm, each.backend, each.version)
        total = found.get(key)
        if total is None:
            found[key] = each
            continue
        assert isinstance(total.state, ArmState)
        total.want = total.want if total.want == each.want else None
        total.requests += each.requests
        total.errors += each.errors
        add(total.state.total, each.state.total)
        add(total.state.first_byte, each.state.first_byte)
    for arm in found.values():
        assert isinstance(arm.state, ArmState)
        asked = requests[arm.route, arm.experiment]
        arm.got = round(arm.requests / asked, 6) if asked else None
        arm.latency_ms = ArmLatency(live_ms(arm.state.total), live_ms(arm.state.first_byte))
    return [found[key] for key in sorted(found)]


def _warnings(given: Sequence[Compare], kept: Sequence[Compare]) -> list[str]:
    found: list[str] = []
    if len(kept) < len(given):
        found.append(
            f"{len(given) - len(kept)} of {len(given)} documents are older ones of the same epochs: not counted"
        )
    configurations = Counter(_hash(each) for each in kept)
    if len(configurations) > 1:
        named = ", ".join(f"{name} on {count}" for name, count in configurations.most_common(4))
        found.append(f"the documents are of different configurations: {named}")
    tolerances: dict[tuple[str, str], set[float]] = {}
    for pair in (pair for each in kept for pair in each.pairs):
        tolerances.setdefault((pair.route, str(pair.shadow)), set()).add(pair.verdict.tolerance)
    for (route, shadow), values in tolerances.items():
        if len(values) > 1:
            found.append(f"tolerances of {shadow} on {route} differ: the verdict is by the strictest")
    return found


def _hash(compare: Compare) -> str:
    return compare.config.hash[:6] if compare.config is not None else "-"
