"""How a split decides about one request: compiled with the data plane; filters/split.py has the YAML and the words."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from xxhash import xxh64_intdigest

from .bucketing import Race, arm_seed
from .keying import MISSING, KeyReader
from .messages import Exchange, Failure, Headers

if TYPE_CHECKING:
    from .api import Services


class ArmPlan(NamedTuple):
    """One arm, ready to be chosen."""

    weight: float
    backend: str
    headers: Headers  # that the model server shall read


class Arms:
    """The arms of one split on one route. Holds nothing of any request; what it counts is `services.key_use`."""

    __slots__ = ("_backends", "_experiment", "_headers", "_next", "_services", "_use", "hash_seed", "race", "reader")

    def __init__(
        self, experiment: str, salt: str, plans: dict[str, ArmPlan], on_unavailable: str, reader: KeyReader,
        services: Services,
    ) -> None:  # fmt: skip
        self.reader = reader
        self.race = Race(salt, {name: plan.weight for name, plan in plans.items()})
        self.hash_seed = arm_seed(salt, "")
        self._experiment = experiment
        self._backends = [plans[name].backend for name in self.race.arms]
        self._headers = [plans[name].headers for name in self.race.arms]
        self._next = on_unavailable == "next"
        self._services = services
        self._use = services.key_use(experiment)

    def on_request(self, exchange: Exchange) -> None:
        """Choose an arm and put it on the exchange."""
        self.decide(exchange)

    def decide(self, exchange: Exchange) -> tuple[bytes | None, int, int]:
        """Choose an arm and put it on the exchange.

        Returns the key, where it came from (as `KeyReader.read` says) and the position of the arm in `race.arms`, below
        0 where there is none. Raises Failure("key_missing") where the configuration refuses requests without a key.
        """
        use = self._use
        reader = self.reader
        if exchange.chosen:
            if reader.issues:  # or the clients of a flag would be told apart by having no cookie
                reader.read(exchange)
                if reader.issued(exchange):
                    use.issued += 1
            return None, MISSING, -1
        try:
            key, source = reader.read(exchange)
        except Failure:
            use.missing += 1
            raise
        if source < 0:
            use.missing += 1
        elif key is None or source == reader.random_at:
            use.requests += 1
        else:
            use.note(xxh64_intdigest(key, self.hash_seed))
            if reader.issues and reader.issued(exchange):
                use.issued += 1
        if key is None:
            return None, source, -1
        at = self.race.winner(key)
        if self._next and not self._services.available(self._backends[at]):
            at = self._available(key, at)
        exchange.experiment = self._experiment
        exchange.arm = self.race.arms[at]
        exchange.backend = self._backends[at]
        for name, value in self._headers[at]:
            exchange.request.set(name, value)
        return key, source, at

    def backend(self, at: int) -> str:
        """The backend of an arm, by its position."""
        return self._backends[at]

    def _available(self, key: bytes, at: int) -> int:
        """The first arm in the order of scores that has an endpoint; the winner itself where none has."""
        for standing in self.race.standings(key):
            other = self.race.arms.index(standing.arm)
            if self._services.available(self._backends[other]):
                return other
        return at
