"""`type: split` chooses an arm by weight, sticky by key.

In YAML::

    - type: split
      experiment: ranker-v2
      key: {first: [{header: x-user-id}, {jwt: sub}, {cookie: arm, issue: true}]}
      arms: {stable: 90, canary: {weight: 10, set_headers: {x-variant: canary}}}

The YAML, its mistakes and the words of `explain` are here; arms.py decides, bucketing.py draws.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias

import msgspec

from .api import Exchange, Filter, FilterConfig, Response, Services, Told
from .arms import ArmPlan, Arms
from .fields import lines, set_mistakes
from .keying import KeyReader, sends
from .keys import KeyOf, key_mistakes
from .matching import Mistakes
from .telling import key_hash, key_words, race_facts, race_words
from .units import FieldValue

Weight: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=1_000_000)]
"""A share, relative to the sum of all; 0 drains."""


class Arm(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """One arm under a name of its own."""

    weight: Weight  # its share is this over the sum of all; 0 drains it
    backend: str | None = None  # absent: the arm's name
    set_headers: dict[str, FieldValue] = {}  # for the model server


class WholeArm(NamedTuple):
    """One arm, however it was written."""

    weight: float
    backend: str
    set_headers: Mapping[str, FieldValue]


class SplitConfig(FilterConfig, frozen=True, tag="split", omit_defaults=True):
    """The YAML of `type: split`."""

    experiment: str  # names it in telemetry and salts the hash: a new name reshuffles everyone
    key: KeyOf  # whom an arm is sticky to
    arms: dict[str, Weight | Arm]  # backend: weight, or name: {backend, weight, set_headers}
    salt: str | None = None  # absent: the experiment's name
    on_unavailable: Literal["fail", "next"] = "fail"  # an arm without a healthy endpoint

    def whole_arms(self) -> dict[str, WholeArm]:
        """The arms by name, with what the YAML may leave out."""
        return {
            name: WholeArm(arm.weight, arm.backend or name, arm.set_headers)
            if isinstance(arm, Arm)
            else WholeArm(arm, name, {})
            for name, arm in self.arms.items()
        }

    def mistakes(self) -> Mistakes:
        """What types cannot say."""
        found: Mistakes = []
        if not self.experiment:
            found.append((("experiment",), "is empty; an experiment needs a name"))
        if self.salt == "":
            found.append((("salt",), "is empty; leave it out for the experiment's name"))
        found += key_mistakes(self.key, "key")
        arms = self.whole_arms()
        for name, arm in arms.items():
            if not name:
                found.append((("arms", name), "has no name; an arm needs one"))
            found += set_mistakes(arm.set_headers, "arms", name, "set_headers")
        if not any(arm.weight for arm in arms.values()):
            found.append((("arms",), "must hold at least one arm whose weight is above 0"))
        return found

    def references(self) -> Mistakes:
        """Every backend that is an arm, and where."""
        return [
            (("arms", name, "backend"), arm.backend)
            if isinstance(arm, Arm) and arm.backend is not None
            else (("arms", name), name)
            for name, arm in self.arms.items()
        ]

    def plans(self) -> dict[str, ArmPlan]:
        """The arms by name, ready to be chosen. Raises ValueError for a header's secret that no header can carry."""
        return {
            name: ArmPlan(arm.weight, arm.backend, lines(arm.set_headers)) for name, arm in self.whole_arms().items()
        }


class SplitFilter(Filter):
    """Chooses the arm of each request. Holds nothing of any request."""

    def __init__(self, config: SplitConfig, services: Services) -> None:
        super().__init__(config, services)
        self._salt = config.salt or config.experiment
        self._reader = KeyReader(config.key, services, self)
        self._arms = Arms(config.experiment, self._salt, config.plans(), config.on_unavailable, self._reader, services)

    def hook(self, name: Literal["on_request", "on_response", "on_complete"]) -> Callable[..., Any] | None:
        """The arms themselves; answers pass by where no cookie is issued."""
        if name == "on_response" and not self._reader.issues:
            return None
        return self._arms.on_request if name == "on_request" else super().hook(name)

    def on_request(self, exchange: Exchange) -> None:
        """Choose."""
        self._arms.on_request(exchange)

    def on_response(self, exchange: Exchange, response: Response) -> Response:
        """Send the cookie that was issued, whichever arm answers."""
        sends(self, exchange, response)
        return response

    def explain(self, exchange: Exchange) -> Told:
        """Choose, and tell by which key, hash and scores."""
        key, source, at = self._arms.decide(exchange)
        experiment = self.config.experiment
        facts: dict[str, Any] = {"experiment": experiment, "salt": self._salt, "arm": None, "backend": exchange.backend}
        facts["weights"] = {name: arm.weight for name, arm in self.config.whole_arms().items()}
        facts["cookie_issued"] = self._reader.issues and self._reader.issued(exchange)
        if exchange.chosen:
            return Told((f"split {experiment}: no arm, a flag chose the backend",), facts | {"why": "flag"})
        whose = key_words(self._reader, source)
        facts["key_from"] = whose
        if key is None:
            told = f"split {experiment}: no arm; the key is {whose}; the route's backend stays"
            return Told((told,), facts | {"why": "key_missing"})
        standings = self._arms.race.standings(key)
        arm = self._arms.race.arms[at]
        hashed = key_hash(self._salt, key)
        first = standings[0].arm
        words = [f"split {experiment}: arm {arm}, backend {exchange.backend}"]
        if arm != first:
            words[0] += f"; {first} comes first and has no healthy endpoint"
        words.append(f"  key: {whose}, hash {hashed}: {race_words(standings)}")
        if facts["cookie_issued"]:
            words.append("  the client is sent a cookie that keeps it in its arm")
        facts |= {"arm": arm, "key_hash": hashed, "arms": race_facts(standings)}
        return Told(tuple(words), facts | {"why": "score" if arm == first else "unavailable"})
