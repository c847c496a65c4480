"""What a chain of filters and a copy add to one exchange, with no socket beneath: plain, mirrored, or the full chain.

`python -m bench.micro.chain plain|mirror|full [COUNT] [off|0|0.01|1] [SPANS_PER_S]` prints microseconds per exchange;
then the share of traces that is sampled, `off` where nothing is traced at all, and the spans a second that are told.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from time import perf_counter

from understudy.config.compile import compile_snapshot
from understudy.config.schema import convert
from understudy.proxy import messages
from understudy.proxy.http1.downstream import ServerConnection
from understudy.proxy.http1.upstream import ClientConnection
from understudy.proxy.plane import DataPlane, Port
from understudy.proxy.pool import BackendPool
from understudy.proxy.telemetry.stats import Stats

from .exchange import ANSWER, REQUEST, Sink

MIRROR = {"type": "mirror", "to": [{"backend": "next"}]}
RULES = [
    {"flag": "dogfood", "when": {"header": "x-employee", "equals": "true"}, "backend": "canary"},
    {"flag": "pin", "when": {"header": "x-variant", "in": ["stable", "canary"]}, "backend_from": "x-variant"},
    {"flag": "eu", "when": {"header": "x-region", "prefix": "eu-"}, "percent": 1, "key": {"header": "x-user-id"},
     "backend": "canary"},
    {"flag": "quiet", "when": {"header": "x-no-shadow", "present": True}, "skip": ["mirror"]},
    {"flag": "marked", "when": {"path_prefix": "/v2/models/other"}, "set_headers": {"x-model": "other"}},
]  # fmt: skip
SPLIT = {
    "type": "split",
    "experiment": "ranker-v2",
    "key": {"header": "x-user-id"},
    "arms": {"stable": 90, "canary": 10},
}
CHAINS = {"plain": [], "mirror": [MIRROR], "full": [{"type": "flags", "rules": RULES}, SPLIT, MIRROR]}


def warm(plane: DataPlane, pool: BackendPool) -> ClientConnection:
    """One connection that is always free, over a sink."""
    target = pool.targets[0]
    connection = ClientConnection(target, plane.wheel)
    connection.connection_made(Sink())  # type: ignore[arg-type]
    connection.adopt()
    target.open += 1
    target.freed(connection)
    return connection


async def main(name: str, count: int = 100_000, traces: str = "off", rate: str = "5000") -> None:
    """Run `count` exchanges of users who come and go."""
    backends = {
        each: {"endpoints": [f"http://127.0.0.1:{port}"], "version": each, "keep_alive": "1h"}
        for each, port in (("stable", 9001), ("canary", 9002), ("next", 9003))
    }
    route = {"name": "iris", "match": {"path_prefix": "/"}, "backend": "stable", "filters": CHAINS[name]}
    listeners = {"ingress": {"bind": "127.0.0.1:7080"}}
    plane = DataPlane(asyncio.get_running_loop(), Stats())
    telemetry = {} if traces == "off" else {"otlp": {}, "traces": {"sample": float(traces), "rate": float(rate)}}
    document = convert({"listeners": listeners, "backends": backends, "routes": [route], "telemetry": telemetry})
    snapshot = compile_snapshot(document, plane.services, version=1, workers=1, base="/")
    plane.apply(snapshot)
    plane.stats.pairs.full = plane.stats.records.full = lambda: tell(plane.stats)
    live = [warm(plane, plane.pools[each]) for each in ("stable", "canary")]
    shadows = [warm(plane, lane.pool) for lanes in plane.lanes.values() for lane in lanes]
    client = ServerConnection(plane, Port(plane, snapshot.listeners["ingress"]))
    client.connection_made(Sink())  # type: ignore[arg-type]
    requests = [REQUEST.replace(b"\r\n\r\n", b"\r\nX-User-Id: user-%d\r\n\r\n" % user, 1) for user in range(1000)]
    started = perf_counter()
    for at in range(count):
        client.data_received(requests[at % 1000])
        answer((*live, *shadows), ANSWER)
    each = (perf_counter() - started) / count
    print(f"{name}: {each * 1e6:.2f} us per exchange, {count} exchanges, traces {traces}")


def tell(stats: Stats) -> None:
    """What a worker does when enough pairs or records wait, but for the socket."""
    messages.encode(messages.Records(*stats.records.take(), stats.pairs.take()))


def answer(connections: tuple[ClientConnection, ...], data: bytes) -> None:
    """Whoever has a call under way hears its answer."""
    received: list[Callable[[bytes], None]] = [each.data_received for each in connections if each.caller is not None]
    for each in received:
        each(data)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 100_000, *sys.argv[3:5]))
