"""What the admin API shows of flags, splits and mirrors at work: shares, copies, keys, pairs."""

from __future__ import annotations

import os
import secrets
import socket
from collections import Counter
from collections.abc import Mapping
from copy import copy
from typing import TYPE_CHECKING, Final, NamedTuple

from ...config.compile import copies_each
from ...config.schema import Document
from ...filters.mirror import MirrorConfig
from ...filters.split import SplitConfig
from ..comparison.epochs import shadows, tolerance_of
from ..comparison.view import SCHEMA, Arm, ArmLatency, ArmState, Compare, ConfigName, comparison_of, live_ms
from ..giving_way import Pieces
from ..iso_time import now_text
from ..status import Call, Copies, Keys, SizeShare
from ..telemetry.sketch import subtract
from ..telemetry.stats import SIZE_CLASSES, CallKey, CallStats, CopyStats

if TYPE_CHECKING:
    from ..comparison.epochs import Epochs
    from ..configuration import Running
    from ..control import Control

INSTANCE: Final = os.environ.get("POD_NAME") or socket.gethostname()
RUN: Final = secrets.token_hex(8)
HOT_SHARE: Final = 0.25
MISSING_SHARE: Final = 0.5
ENOUGH_KEYS: Final = 100


class Share(NamedTuple):
    """What was wanted and what came of it since the epoch began, 0..1; None: nobody wants one, or nothing came."""

    want: float | None = None
    got: float | None = None


class _Arm(NamedTuple):
    route: str
    experiment: str
    arm: str
    backend: str
    share: float


class Moment(NamedTuple):
    """What there was to see at one moment, however long it takes to look at it: nobody changes it any more, save that
    the epoch's pairs go on to be added up."""

    running: Running | None
    epochs: Epochs
    calls: Mapping[CallKey, CallStats]
    copies: Mapping[tuple[str, str], CopyStats]


def moment_of(control: Control) -> Pieces[Moment]:
    """This moment, in which it is called."""
    running, epochs = control.configuration.running, copy(control.epochs)
    calls, copies = control.totals.calls_in_pieces(), control.totals.copies_in_pieces()

    def pieces() -> Pieces[Moment]:
        return Moment(running, epochs, (yield from calls), (yield from copies))

    return pieces()


def compare_of(control: Control, moment: Moment, *, with_state: bool = True) -> Pieces[Compare]:
    """What `GET /compare` says."""
    epochs, running = moment.epochs, moment.running
    document = running.document if running else None
    ended: Counter[tuple[str, str, str]] = Counter()
    for key, call in moment.calls.items():
        if key.role == "live":
            ended[key.route, key.backend, key.version] += _requests(moment.epochs, call)
    yield
    pairs = []
    for names, sums in sorted(epochs.book.comparisons.items()):
        yield
        tolerance = tolerance_of(document, names[0], names[3])
        pairs.append(comparison_of(names, sums, ended[names[:3]], tolerance, with_state=with_state))
    return Compare(
        schema=SCHEMA,
        instance=INSTANCE,
        generated=now_text(),
        epoch=epochs.current,
        pairs=pairs,
        arms=(yield from _arms(moment, document, with_state=with_state)) if document is not None else [],
        run=RUN,
        config=ConfigName(running.hash, running.version) if running else None,
        late=epochs.book.late,
        refused=epochs.book.refused,
        lost=control.failures.dropped,
    )


def shares(moment: Moment) -> dict[CallKey, Share]:
    """Of every backend with arms and of every shadow of the running configuration; keys have no arm."""
    running = moment.running
    if running is None:
        return {}
    document = running.document
    found: dict[CallKey, Share] = {}
    drawn = _drawn(moment)
    wanted: dict[CallKey, float] = {}
    got: Counter[CallKey] = Counter()
    for arm in _configured_arms(document):
        key = CallKey(arm.route, arm.backend, document.backends[arm.backend].version)
        call = moment.calls.get(key._replace(arm=arm.arm))
        wanted[key] = wanted.get(key, 0.0) + arm.share
        got[key] += _requests(moment.epochs, call) if call else 0
    for key, share in wanted.items():
        found[key] = Share(round(share, 6), _ratio(got[key], drawn[key.route]))
    for route, part in shadows(document):
        key = CallKey(route, part.backend, document.backends[part.backend].version, "shadow")
        name = (route, part.backend)
        now, before = moment.copies.get(name), moment.epochs.copies_before.get(name)
        exchanges = (now.exchanges if now else 0) - (before.exchanges if before else 0)
        sent = (now.sent if now else 0) - (before.sent if before else 0)
        found[key] = Share(part.percent / 100, _ratio(sent, exchanges))
    return found


def budgets(document: Document, workers: int) -> dict[tuple[str, str], int]:
    """How many copies may be in flight in all workers together, by route and shadow."""
    return {
        (route.name, part.backend): workers * copies_each(config.budget.requests, workers, len(config.to))
        for route in document.routes
        for config in route.filters
        if isinstance(config, MirrorConfig)
        for part in config.to
    }


def copies_of(moment: Moment) -> Pieces[list[Copies]]:
    """Every shadow that was asked for a copy in this epoch, or is configured."""
    running = moment.running
    configured = {(route, part.backend) for route, part in shadows(running.document)} if running else set()
    found = []
    for name, now in moment.copies.items():
        yield
        each = _copies(now, moment.epochs.copies_before.get(name) or CopyStats(*name))
        if each.exchanges or name in configured:
            found.append(each)
    return found


def keys_of(control: Control) -> list[Keys]:
    """Every split that drew."""
    return [
        Keys(
            use.experiment,
            use.requests,
            use.missing,
            use.issued,
            _ratio(max(use.hot.values(), default=0), use.requests),
        )
        for use in control.totals.keys().values()
    ]


def warnings_of(calls: list[Call], copies: list[Copies], keys: list[Keys]) -> list[str]:
    """What an operator should look at of shadows and splits."""
    found = [
        f"shadow {each.shadow} of {each.route} fails: its breaker is {each.breaker}, it gets no copies but probes"
        for each in copies
        if each.breaker != "closed"
    ]
    found += [
        f"shadow {call.backend} of {call.route} answers nothing, and as many copies are in flight as its budget allows"
        f" ({call.max_in_flight}): it gets no more"
        for call in calls
        if call.role == "shadow" and call.max_in_flight and call.in_flight >= call.max_in_flight
        and call.rate_per_s == 0
    ]  # fmt: skip
    for use in keys:
        asked = use.requests + use.missing
        if use.requests >= ENOUGH_KEYS and use.hottest is not None and use.hottest >= HOT_SHARE:
            share = f"{use.hottest * 100:.0f} %"
            found.append(f"experiment {use.experiment}: {share} of requests carry one and the same key, in one arm")
        if asked >= ENOUGH_KEYS and use.missing >= MISSING_SHARE * asked:
            found.append(f"experiment {use.experiment}: {use.missing / asked * 100:.0f} % of requests carry no key")
    return found


def _copies(now: CopyStats, before: CopyStats) -> Copies:
    dropped = Counter(now.dropped)
    dropped.subtract(before.dropped)
    earlier = dict(enumerate(zip(before.selected_by_size, before.compared_by_size, strict=True)))
    by_size = [
        SizeShare(up_to, selected - earlier.get(at, (0, 0))[0], compared - earlier.get(at, (0, 0))[1])
        for at, (up_to, selected, compared) in enumerate(
            zip((*SIZE_CLASSES, None), now.selected_by_size, now.compared_by_size, strict=True)
        )
    ]
    return Copies(
        now.route, now.shadow, now.exchanges - before.exchanges, now.selected - before.selected,
        now.sent - before.sent, now.complete - before.complete, now.censored - before.censored,
        {reason: count for reason, count in sorted(dropped.items()) if count}, by_size, now.held_bytes, now.breaker,
    )  # fmt: skip


def _arms(moment: Moment, document: Document, *, with_state: bool) -> Pieces[list[Arm]]:
    drawn = _drawn(moment)
    found = []
    for arm in _configured_arms(document):
        yield
        version = document.backends[arm.backend].version
        key = CallKey(arm.route, arm.backend, version, "live", arm.arm)
        now = moment.calls.get(key) or CallStats(key)
        before = moment.epochs.calls_before.get(key) or CallStats(key)
        statuses = Counter(now.statuses)
        statuses.subtract(before.statuses)
        state = ArmState(
            subtract(now.total_sketch(), before.total_sketch()),
            subtract(now.first_byte.sketch, before.first_byte.sketch),
        )
        found.append(
            Arm(
                arm.route, arm.experiment, arm.arm, arm.backend, version, round(arm.share, 6),
                _ratio(statuses.total(), drawn[arm.route]), statuses.total(),
                sum(count for status, count in statuses.items() if status >= 500),
                ArmLatency(live_ms(state.total), live_ms(state.first_byte)),
                **({"state": state} if with_state else {}),
            )
        )  # fmt: skip
    return found


def _configured_arms(document: Document) -> list[_Arm]:
    found = []
    for route in document.routes:
        for config in route.filters:
            if isinstance(config, SplitConfig):
                arms = config.whole_arms()
                total = sum(arm.weight for arm in arms.values())
                found += [
                    _Arm(route.name, config.experiment, name, arm.backend, arm.weight / total)
                    for name, arm in arms.items()
                ]
    return found


def _drawn(moment: Moment) -> Counter[str]:
    """By route, the exchanges of this epoch for which a split drew."""
    drawn: Counter[str] = Counter()
    for key, call in moment.calls.items():
        if key.role == "live" and key.arm:
            drawn[key.route] += _requests(moment.epochs, call)
    return drawn


def _requests(epochs: Epochs, call: CallStats) -> int:
    """Exchanges that ended in this epoch."""
    before = epochs.calls_before.get(call.key)
    return sum(call.statuses.values()) - (sum(before.statuses.values()) if before else 0)


def _ratio(part: int, whole: int) -> float | None:
    return round(part / whole, 6) if whole else None
