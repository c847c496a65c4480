"""`type: mirror` sends copies of requests to shadows, whose answers nobody hears.

The filter only selects: by condition and by a draw of its own. What is sent, and within which bounds, is the business
of the data plane (proxy/mirrored.py), which sends copies after the live call and never waits for one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import msgspec

from .api import Exchange, Filter, FilterConfig, Services, Told
from .bucketing import Sample, uniform
from .fields import remove_mistakes, set_mistakes
from .keying import MISSING, KeyReader
from .keys import Key, KeyOf, KeySource, key_mistakes
from .matching import Condition, Mistakes
from .predicates import compile_condition
from .rewriting import PathRewriting, path_mistakes
from .telling import key_words
from .units import Count, Duration, FieldValue, Percent, Size

CREDENTIALS = frozenset({b"authorization", b"proxy-authorization", b"cookie", b"x-api-key", b"api-key"})
"""Fields that no copy carries: a shadow must not act in a client's name."""


class ShadowRewriting(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What changes in a copy's request line."""

    path: PathRewriting  # a prefix and what replaces it


class Shadow(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """One backend that hears without being heard."""

    backend: str  # who hears the copies
    percent: Percent = 100.0  # drawn by request id, independent of every split
    sample_by: KeyOf | None = None  # draw by this key instead
    salt: str | None = None  # absent: one of its own
    when: Condition | None = None  # absent: every request
    max_body: Size = Size(8 << 20)  # larger: not mirrored, counted; a copy may also lag by so much
    remove_headers: tuple[str, ...] = ()  # added to authorization, proxy-authorization, cookie, x-api-key, api-key
    set_headers: dict[str, FieldValue] = {}  # name: value, on copies only; {env: NAME} and {file: PATH} too
    rewrite: ShadowRewriting | None = None  # after the backend's own
    on_client_gone: Literal["cancel", "finish"] = "cancel"  # what becomes of the copy when the client leaves
    calibration: bool = False  # true: a backend may shadow itself (A/A)
    tolerance: Percent = 5.0  # a latency ratio within so many percent of 1 counts as the same
    connect_timeout: Duration | None = None  # the copy's own; absent: the backend's
    first_byte_timeout: Duration | None = None  # likewise: head of the answer
    idle_timeout: Duration | None = None  # likewise: between two bytes of a stream
    total_timeout: Duration | None = None  # likewise: the whole copy

    def mistakes(self) -> Mistakes:
        """What types cannot say."""
        return list(self._mistakes())

    def _mistakes(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        yield from key_mistakes(self.sample_by, "sample_by")
        yield from _sampling_mistakes(self.sample_by)
        if self.when is not None:
            yield from ((("when", *inner), text) for inner, text in self.when.mistakes())
        yield from remove_mistakes(self.remove_headers, "remove_headers")
        yield from set_mistakes(self.set_headers, "set_headers")
        if self.rewrite is not None:
            yield from path_mistakes(self.rewrite.path, "rewrite", "path")


def _sampling_mistakes(key: KeyOf | None) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Whom a shadow hears must not show to the client."""
    if isinstance(key, Key):
        if key.missing == "refuse":
            yield (
                ("sample_by", "missing"),
                "refuse would refuse live requests for a shadow's sake; allowed: backend, random",
            )
        if key.issue or any(isinstance(each, KeySource) and each.issue for each in key.first or ()):
            yield ("sample_by",), "issue would send the client a cookie for a shadow's sake; let a split issue it"


class Budget(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """What all copies in flight may hold together; an equal share is guaranteed to each shadow."""

    requests: Count = 256  # copies in flight
    bytes: Size = Size(64 << 20)  # held for copies that lag behind their live call
    rate: Annotated[float, msgspec.Meta(gt=0, le=1_000_000)] | None = None  # copies a second; absent: no bound


class MirrorConfig(FilterConfig, frozen=True, tag="mirror", omit_defaults=True):
    """The YAML of `type: mirror`."""

    to: tuple[Shadow, ...]  # who hears the copies
    budget: Budget = Budget()  # what all copies in flight may hold together

    def mistakes(self) -> Mistakes:
        """What types cannot say."""
        found = [(("to", at, *inner), text) for at, each in enumerate(self.to) for inner, text in each.mistakes()]
        if not self.to:
            found.append((("to",), "is empty; list at least one shadow"))
        if self.budget.requests < len(self.to):
            text = f"{self.budget.requests} is too few for {len(self.to)} shadows, each of which has a share of its own"
            found.append((("budget", "requests"), f"{text}; allowed: at least {len(self.to)}"))
        if not self.budget.bytes:
            text = "0 would drop every copy that has a body and waits for a connection"
            found.append((("budget", "bytes"), f"{text}; allowed: above 0, such as 64MiB"))
        first: dict[str, int] = {}
        for at, shadow in enumerate(self.to):
            if (earlier := first.setdefault(shadow.backend, at)) != at:
                found.append((("to", at, "backend"), f"{shadow.backend} is shadow to[{earlier}] already; list it once"))
        return found

    def references(self) -> Mistakes:
        """Every backend that is a shadow, and where."""
        return [(("to", at, "backend"), shadow.backend) for at, shadow in enumerate(self.to)]

    def deciding(self) -> FilterConfig:
        """All but tolerances, which only judge."""
        to = tuple(msgspec.structs.replace(each, tolerance=0.0) for each in self.to)
        return msgspec.structs.replace(self, to=to)


class MirrorFilter(Filter):
    """Selects the shadows that shall hear a request, and holds nothing."""

    def __init__(self, config: MirrorConfig, services: Services) -> None:
        super().__init__(config, services)
        self._selections = [_Selection(shadow, services, self) for shadow in config.to]
        plain = all(each.always for each in self._selections)
        self._all = [each.shadow.backend for each in self._selections] if plain else None

    def on_request(self, exchange: Exchange) -> None:
        """Name the shadows; the exchange keeps an empty list where none was drawn."""
        if self._all is not None:
            exchange.copies = self._all
        else:
            exchange.copies = [each.shadow.backend for each in self._selections if each.takes(exchange)]

    def explain(self, exchange: Exchange) -> Told:
        """Select as for a request, and tell of each shadow why."""
        self.on_request(exchange)
        told = [each.told(exchange) for each in self._selections]
        return Told(tuple(words for words, _ in told), {"shadows": [facts for _, facts in told]})


class _Selection:
    """Whether one shadow hears a request."""

    def __init__(self, shadow: Shadow, services: Services, owner: Filter) -> None:
        self.shadow = shadow
        self._reader = KeyReader(shadow.sample_by, services, owner) if shadow.sample_by is not None else None
        self._meets = compile_condition(shadow.when) if shadow.when is not None else None
        self._sample = Sample(shadow.salt or f"mirror/{shadow.backend}", shadow.percent / 100)
        self.always = self._meets is None and shadow.percent >= 100 and shadow.sample_by is None

    def takes(self, exchange: Exchange) -> bool:
        if self._meets is not None and not self._meets(exchange.request):
            return False
        if self.shadow.percent >= 100:
            return True
        key, _ = self._key(exchange)
        return key is not None and self._sample.takes(key)

    def _key(self, exchange: Exchange) -> tuple[bytes | None, int]:
        return (exchange.id, MISSING) if self._reader is None else self._reader.read(exchange)

    def told(self, exchange: Exchange) -> tuple[str, dict[str, Any]]:
        """The decision in words, and as plain values."""
        shadow = self.shadow
        facts: dict[str, Any] = {"backend": shadow.backend, "percent": shadow.percent, "selected": False}
        if self._meets is not None and not self._meets(exchange.request):
            return f"shadow {shadow.backend} does not hear it: its condition is not met", facts
        if shadow.percent >= 100:
            facts["selected"] = True
            return f"shadow {shadow.backend} hears it, as every request", facts
        key, source = self._key(exchange)
        whose = "the request id" if self._reader is None else key_words(self._reader, source)
        if key is None:
            return f"shadow {shadow.backend} does not hear it: no key ({whose})", facts
        u = facts["u"] = round(uniform(key, self._sample.seed), 6)
        facts["selected"] = self._sample.takes(key)
        compared = f"{whose} falls at {u * 100:.2f} of 100, its share is {shadow.percent:g} %"
        return f"shadow {shadow.backend} {'hears' if facts['selected'] else 'does not hear'} it: {compared}", facts
