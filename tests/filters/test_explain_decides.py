"""`explain` decides as `on_request` does, with the same effect on the exchange, whatever the rules and the request."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from understudy.filters.api import Exchange, Failure, Filter, Response
from understudy.filters.flags import FlagsConfig, FlagsFilter
from understudy.filters.split import SplitConfig, SplitFilter

from tests.kit.heads import request
from tests.kit.services import FakeServices, exchange_of

_conditions = st.sampled_from(
    [{"header": "a", "equals": "1"}, {"header": "b", "present": True}, {"not": {"cookie": "c", "present": True}}]
)
_sources = st.sampled_from(
    [{"header": "a"}, {"cookie": "c"}, {"cookie": "ours", "issue": True}, {"jwt": "sub"}, "random", "client_address"]
)
_keys = st.sampled_from(["random", "client_address"]) | st.builds(
    lambda first, missing: {"first": first, "missing": missing},
    st.lists(_sources, min_size=1, max_size=3),
    st.sampled_from(["backend", "random", "refuse"]),
)
_rules = st.fixed_dictionaries(
    {"skip": st.lists(st.sampled_from(["mirror", "split", "headers"]), min_size=1, max_size=2)},
    optional={
        "when": _conditions,
        "enabled": st.booleans(),
        "from": st.sampled_from(["any", "trusted"]),
        "percent": st.sampled_from([0, 20, 50, 99.5, 100]),
        "key": _keys,
        "salt": st.sampled_from(["s", "t"]),
        "backend": st.sampled_from(["stable", "canary", "next"]),
        "set_headers": st.dictionaries(st.sampled_from(["a", "b", "d"]), st.sampled_from(["1", "2"]), min_size=1),
    },
)
_splits = st.fixed_dictionaries(
    {"key": _keys, "arms": st.dictionaries(st.sampled_from("xyz"), st.integers(1, 9), min_size=1)},
    optional={"on_unavailable": st.sampled_from(["fail", "next"])},
)
_heads = st.lists(
    st.sampled_from(["a: 1", "a: 2", "b:", "cookie: c=1", "cookie: ours=forged", "idempotency-key: k"]), max_size=3
).map(lambda fields: "\n".join(["POST / HTTP/1.1", *fields]))


def both(make: Any, head: str, trusted: bool, chosen: bool, down: set[str]) -> list[Any]:
    """What is left of the same exchange after `on_request`, and after `explain`."""
    found = []
    for hook in ("on_request", "explain"):
        services = FakeServices()
        services.down = down
        step: Filter = make(services)
        exchange: Exchange = exchange_of(request(head), trusted=trusted)
        exchange.chosen = chosen
        refused = ""
        try:
            getattr(step, hook)(exchange)
        except Failure as failure:
            refused = f"{failure.reason} {failure.detail}"
        sent = step.on_response(exchange, Response(200, []))
        assert isinstance(sent, Response)
        names = [name for name in dir(exchange) if name[0] != "_" and name not in ("request", "notes", "detach")]
        kept = {name: getattr(exchange, name) for name in names}
        assert kept.keys() > {"arm", "backend", "chosen", "experiment", "flags", "skips"}
        keys = {name: (use.requests, use.missing, use.issued, use.hot) for name, use in services.keys.items()}
        found.append((refused, kept, exchange.request.headers, sent.headers, keys, services.rng.getstate()))
    return found


@given(st.lists(_rules, min_size=1, max_size=6), _heads, st.booleans(), st.booleans())
def test_of_flags(rules: list[dict[str, Any]], head: str, trusted: bool, chosen: bool) -> None:
    named = [{"flag": f"f{at}", **rule} for at, rule in enumerate(rules)]
    config = msgspec.convert({"type": "flags", "rules": named}, FlagsConfig)
    decided, told = both(lambda services: FlagsFilter(config, services), head, trusted, chosen, set())
    assert decided == told


@given(_splits, _heads, st.booleans(), st.booleans(), st.sets(st.sampled_from("xyz")))
def test_of_splits(split: dict[str, Any], head: str, trusted: bool, chosen: bool, down: set[str]) -> None:
    config = msgspec.convert({"type": "split", "experiment": "e", **split}, SplitConfig)
    decided, told = both(lambda services: SplitFilter(config, services), head, trusted, chosen, down)
    assert decided == told
