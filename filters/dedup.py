"""`type: dedup` runs a keyed request once and replays its answer. Schema only: the behaviour comes later."""

from __future__ import annotations

from typing import ClassVar, Literal

import msgspec

from .api import FilterConfig
from .matching import Mistakes, method_mistakes, name_mistakes
from .units import Duration, Size


class HeaderScope(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A header that says whose key it is."""

    header: str  # its name; the key belongs to its value


class DedupConfig(FilterConfig, frozen=True, tag="dedup", omit_defaults=True):
    """The YAML of `type: dedup`."""

    active: ClassVar[bool] = False

    header: str = "Idempotency-Key"  # the header that carries the key
    methods: tuple[str, ...] = ("POST", "PUT", "PATCH", "DELETE")  # others pass as if they had no key
    required: bool = False  # true: a missing key is 400
    scope: Literal["authorization", "none"] | HeaderScope = "authorization"  # whose keys are kept apart
    effects: Literal["none", "external"] = "none"  # none: fail open; external: never run twice, fail closed
    wait: Duration = Duration(30)  # how long a duplicate waits for the first one's answer before 409
    retain: Duration = Duration(86_400)  # how long a key is remembered
    max_request: Size = Size(8 << 20)  # the largest body that is held and fingerprinted; see over
    over: Literal["key_only", "refuse", "bypass"] = "key_only"  # what a request over max_request becomes
    max_response: Size = Size(1 << 20)  # the largest answer that is kept to be replayed

    def mistakes(self) -> Mistakes:
        """What types cannot say."""
        found = [(("header", *inner), text) for inner, text in name_mistakes("header", self.header)]
        for at, method in enumerate(self.methods):
            found += [(("methods", at, *inner), text) for inner, text in method_mistakes(method)]
        if not self.methods:
            found.append((("methods",), "is empty; list at least one method"))
        if isinstance(self.scope, HeaderScope):
            found += [(("scope", "header", *inner), text) for inner, text in name_mistakes("header", self.scope.header)]
        if not self.retain:
            found.append((("retain",), "must be longer than 0"))
        return found
