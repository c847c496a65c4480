"""`type: split` chooses an arm by weight, sticky by key. Schema only: the behaviour comes later."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, TypeAlias

import msgspec

from .api import FilterConfig
from .fields import set_mistakes
from .keys import KeyOf, key_mistakes
from .matching import Mistakes
from .units import FieldValue

Weight: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=1_000_000)]
"""A share, relative to the sum of all; 0 drains."""


class Arm(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """One arm under a name of its own."""

    weight: Weight  # its share is this over the sum of all; 0 drains it
    backend: str | None = None  # absent: the arm's name
    set_headers: dict[str, FieldValue] = {}  # for the model server


class SplitConfig(FilterConfig, frozen=True, tag="split", omit_defaults=True):
    """The YAML of `type: split`."""

    active: ClassVar[bool] = False

    experiment: str  # names it in telemetry and salts the hash: a new name reshuffles everyone
    key: KeyOf  # whom an arm is sticky to
    arms: dict[str, Weight | Arm]  # backend: weight, or name: {backend, weight, set_headers}
    salt: str | None = None  # absent: the experiment's name
    on_unavailable: Literal["fail", "next"] = "fail"  # an arm without a healthy endpoint

    def mistakes(self) -> Mistakes:
        """What types cannot say."""
        found: Mistakes = []
        if not self.experiment:
            found.append((("experiment",), "is empty; an experiment needs a name"))
        found += key_mistakes(self.key, "key")
        for name, arm in self.arms.items():
            if isinstance(arm, Arm):
                found += set_mistakes(arm.set_headers, "arms", name, "set_headers")
        weights = [arm.weight if isinstance(arm, Arm) else arm for arm in self.arms.values()]
        if not any(weights):
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
