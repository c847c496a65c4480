"""One shadow of one route: its own connections, its share of the mirror's budget, its breaker, its counts."""

from __future__ import annotations

import hashlib
import hmac
from time import monotonic
from typing import TYPE_CHECKING, Final

from ..config.snapshot import Mirror, Shadow
from ..filters.api import Headers, Request
from .allowance import Allowance
from .breaker import NAMES, PROBING, Breaker
from .pool import BackendPool

if TYPE_CHECKING:
    from .plane import DataPlane
    from .shadow import Copy
    from .telemetry.count import CallTally, CopyTally

IDEMPOTENCY_KEY: Final = b"idempotency-key"
_MARK: Final = b"x-understudy-shadow"  # of the last proxy that copied, where a trusted peer's copy is copied again
_RATE_BURST_S: Final = 0.1
_BLAMED: Final = frozenset({"shadow_timeout", "slow_shadow", "shadow_error"})


class Lane:
    """One shadow of one route. It outlives snapshots.

    Mutable state: `copies` that are not over, at most `max_copies`; `held`, bytes kept for those that lag,
    at most `max_bytes`; the `allowance` of a rate; `pool` and `breaker`.
    """

    __slots__ = (
        "_key", "_plane", "allowance", "altered", "breaker", "copies", "copy_stats", "held", "loop", "max_bytes",
        "max_copies", "own", "pairs", "pool", "route", "shadow", "stats",
    )  # fmt: skip

    def __init__(self, plane: DataPlane, route: str, mirror: Mirror, shadow: Shadow) -> None:
        self._plane = plane
        self.loop = plane.loop
        self.route = route
        self.pairs = plane.stats.pairs
        self.pool = BackendPool(plane, shadow.backend, "shadow")
        self.breaker = Breaker()
        self.copies: set[Copy] = set()
        self.held = 0
        self.allowance: Allowance | None = None  # None: as many copies a second as there are
        self.configure(mirror, shadow)

    def configure(self, mirror: Mirror, shadow: Shadow) -> None:
        """Take over a new snapshot's values. Every shadow has an equal share of the budget for itself alone."""
        backend = shadow.backend
        shadows = len(mirror.shadows)
        if backend.endpoints != self.pool.backend.endpoints:
            self.breaker = Breaker()  # somebody else is there now
        self.shadow = shadow
        name = backend.name.encode()
        self.own: Headers = [*shadow.set, (_MARK, name)]  # fields of copies alone
        self.altered = shadow.removed | {_MARK, IDEMPOTENCY_KEY}  # names of those that no copy carries as they came
        self._key = hashlib.sha256(b"idempotency key of shadow " + name + b"\0" + self._plane.secret).digest()
        self.max_copies = mirror.max_copies
        self.max_bytes = mirror.max_bytes // shadows
        self._allow(mirror.rate_per_s / shadows)
        self.pool.configure(backend)
        self.stats: CallTally = self._plane.stats.call(self.route, backend.name, backend.version, "shadow")
        self.copy_stats: CopyTally = self._plane.stats.copies_of(self.route, backend.name)

    def _allow(self, rate_per_s: float) -> None:
        if not rate_per_s:
            self.allowance = None
        elif self.allowance is None or self.allowance.rate_per_s != rate_per_s:
            self.allowance = Allowance(rate_per_s, max(1.0, rate_per_s * _RATE_BURST_S))

    def refusal(self, live: str, request: Request, size: int, upgrades: bool) -> str:
        """Why no copy of this request is sent, of whose body `size` bytes are here; "" where one may be."""
        shadow = self.shadow
        if live == shadow.backend.name and not shadow.calibration:
            return "same_backend"
        if upgrades:
            return "not_mirrorable"
        length = request.length
        if size > shadow.max_body or (length is not None and length > shadow.max_body):
            return "body_too_large"
        return self._no_room()

    def _no_room(self) -> str:
        if self._plane.draining:
            return "draining"
        if len(self.copies) >= self.max_copies:
            return "budget_requests"
        if not self.breaker.admits(self._plane.wheel.now):
            return "breaker_open"
        if self.allowance is not None and not self.allowance.take(monotonic(), 1.0):
            self.breaker.undecided(self._plane.wheel.now)
            return "budget_requests"
        return ""

    @property
    def probed(self) -> bool:
        """Whether the copy that was just admitted is a probe: while it is under way, no other is admitted."""
        return self.breaker.state == PROBING

    def judge(self, breaker: Breaker, reason: str, probes: bool) -> None:
        """Judge the shadow by how a copy ended that this breaker had admitted; "" for a whole answer.

        While a probe is under way, it alone counts: those that began before the pause say nothing new.
        """
        if breaker.state == PROBING and not probes:
            return
        if not reason:
            breaker.succeeded()
        elif reason in _BLAMED:
            breaker.failed(self._plane.wheel.now)
        else:
            breaker.undecided(self._plane.wheel.now)

    def observe(self) -> None:
        """Bring up to date what the statistics say of now: while a shadow hangs, no copy ends."""
        self.copy_stats.held_bytes = self.held
        self.copy_stats.breaker = NAMES[self.breaker.state]

    def own_key(self, key: bytes) -> bytes:
        """The idempotency key of a copy: a backend that live uses too must not take the copy for the live call."""
        return hmac.digest(self._key, key, "sha256").hex().encode()

    def cut(self) -> None:
        """End every copy that is still under way."""
        for copy in list(self.copies):
            copy.abandon("draining")

    def close(self) -> None:
        """No snapshot names it any more: copies under way end by themselves."""
        self.pool.close()
