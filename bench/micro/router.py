"""What the router costs by kind of route, with 10 and with 10,000 of them. Best of several repeats, on one core."""

from __future__ import annotations

import argparse
import json
import time
import timeit
from collections.abc import Callable
from typing import NamedTuple

from understudy.config.routes import Router
from understudy.config.snapshot import Backend, Chain, Route
from understudy.filters.api import Request
from understudy.filters.matching import Match

COUNTS = (10, 10_000)
REPEATS = 5
CALLS = 20_000


class Kind(NamedTuple):
    """A kind of route, and the request that only the last of them takes."""

    match: Callable[[int], Match]
    target: Callable[[int], str]
    host: Callable[[int], str] = lambda last: "model.local:7080"
    header: Callable[[int], str] = lambda last: "-"


KINDS = {
    "exact path": Kind(lambda at: Match(path=f"/v2/models/m{at}/infer"), lambda last: f"/v2/models/m{last}/infer"),
    "prefix and method": Kind(
        lambda at: Match(path_prefix=f"/v2/models/m{at}", methods=("POST", "GET")),
        lambda last: f"/v2/models/m{last}/infer",
    ),
    "the prefix, escaped": Kind(
        lambda at: Match(path_prefix=f"/v2/models/m{at}"), lambda last: f"/v2/models/%6d{last}/infer"
    ),
    "regex under a prefix": Kind(
        lambda at: Match(path_regex=f"/v2/models/m{at}/[^/]+"), lambda last: f"/v2/models/m{last}/infer"
    ),
    "host": Kind(
        lambda at: Match(path_prefix="/v1", hosts=(f"t{at}.example.com",)),
        lambda last: "/v1/chat/completions",
        lambda last: f"T{last}.example.com:443",
    ),
    "header value": Kind(
        lambda at: Match(path_prefix="/v1", headers={"x-model": f"m{at}"}),
        lambda last: "/v1/chat/completions",
        header=lambda last: f"m{last}",
    ),
}


class Cost(NamedTuple):
    """Of one kind and number of routes."""

    kind: str
    routes: int
    load_ms: float  # filing all of them
    match_us: float  # finding the last one
    miss_us: float  # falling through to a last `path_prefix: /`


def measured(name: str, kind: Kind, count: int) -> Cost:
    """File `count` routes and a last one for everything, then ask for the last of the kind and for none of them."""
    backend = Backend(name="stable", version="7", endpoints=())
    routes = [(kind.match(at), Route(name=str(at), backend=backend, chain=Chain())) for at in range(count)]
    routes.append((Match(path_prefix="/"), Route(name="everything", backend=backend, chain=Chain())))
    begun = time.perf_counter()
    router = Router(routes)
    load_s = time.perf_counter() - begun
    last, miss = _request(kind, count - 1), _request(kind, count)
    assert router.match(last) is routes[-2][1], f"{name}: the last route was not found"
    assert router.match(miss) is routes[-1][1], f"{name}: something else was found"
    return Cost(name, count, load_s * 1e3, _cost_us(router, last), _cost_us(router, miss))


def _request(kind: Kind, last: int) -> Request:
    headers = [(b"content-type", b"application/json"), (b"accept", b"*/*"), (b"x-model", kind.header(last).encode())]
    request = Request(b"POST", kind.target(last).encode(), kind.host(last).encode(), headers)
    assert request.fields  # the pipeline has read them by then
    return request


def _cost_us(router: Router, request: Request) -> float:
    return min(timeit.repeat(lambda: router.match(request), number=CALLS, repeat=REPEATS)) / CALLS * 1e6


def main(arguments: list[str] | None = None) -> int:
    """Print the table, or JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.micro", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON list instead of a table")
    as_json: bool = parser.parse_args(arguments).json
    costs = [measured(name, kind, count) for name, kind in KINDS.items() for count in COUNTS]
    if as_json:
        print(json.dumps([cost._asdict() for cost in costs], indent=2))
        return 0
    print(f"{'routes by':22}{'number':>8}{'load ms':>10}{'match µs':>10}{'miss µs':>10}")
    for cost in costs:
        print(f"{cost.kind:22}{cost.routes:8,}{cost.load_ms:10.1f}{cost.match_us:10.2f}{cost.miss_us:10.2f}")
    return 0
