"""What a valid chain should still tell its operator: filters that never act, copies never sent, keys that stray."""

from __future__ import annotations

from datetime import date
from typing import TypeAlias

import msgspec

from ..filters.api import FilterConfig
from ..filters.flags import FlagsConfig
from ..filters.matching import Condition
from ..filters.mirror import MirrorConfig
from ..filters.split import SplitConfig
from .flag_warnings import decides_all, flag_warnings, lone_salts
from .implied import also, impossible, known_of
from .key_warnings import key_warnings
from .paths import Found, Path
from .schema import Document, RoutePart

Experiments: TypeAlias = dict[str, tuple[Path, SplitConfig]]
"""Splits by the name of their experiment: where the first of each stands."""


def chain_warnings(document: Document, today: date) -> Found:
    """Of every route's chain."""
    trusts = any(listener.trust for listener in document.listeners.values())
    experiments: Experiments = {}
    for at, route in enumerate(document.routes):
        for position, config in enumerate(route.filters):
            known = known_of(route.match, heads=position == 0)
            for path, text in (*_of(route, position, known, today), *key_warnings(config, document)):
                yield ("routes", at, "filters", position, *path), text
            if isinstance(config, MirrorConfig):
                yield from _overdrawn(config, document.workers, ("routes", at, "filters", position))
            if not trusts:
                yield from _untrusted(config, ("routes", at, "filters", position))
            if isinstance(config, SplitConfig):
                yield from _namesake(config, ("routes", at, "filters", position), experiments)
    yield from lone_salts(document)


def _of(route: RoutePart, position: int, known: Condition, today: date) -> Found:
    config = route.filters[position]
    yield from _never_entered(route, position)
    if isinstance(config, FlagsConfig):
        yield from flag_warnings(route.filters, position, known, route.backend, today)
    elif isinstance(config, MirrorConfig):
        yield from _mirror(config, known, possible_backends(route))


def possible_backends(route: RoutePart) -> set[str]:
    """Every backend that may answer a request of this route; some of them may be out of reach all the same."""
    found = {route.backend}
    for config in route.filters:
        if isinstance(config, FlagsConfig):
            for rule in config.rules:
                if rule.enabled and rule.percent:
                    found |= {name for _, name in rule.references()}
        elif isinstance(config, SplitConfig):
            found |= {arm.backend for arm in config.whole_arms().values() if arm.weight}
    return found


def _never_entered(route: RoutePart, position: int) -> Found:
    """A filter that some flag before it turns off for every request."""
    name = str(route.filters[position].__struct_config__.tag)
    for at, config in enumerate(route.filters[:position]):
        if isinstance(config, FlagsConfig):
            known = known_of(route.match, heads=at == 0)
            for number, rule in enumerate(config.rules):
                if decides_all(rule, known) and (name in rule.skip or (name == "split" and rule.backend is not None)):
                    does = "skips it" if name in rule.skip else "chooses a backend"
                    yield (), f"{name} never acts: {rule.flag} (filters[{at}].rules[{number}]) {does} for every request"
                    return


def _mirror(config: MirrorConfig, known: Condition, possible: set[str]) -> Found:
    for at, shadow in enumerate(config.to):
        path: Path = ("to", at)
        if possible == {shadow.backend} and not shadow.calibration:
            yield (
                (*path, "backend"),
                f"{shadow.backend} answers every request of this route itself, so that nothing is mirrored"
                " (same_backend); for A/A give calibration: true",
            )
        if shadow.when is not None and impossible(also(known, shadow.when)):
            yield (*path, "when"), f"never holds on this route, so that {shadow.backend} hears nothing"
        if shadow.max_body > config.budget.bytes:
            yield (
                (*path, "max_body"),
                f"{shadow.max_body} is more than budget.bytes ({config.budget.bytes}), past which a lagging copy is"
                " dropped",
            )


def _overdrawn(config: MirrorConfig, workers: int | str, path: Path) -> Found:
    """A budget of which there is less than one copy for each shadow in each worker, and each may have one."""
    least = len(config.to) * workers if isinstance(workers, int) else 0
    if config.budget.requests < least:
        yield (
            (*path, "budget", "requests"),
            f"{config.budget.requests} is too few for {workers} workers, each of which may have one copy for each"
            f" shadow in flight: up to {least} may be",
        )


def _untrusted(config: FilterConfig, path: Path) -> Found:
    for at, rule in enumerate(config.rules if isinstance(config, FlagsConfig) else ()):
        if rule.enabled and rule.peers == "trusted":
            yield (
                (*path, "rules", at, "from"),
                f"no listener trusts any peer, so that {rule.flag} never matches; list peers in a listener's trust",
            )


def _namesake(config: SplitConfig, path: Path, experiments: Experiments) -> Found:
    where, first = experiments.setdefault(config.experiment, (path, config))
    if first == config:
        return
    differing = [
        field.encode_name
        for field in msgspec.structs.fields(SplitConfig)
        if getattr(first, field.name) != getattr(config, field.name)
    ]
    yield (
        (*path, "experiment"),
        f"{config.experiment} is the split of routes[{where[1]}] too, and its {differing[0]} differs there:"
        " a user may be in different arms, and both are counted together",
    )
