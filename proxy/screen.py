"""`understudy status` as text: one screen, the same facts as `GET /status`."""

from __future__ import annotations

from collections.abc import Iterator

from .comparison.words import arms, block
from .status import Call, Copies, LatencyMs, Status
from .text import counts, milliseconds, percent, size, table

MOST_ROWS = 50
MOST_FAILURES = 10
CALLS_HEAD = (
    "ROUTE", "BACKEND", "VER", "ROLE", "WANT%", "GOT%", "REQ/S", "INFL/MAX", "5XX%", "TTFB p50/p99", "TOTAL p50/p99",
    "UP",
)  # fmt: skip


def screen(status: Status) -> str:
    """The whole screen, without a final line break."""
    compare = status.comparison
    busiest = _busiest(status)
    return "\n".join([_headline(status), *_calls(status, busiest), *_streams(status, busiest),
                      *(block(compare) if compare else ()), *(arms(compare) if compare else ()), *_copies(status),
                      *_keys(status), *_answers(status, busiest), *_pools(status), *_listeners(status),
                      *_processes(status), *_failures(status), *_warnings(status)])  # fmt: skip


def _headline(status: Status) -> str:
    config = status.config
    refused = config.rejected
    rejected = f"{refused.when} ({len(refused.mistakes)} mistakes)" if refused and refused.stands else "none"
    return (
        f"understudy {status.program_version}  pod {status.instance}"
        f"  workers {status.workers_serving}/{status.workers_wanted}  {status.state}"
        f"  config {config.hash[:6] or '-'} v{config.version} ({config.since[11:19]})  rejected: {rejected}"
    )


def _busiest(status: Status) -> list[Call]:
    """The calls that have lines, in the order of their names."""
    ranked = sorted(range(len(status.calls)), key=lambda at: status.calls[at].requests, reverse=True)
    return [status.calls[at] for at in sorted(ranked[:MOST_ROWS])]


def _more(count: int, shown: int) -> Iterator[str]:
    """Where not all have a line."""
    if count > shown:
        yield f"… and {count - shown:,} more; --json has all"


def _calls(status: Status, busiest: list[Call]) -> Iterator[str]:
    up: dict[tuple[str, str], tuple[int, int]] = {}
    for pool in status.pools:
        ups, all_ = up.get((pool.backend, pool.role), (0, 0))
        up[pool.backend, pool.role] = (ups + pool.up, all_ + 1)
    rows = [CALLS_HEAD]
    for call in busiest:
        ups, all_ = up.get((call.backend, call.role), (0, 0))
        rows.append((
            call.route or "(none)", call.backend or "-", call.version or "-", call.role if call.backend else "-",
            percent(call.want), percent(call.got), _rate(call.rate_per_s),
            f"{call.in_flight}/{'-' if call.max_in_flight is None else call.max_in_flight}",
            percent(call.errors_ratio, 2), _latency(call.first_byte_ms), _latency(call.total_ms),
            f"{ups}/{all_}" if all_ else "-",
        ))  # fmt: skip
    yield from table(rows, left=4)
    yield from _more(len(status.calls), len(busiest))


def _streams(status: Status, busiest: list[Call]) -> Iterator[str]:
    """How the tokens of streamed answers came lately, where there were any."""
    rows = [
        (call.route, call.backend, call.version or "-", call.role, _latency(call.first_token_ms),
         _latency(call.per_chunk_ms))
        for call in busiest
        if call.first_token_ms.p50 is not None
    ]  # fmt: skip
    if rows:
        head = ("STREAMS", "BACKEND", "VER", "ROLE", "FIRST TOKEN p50/p99", "PER CHUNK p50/p99")
        yield from table([head, *rows], left=4)
        yield from _more(sum(call.first_token_ms.p50 is not None for call in status.calls), len(rows))


def _copies(status: Status) -> Iterator[str]:
    """Whom mirrors copied for; and by size of the body how many of the pairs that were wanted were compared, where some
    were not: a comparison over small bodies only is biased."""
    shown = status.copies[:MOST_ROWS]
    if not shown:
        return
    sizes = [number for number in range(_classes(shown)) if any(each.by_size[number].selected for each in shown)]
    told = any(at.compared != at.selected for each in shown for at in each.by_size)
    head = ["MIRROR", "SHADOW", "BREAKER", "SELECTED", "SENT", "COMPLETE", "CENSORED", "HELD"]
    head += [f"COMPARED% {_class(shown[0], number)}" for number in sizes if told]
    rows = [head]
    for each in shown:
        row = [each.route, each.shadow, each.breaker]
        row += [f"{count:,}" for count in (each.selected, each.sent, each.complete, each.censored)]
        row.append(size(each.held_bytes))
        for at in (each.by_size[number] for number in sizes if told):
            row.append(percent(at.compared / at.selected if at.selected else None))
        rows.append(row)
    yield from table(rows, left=3)
    yield from _more(len(status.copies), len(shown))


def _classes(shown: list[Copies]) -> int:
    return min(len(each.by_size) for each in shown)


def _class(copies: Copies, number: int) -> str:
    up_to = copies.by_size[number].up_to_bytes
    return f"<={size(up_to)}" if up_to is not None else f">{size(copies.by_size[number - 1].up_to_bytes or 0)}"


def _keys(status: Status) -> Iterator[str]:
    rows = [
        (each.experiment, f"{each.requests:,}", f"{each.missing:,}", f"{each.issued:,}", percent(each.hottest))
        for each in status.keys[:MOST_ROWS]
    ]
    if rows:
        yield from table([("EXPERIMENT", "WITH KEY", "WITHOUT", "ISSUED", "HOTTEST%"), *rows], left=1)
        yield from _more(len(status.keys), len(rows))


def _answers(status: Status, busiest: list[Call]) -> Iterator[str]:
    """Statuses and reasons since the start, one line for each call that ended anything."""
    rows = [
        (call.route or "(none)", _name(call), counts(call.statuses), counts(call.reasons))
        for call in busiest
        if call.requests
    ]
    if rows:
        yield "ANSWERS  since the start"
        yield from table([("ROUTE", "BACKEND", "STATUS", "REASON"), *rows], left=4)
        yield from _more(sum(call.requests > 0 for call in status.calls), len(rows))


def _pools(status: Status) -> Iterator[str]:
    rows = [
        (pool.backend, pool.endpoint, pool.role, "up" if pool.up else "DOWN",
         *map(str, (pool.active, pool.idle, pool.connecting, pool.pending)))
        for pool in status.pools[:MOST_ROWS]
    ]  # fmt: skip
    if rows:
        yield from table(
            [("POOL", "ENDPOINT", "ROLE", "STATE", "ACTIVE", "IDLE", "CONNECTING", "PENDING"), *rows], left=4
        )
        yield from _more(len(status.pools), len(rows))


def _listeners(status: Status) -> Iterator[str]:
    rows = [
        (each.name, each.address, f"{each.open:,}", f"{each.accepted:,}", f"{each.refused:,}")
        for each in status.listeners[:MOST_ROWS]
    ]
    yield from table([("LISTENER", "ADDRESS", "OPEN", "ACCEPTED", "REFUSED"), *rows], left=2)
    yield from _more(len(status.listeners), len(rows))


def _processes(status: Status) -> Iterator[str]:
    rows = [
        (
            each.name,
            str(each.pid),
            each.state,
            _duration(each.uptime_s),
            "-" if each.memory_bytes is None else f"{each.memory_bytes / 2**20:.0f} MiB",
            "-" if each.cpu_s is None else f"{each.cpu_s:.1f} s",
            "-" if each.lag_ms is None else f"{each.lag_ms:.1f} ms",
        )
        for each in status.processes
    ]
    yield from table([("PROCESS", "PID", "STATE", "UP", "MEMORY", "CPU", "LAG"), *rows], left=3)


def _failures(status: Status) -> Iterator[str]:
    rows = [
        (each.when[11:19], each.route or "(none)", each.backend or "-", each.endpoint or "-", str(each.status),
         each.reason, each.request_id, f"{each.total_ms:.0f} ms")
        for each in status.failures[-MOST_FAILURES:]
    ]  # fmt: skip
    if rows:
        head = ("FAILED", "ROUTE", "BACKEND", "ENDPOINT", "STATUS", "REASON", "REQUEST", "TOTAL")
        yield from table([head, *rows], left=7)


def _warnings(status: Status) -> Iterator[str]:
    lost = {kind: count for kind, count in status.losses().items() if count}
    yield "LOST  " + counts({"spans": 0, "logs": 0} | lost)
    if status.counters:
        yield "EVENTS  " + counts(status.counters)
    lines = status.warnings or ["none"]
    yield f"WARN  {lines[0]}"
    yield from (f"      {line}" for line in lines[1:])


def _rate(per_s: float | None) -> str:
    if per_s is None:
        return "-"
    return f"{per_s:,.0f}" if per_s >= 10 else f"{per_s:.1f}"


def _latency(latency: LatencyMs) -> str:
    return milliseconds(latency.p50, latency.p99)


def _name(call: Call) -> str:
    name = f"{call.backend or '-'}@{call.version}" if call.version else call.backend or "-"
    return f"{name} (shadow)" if call.role == "shadow" else name


def _duration(seconds: float) -> str:
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02}m"
