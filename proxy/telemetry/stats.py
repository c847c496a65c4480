"""What a worker counts, as the plain structs in which it tells control.

Everything is cumulative since the worker started: a report that is lost or skipped loses nothing. The mutable state is
in the tallies of count.py (one per key that was ever used), `KeyTally` and `Stats.counters`; names come from the
configuration alone, so all are bounded by it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sized
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import msgspec

from ...filters.api import Exchange, KeyTally
from ...filters.keyuse import KeyUse
from .count import CallTally, CopyTally, Durations
from .pairs import PairSheet
from .record_sheet import RecordSheet
from .records import FailedExchange
from .sketch import Sketch, add

if TYPE_CHECKING:
    from ..ending import Ending


class CallKey(NamedTuple):
    """Whose calls are counted together. Refused before a route was found: route and backend are ""."""

    route: str
    backend: str
    version: str
    role: Literal["live", "shadow"] = "live"
    arm: str = ""  # of a split; "" where none chose


MOST_KEYS: Final = 2000
"""Some 25 MB of /metrics. Names of past configurations stay until the program ends; what is past it is one key."""

OVERFLOW: Final = "(overflow)"
"""Stands for the names that were refused; no name in a configuration has parentheses."""


class Timed(msgspec.Struct, array_like=True, gc=False):
    """Durations in seconds that are told together."""

    sketch: dict[int, int] = {}  # sketch.py
    sum_s: float = 0.0


class CallStats(msgspec.Struct, array_like=True, gc=False):
    """The calls of one key, as told to control.

    Sizes are bytes of bodies. Of a shadow, `statuses` are what it answered and `reasons` why a copy got no whole
    answer. Durations by class are by the first digit of the status; 0: there was none.
    """

    key: CallKey
    in_flight: int = 0
    statuses: dict[int, int] = {}  # what the client was told; 0: it left before an answer
    reasons: dict[str, int] = {}
    first_byte: Timed = msgspec.field(default_factory=Timed)
    total: dict[int, Timed] = {}  # of exchanges, by class
    client: dict[int, Timed] = {}  # of live calls to the backend alone, by class
    request_bytes: int = 0
    response_bytes: int = 0
    first_token: Timed = msgspec.field(default_factory=Timed)  # of streams of events, to the first with content
    per_chunk: Timed = msgspec.field(default_factory=Timed)  # and the mean time between two of them

    def total_sketch(self) -> Sketch:
        """The durations of all classes together, in a dict of the caller's own."""
        found: Sketch = {}
        for timed in self.total.values():
            add(found, timed.sketch)
        return found


SIZE_CLASSES: Final = (1 << 10, 16 << 10, 256 << 10, 1 << 20, 8 << 20)
"""Upper bounds in bytes of the size classes of request bodies; a last class holds what is larger."""


class CopyStats(msgspec.Struct, array_like=True, gc=False):
    """The copies for one shadow of one route: of the exchanges that passed its mirror, how many it heard, and why not.

    `exchanges` >= `selected` = `sent` + all of `dropped`; `sent` = `complete` + `censored` + all of `failed`: a copy
    is counted when it ends.
    """

    route: str
    shadow: str
    exchanges: int = 0
    selected: int = 0  # by its condition and its percentage
    sent: int = 0
    complete: int = 0  # answered whole
    censored: int = 0  # cut short: at least that slow
    dropped: dict[str, int] = {}  # reason: never sent
    selected_by_size: list[int] = []  # by class of SIZE_CLASSES
    compared_by_size: list[int] = []  # of those, what the ratio is of: neither dropped nor left out
    held_bytes: int = 0  # now, for copies that lag
    breaker: Literal["closed", "open", "probing"] = "closed"
    failed: dict[str, int] = {}  # reason: sent, and not answered whole


class PoolGauge(msgspec.Struct, array_like=True):
    """One endpoint of one backend, as one worker sees it now."""

    backend: str
    endpoint: str  # Endpoint.label
    role: Literal["live", "shadow"] = "live"  # copies have connections of their own
    active: int = 0  # connections that serve an exchange
    idle: int = 0  # connections kept warm
    connecting: int = 0
    pending: int = 0  # requests that wait for a connection
    up: bool = True


class ListenerGauge(msgspec.Struct, array_like=True):
    """One listener, as one worker sees it: `open` is now, the others count since the worker started."""

    listener: str
    open: int = 0
    accepted: int = 0
    refused: int = 0  # over max_connections


class Gauges(msgspec.Struct, array_like=True):
    """What `DataPlane.gauges()` answers."""

    pools: list[PoolGauge] = []
    listeners: list[ListenerGauge] = []


class Stats:
    """Everything one worker counts. `call` and `copies_of` are for cached lookups, their tallies for the hot path."""

    def __init__(self) -> None:
        self._calls: dict[CallKey, CallTally] = {}
        self._in_flight_sent: dict[CallKey, int] = {}
        self._copies: dict[tuple[str, str], CopyTally] = {}
        self.keys: dict[str, KeyTally] = {}
        self.counters: dict[str, int] = {}
        self.records = RecordSheet()
        self.pairs = PairSheet()

    def call(
        self, route: str, backend: str, version: str, role: Literal["live", "shadow"] = "live", arm: str = ""
    ) -> CallTally:
        """The tally of this key, the same object every time; past `MOST_KEYS` one for all that are new."""
        key = CallKey(route, backend, version, role, arm)
        call = self._calls.get(key)
        if call is None:
            if not self._has_room(self._calls):
                key = CallKey(OVERFLOW, OVERFLOW, "", role)
            call = self._calls.setdefault(key, CallTally(key))
        return call

    def copies_of(self, route: str, shadow: str) -> CopyTally:
        """The tally of the copies for this shadow, likewise."""
        copies = self._copies.get((route, shadow))
        if copies is None:
            if not self._has_room(self._copies):
                route = shadow = OVERFLOW
            copies = self._copies.setdefault((route, shadow), CopyTally(route, shadow, len(SIZE_CLASSES) + 1))
        return copies

    def key_use(self, experiment: str) -> KeyTally:
        """How the keys of this split are spread, likewise."""
        use = self.keys.get(experiment)
        if use is None:
            if not self._has_room(self.keys):
                experiment = OVERFLOW
            use = self.keys.setdefault(experiment, KeyTally(experiment))
        return use

    def _has_room(self, names: Sized) -> bool:
        """Whether one more is counted by itself; where it is not, that is announced."""
        if len(names) < MOST_KEYS:
            return True
        self.count("metrics_overflow")
        return False

    def count(self, name: str, by: int = 1) -> None:
        """Add to a named counter. The name must come from the code or the configuration, never from a request."""
        self.counters[name] = self.counters.get(name, 0) + by

    def fail(self, exchange: Exchange, end: Ending) -> None:
        """Tell the operator of one exchange that went wrong: which backend was asked, if one was, and where last."""
        name = exchange.id.decode("ascii", "replace")
        backend = exchange.backend if end.asked else ""
        target = end.target or end.tried
        endpoint = "" if target is None else target.label
        self.records.offer(
            FailedExchange(
                exchange.route, backend, endpoint, end.status, end.reason or "", name, end.total_s * 1000
            )
        )  # fmt: skip

    def calls(self) -> Iterator[CallTally]:
        """Every call's tally, in the order of their first use."""
        return iter(self._calls.values())

    def take_changed(self) -> list[CallStats]:
        """What is told of those that changed since they were last taken: encode it before they go on."""
        return [told(call) for call in self.changed()]

    def changed(self) -> list[CallTally]:
        """The tallies that changed since they were last taken; they count as reported from now on."""
        taken: list[CallTally] = []
        for key, call in self._calls.items():
            if call.changed or call.in_flight != self._in_flight_sent.get(key, 0):
                call.changed = False
                self._in_flight_sent[key] = call.in_flight
                taken.append(call)
        return taken

    def key_uses(self) -> list[KeyUse]:
        """What is told of every split's keys. It shares the tallies' dicts: encode it before they go on."""
        return [KeyUse(**{name: getattr(each, name) for name in _KEY_FIELDS}) for each in self.keys.values()]

    def copies(self) -> list[CopyStats]:
        """What is told of every shadow's copies."""
        return [CopyStats(**{name: getattr(each, name) for name in _COPY_FIELDS}) for each in self._copies.values()]


def told(call: CallTally) -> CallStats:
    """What is told of a tally. It shares the tally's dicts: encode it before the tally goes on."""
    return CallStats(
        call.key,
        call.in_flight,
        call.statuses,
        call.reasons,
        Timed(call.first_byte.sketch, call.first_byte.sum_s),
        _timed(call.total),
        _timed(call.client),
        call.request_bytes,
        call.response_bytes,
        Timed(call.first_token.sketch, call.first_token.sum_s),
        Timed(call.per_chunk.sketch, call.per_chunk.sum_s),
    )


def _timed(classes: dict[int, Durations]) -> dict[int, Timed]:
    return {digit: Timed(each.sketch, each.sum_s) for digit, each in classes.items() if each.sketch}


_KEY_FIELDS: Final = KeyUse.__struct_fields__
_COPY_FIELDS: Final = CopyStats.__struct_fields__
