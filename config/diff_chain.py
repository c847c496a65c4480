"""What changes in a filter: flags by name, arms with their shares and who moves, shadows by backend."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from ..filters.api import FilterConfig
from ..filters.flags import FlagsConfig, Rule
from ..filters.keys import KeyOf
from ..filters.mirror import MirrorConfig, Shadow
from ..filters.split import SplitConfig
from .diff_values import in_order, plain, values
from .difference import Change, changed
from .key_warnings import sources_of
from .moves import moving, reshuffled, shares

Changes = Iterator[Change]
Named = tuple[str, ...]

_ANEW = "everyone is drawn anew"


def filter_changes(path: Named, old: FilterConfig, new: FilterConfig) -> Changes:
    """The changes from one filter to another of its type."""
    if isinstance(old, FlagsConfig) and isinstance(new, FlagsConfig):
        yield from _flags(path, old, new)
    elif isinstance(old, SplitConfig) and isinstance(new, SplitConfig):
        yield from _split(path, old, new)
    elif isinstance(old, MirrorConfig) and isinstance(new, MirrorConfig):
        yield from _mirror(path, old, new)
    else:
        yield from values(path, old, new)


def _flags(path: Named, old: FlagsConfig, new: FlagsConfig) -> Changes:
    before, after = {each.flag: each for each in old.rules}, {each.flag: each for each in new.rules}
    renamed = dict(_renamed(before, after))
    before = {renamed.get(name, name): rule for name, rule in before.items()}
    yield from in_order(path, before, after, "the first matching rule decides", _rule)


def _renamed(before: Mapping[str, Rule], after: Mapping[str, Rule]) -> Iterator[tuple[str, str]]:
    """The former and the new name of each rule that is the same but for its name."""
    added = [name for name in after if name not in before]
    for name, rule in before.items():
        if name not in after:
            same = (each for each in added if msgspec.structs.replace(rule, flag=each) == after[each])
            if (found := next(same, None)) is not None:
                added.remove(found)
                yield name, found


def _rename(path: Named, old: Rule, new: Rule) -> Change:
    """Of a rule that `path` calls by its new name."""
    drawn = old.salt is None and 0 < old.percent < 100
    notes = [f"its name salts its draw: {_ANEW}"] if drawn else []
    return changed((*path[:-1], old.flag, "flag"), old.flag, new.flag, *notes, warning=drawn)


def _rule(path: Named, old: Rule, new: Rule) -> Changes:
    if old.flag != new.flag:
        yield _rename(path, old, new)
        return
    drawn = any(0 < each.percent < 100 for each in (old, new))
    anew = {
        "salt": drawn and (old.salt or old.flag) != (new.salt or new.flag),
        "key": drawn and old.percent > 0 and not _continues(old.key, new.key),
        "backend": drawn and old.percent > 0,
    }
    for change in values(path, old, new):
        field = change.path[len(path)]
        if anew.get(field):
            note = f"it names the draw: {_ANEW}" if field == "backend" else _ANEW
            yield msgspec.structs.replace(change, notes=(note,), warning=True)
        elif field == "percent":
            verb = "come in" if new.percent > old.percent else "leave"
            note = f"{_percent(abs(new.percent - old.percent) / 100)} of those whom it matches {verb}"
            yield msgspec.structs.replace(change, notes=(note,))
        else:
            yield change


def _split(path: Named, old: SplitConfig, new: SplitConfig) -> Changes:
    before, after = _weights(old), _weights(new)
    is_salted = (old.salt or old.experiment) != (new.salt or new.experiment)
    is_rekeyed = not _continues(old.key, new.key)
    part = _percent(reshuffled(before, after))
    if old.experiment != new.experiment:
        salted = f"the name is the salt: {_ANEW}, {part} of users change their arm"
        note = salted if is_salted else "the salt stays, so that nobody moves; status and telemetry count anew"
        yield changed((*path, "experiment"), old.experiment, new.experiment, note, warning=is_salted)
    if old.salt != new.salt:
        note = f"{_ANEW}: {part} of users change their arm" if is_salted else "the draw stays as it was"
        yield changed((*path, "salt"), old.salt, new.salt, note, warning=is_salted)
    if old.key != new.key:
        rekeyed = f"users are told apart by something else: {part} of them change their arm"
        note = rekeyed if is_rekeyed else "whoever had a key keeps it"
        yield changed((*path, "key"), plain(old.key), plain(new.key), note, warning=is_rekeyed)
    if before != after:
        yield _reweighted((*path, "arms"), before, after, is_salted or is_rekeyed)
    yield from _arms((*path, "arms"), old, new)
    yield from values((*path, "on_unavailable"), old.on_unavailable, new.on_unavailable)


def _reweighted(path: Named, before: dict[str, float], after: dict[str, float], anew: bool) -> Change:
    was, becomes = shares(before), shares(after)
    notes = [
        f"{arm}: {_percent(was.get(arm, 0.0))} -> {_percent(becomes.get(arm, 0.0))}"
        for arm in (*before, *(arm for arm in after if arm not in before))
        if was.get(arm, 0.0) != becomes.get(arm, 0.0)
    ]
    if not anew:
        notes.append(f"{_percent(moving(before, after))} of users move")
    return changed(path, plain(before), plain(after), *notes)


def _arms(path: Named, old: SplitConfig, new: SplitConfig) -> Changes:
    """Arms of both that are answered otherwise."""
    becomes = shares(_weights(new))
    former = old.whole_arms()
    for name, arm in new.whole_arms().items():
        if name not in former:
            continue
        if former[name].backend != arm.backend:
            note = f"{_percent(becomes[name])} of users are answered by another backend"
            yield changed((*path, name, "backend"), former[name].backend, arm.backend, note)
        yield from values((*path, name, "set_headers"), former[name].set_headers, arm.set_headers)


def _weights(split: SplitConfig) -> dict[str, float]:
    return {name: arm.weight for name, arm in split.whole_arms().items()}


def _mirror(path: Named, old: MirrorConfig, new: MirrorConfig) -> Changes:
    before, after = {each.backend: each for each in old.to}, {each.backend: each for each in new.to}
    for name, shadow in before.items():
        if name not in after:
            yield changed((*path, name), plain(shadow), None, "hears nothing any more")
    for name, shadow in after.items():
        if name not in before:
            yield changed((*path, name), None, plain(shadow), f"hears {shadow.percent:g} % of what its condition meets")
        else:
            yield from _shadow((*path, name), before[name], shadow)
    yield from values((*path, "budget"), old.budget, new.budget)


def _shadow(path: Named, old: Shadow, new: Shadow) -> Changes:
    drawn = any(0 < each.percent < 100 for each in (old, new))
    for change in values(path, old, new):
        if drawn and change.path[-1] in ("salt", "sample_by"):
            yield msgspec.structs.replace(change, notes=("other requests are sampled",))
        else:
            yield change


def _continues(old: KeyOf | None, new: KeyOf | None) -> bool:
    """Whether each request that had a key keeps it: sources may only be added behind those that were there."""
    if old is None or new is None:
        return old is new
    known = sources_of(old)
    return sources_of(new)[: len(known)] == known


def _percent(share: float) -> str:
    return f"{share * 100:.3g} %"
