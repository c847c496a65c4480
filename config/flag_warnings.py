"""What a valid `flags` filter should still tell its operator: rules that decide nothing, or not what they seem to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date

from ..filters.api import FilterConfig
from ..filters.dedup import DedupConfig
from ..filters.flags import FlagsConfig, Rule
from ..filters.keys import KeyOf, KeySource
from ..filters.matching import Condition
from ..filters.mirror import MirrorConfig
from ..filters.split import SplitConfig
from .implied import also, implies, impossible
from .key_warnings import sources_of
from .paths import Found, Path
from .schema import Document
from .wording import listed

_COMPARED = 50
"""With so many rules before it a rule is compared: a longer list costs the square of its length."""

_STANDS = ("the backend", "the skip of ")
"""Effects that later filters leave as they are; a header they set anew."""


def flag_warnings(chain: Sequence[FilterConfig], at: int, known: Condition, default: str, today: date) -> Found:
    """Of the flags at this position; paths begin inside them. `known`: what holds for each request that comes here."""
    config = chain[at]
    assert isinstance(config, FlagsConfig)
    issuing = next((at for at, rule in enumerate(config.rules) if _issues(rule)), len(config.rules))
    for position, rule in enumerate(config.rules):
        path: Path = ("rules", position)
        if rule.expires is not None and rule.expires < today:
            yield (*path, "expires"), f"{rule.flag} expired on {rule.expires}; remove the rule, or move the date"
        if not rule.enabled:
            continue
        if position <= issuing:  # those behind it see a cookie that no rule before it saw
            yield from _without_effect(chain[: at + 1], position, known)
        yield from _too_late(rule, path, chain[:at])
        if 0 < rule.percent < 100:
            if rule.key is None:
                yield (
                    (*path, "percent"),
                    f"{rule.percent:g} % without key is drawn anew for each request, sticky to nobody; give key",
                )
            yield from _salts(rule, path, chain, default)


def decides_all(rule: Rule, known: Condition) -> bool:
    """Whether a rule provably matches every request that comes to it."""
    return _is_certain(rule) and rule.peers == "any" and implies(known, rule.when)


def _is_certain(rule: Rule) -> bool:
    """Whether its condition alone says if it matches: a draw may miss, a header may name no backend."""
    return rule.enabled and rule.percent == 100 and rule.backend_from is None


def _without_effect(chain: Sequence[FilterConfig], position: int, known: Condition) -> Found:
    """A rule of the last filter that earlier ones, of this filter or of those before it, leave nothing to decide."""
    config = chain[-1]
    assert isinstance(config, FlagsConfig)
    rule = config.rules[position]
    met = also(known, rule.when)
    if impossible(met):
        yield ("rules", position, "when"), f"never holds on this route, so that {rule.flag} decides nothing"
        return
    deciders: dict[str, str] = {}
    for at, each in enumerate(chain[:-1]):
        if isinstance(each, FlagsConfig):
            for effect, name in _decided(each.rules, rule, _lasting(met, chain[at:-1])).items():
                if effect.startswith(_STANDS):
                    deciders.setdefault(effect, f"filters[{at}].{name}")
    for effect, name in _decided(config.rules[:position], rule, met).items():
        deciders.setdefault(effect, name)
    wanted = _effects(rule)
    if all(effect in deciders for effect in wanted):
        names = list(dict.fromkeys(deciders[effect] for effect in wanted))
        yield (
            ("rules", position),
            f"{rule.flag} never decides anything: {listed(names, 'and')} {'decides' if len(names) == 1 else 'decide'}"
            f" {listed(wanted, 'and')} before it, whenever it matches",
        )


def _decided(rules: Sequence[Rule], rule: Rule, met: Condition) -> dict[str, str]:
    """The effects that these have decided whenever a later rule matches, and which of them decides each."""
    found: dict[str, str] = {}
    for at, each in enumerate(rules[:_COMPARED]):
        if _is_certain(each) and each.peers in ("any", rule.peers) and implies(met, each.when):
            for effect in _effects(each):
                found.setdefault(effect, f"rules[{at}] ({each.flag})")
    return found


def _lasting(met: Condition, between: Sequence[FilterConfig]) -> Condition:
    """What of a condition held before these filters too, which may have written headers and issued cookies."""
    names = {name.lower() for each in between for name in _written(each)}
    return Condition(every=tuple(each for each in _parts(met) if names.isdisjoint(_read(each)) and "*" not in names))


def _written(config: FilterConfig) -> set[str]:
    """Names of the headers that a filter may write for those behind it; * for any."""
    if isinstance(config, FlagsConfig):
        names = {name for rule in config.rules for name in rule.set_headers}
        return names | ({"cookie"} if any(map(_issues, config.rules)) else set())
    if isinstance(config, SplitConfig):
        names = {name for arm in config.whole_arms().values() for name in arm.set_headers}
        return names | ({"cookie"} if _issued(config.key) else set())
    return set() if isinstance(config, MirrorConfig | DedupConfig) else {"*"}


def _parts(condition: Condition) -> Iterator[Condition]:
    """Conditions that hold together."""
    if condition.every is None:
        yield condition
    for each in condition.every or ():
        yield from _parts(each)


def _read(condition: Condition) -> set[str]:
    """Names of the headers that a condition reads."""
    inner = [*(condition.every or ()), *(condition.some or ())]
    inner += [condition.negated] if condition.negated is not None else []
    names = {name for each in inner for name in _read(each)}
    if condition.header is not None:
        names.add(condition.header.lower())
    return names | {"cookie"} if condition.cookie is not None else names


def _issues(rule: Rule) -> bool:
    return rule.key is not None and _issued(rule.key)


def _issued(key: KeyOf) -> bool:
    return any(isinstance(each, KeySource) and each.issue for each in sources_of(key))


def _effects(rule: Rule) -> list[str]:
    effects = ["the backend"] if rule.backend is not None or rule.backend_from is not None else []
    effects += sorted({f"header {name.lower()}" for name in rule.set_headers})
    return effects + [f"the skip of {name}" for name in dict.fromkeys(rule.skip)]


def _too_late(rule: Rule, path: Path, before: Sequence[FilterConfig]) -> Found:
    """Effects on filters that have had their turn."""
    turns = {str(each.__struct_config__.tag): at for at, each in enumerate(before)}
    if "split" in turns and (rule.backend is not None or rule.backend_from is not None):
        key = "backend" if rule.backend is not None else "backend_from"
        yield (
            (*path, key),
            f"{rule.flag} chooses a backend behind split (filters[{turns['split']}]), which has chosen an arm by then;"
            " put flags before it",
        )
    for at, name in enumerate(rule.skip):
        if name in turns and name != "headers":
            yield (
                (*path, "skip", at),
                f"{name} (filters[{turns[name]}]) stands before flags and has had its turn; put flags before it",
            )


def lone_salts(document: Document) -> Found:
    """Rules whose salt nothing else draws by, as when the split that they followed was renamed."""
    users: Counter[str] = Counter()
    rules = []
    for number, route in enumerate(document.routes):
        for position, config in enumerate(route.filters):
            if isinstance(config, SplitConfig):
                users[config.salt or config.experiment] += 1
            elif isinstance(config, MirrorConfig):
                users.update(each.salt for each in config.to if each.salt is not None)
            elif isinstance(config, FlagsConfig):
                for at, rule in enumerate(config.rules):
                    users.update({rule.flag, rule.salt or rule.flag})
                    rules.append((("routes", number, "filters", position, "rules", at, "salt"), rule))
    for path, rule in rules:
        if rule.salt is not None and rule.salt != rule.flag and rule.enabled and users[rule.salt] == 1:
            yield (
                path,
                f"{rule.salt} is the salt of no split and of no other flag: {rule.flag} draws for itself alone;"
                " to share a split's draw give its experiment, or its salt",
            )


def _salts(rule: Rule, path: Path, chain: Sequence[FilterConfig], default: str) -> Found:
    """A rule that draws by the salt of a split and yet not as the split does."""
    if rule.salt is None:
        return
    for at, split in enumerate(chain):
        if isinstance(split, SplitConfig) and rule.salt == (split.salt or split.experiment):
            problem = _unshared(rule, split, default)
            if problem:
                yield (
                    (*path, "salt"),
                    f"{rule.salt} is the salt of the split filters[{at}], yet its draw is not shared: {problem}",
                )


def _unshared(rule: Rule, split: SplitConfig, default: str) -> str | None:
    """Why whoever is in by the rule need not be in by the split: the race is between other names or keys."""
    arm = rule.backend or rule.flag
    arms = listed(split.arms)
    drawing = [name for name, each in split.whole_arms().items() if each.weight]
    if arm not in split.arms:
        what = "backend" if rule.backend is not None else "flag, which names its draw where there is no backend,"
        return f"its {what} {arm} is no arm; allowed: {arms}"
    if arm == default:
        return f"its backend {arm} is the route's own, and the other side of its draw is no arm"
    if default not in split.arms:
        return f"the route's backend {default}, which it is drawn against, is no arm; allowed: {arms}"
    if not _same_keys(rule.key, split.key):
        return "its key is another; give both the same, or the rule the first ones of the split's"
    if len(drawing) > 2:
        return f"a flag draws between two arms, {arm} and {default}, and the split between {listed(drawing, 'and')}"
    return None


def _same_keys(rule: KeyOf | None, split: KeyOf) -> bool:
    """Whether each request that has a key for the rule has the same one for the split."""
    wanted = sources_of(rule) if rule is not None else ()
    return bool(wanted) and "random" not in wanted and sources_of(split)[: len(wanted)] == wanted
