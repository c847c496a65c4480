"""`understudy status` as text: one screen, the same facts as `GET /status`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .status import Call, LatencyMs, Status

MOST_ROWS = 50
MOST_FAILURES = 10


def screen(status: Status) -> str:
    """The whole screen, without a final line break."""
    return "\n".join([_headline(status), *_calls(status), *_answers(status), *_pools(status), *_listeners(status),
                      *_processes(status), *_failures(status), *_warnings(status)])  # fmt: skip


def table(rows: Sequence[Sequence[str]], left: int) -> list[str]:
    """Columns two spaces apart, as wide as their widest cell; the first `left` columns flush left, the others right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if number < left else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _headline(status: Status) -> str:
    config = status.config
    refused = config.rejected
    rejected = f"{refused.when} ({len(refused.mistakes)} mistakes)" if refused and refused.stands else "none"
    return (
        f"understudy {status.program_version}  pod {status.instance}"
        f"  workers {status.workers_serving}/{status.workers_wanted}  {status.state}"
        f"  config {config.hash[:6] or '-'} v{config.version} ({config.since[11:19]})  rejected: {rejected}"
    )


def _calls(status: Status) -> Iterator[str]:
    up = {pool.backend: (0, 0) for pool in status.pools}
    for pool in status.pools:
        ups, all_ = up[pool.backend]
        up[pool.backend] = (ups + pool.up, all_ + 1)
    rows = [("ROUTE", "BACKEND", "VER", "ROLE", "REQ/S", "INFL/MAX", "5XX%", "TTFB p50/p99", "TOTAL p50/p99", "UP")]
    busiest = sorted(status.calls, key=lambda call: call.requests, reverse=True)[:MOST_ROWS]
    for call in (call for call in status.calls if call in busiest):
        ups, all_ = up.get(call.backend, (0, 0))
        rows.append((
            call.route or "(none)", call.backend or "-", call.version or "-", call.role if call.backend else "-",
            "-" if call.rate_per_s is None else f"{call.rate_per_s:,.0f}" if call.rate_per_s >= 10 else
            f"{call.rate_per_s:.1f}",
            f"{call.in_flight}/{'-' if call.max_in_flight is None else call.max_in_flight}",
            "-" if call.errors_ratio is None else f"{call.errors_ratio * 100:.2f}",
            milliseconds(call.first_byte_ms), milliseconds(call.total_ms), f"{ups}/{all_}" if all_ else "-",
        ))  # fmt: skip
    yield from table(rows, left=4)
    if len(status.calls) > len(busiest):
        yield f"… and {len(status.calls) - len(busiest)} more; --json has all"


def _answers(status: Status) -> Iterator[str]:
    """Statuses and reasons since the start, one line for each call that ended anything."""
    rows = [
        (call.route or "(none)", _name(call), _counts(call.statuses), _counts(call.reasons))
        for call in status.calls[:MOST_ROWS]
        if call.requests
    ]
    if rows:
        yield "ANSWERS  since the start"
        yield from table([("ROUTE", "BACKEND", "STATUS", "REASON"), *rows], left=4)


def _pools(status: Status) -> Iterator[str]:
    rows = [
        (pool.backend, pool.endpoint, "up" if pool.up else "DOWN",
         *map(str, (pool.active, pool.idle, pool.connecting, pool.pending)))
        for pool in status.pools[:MOST_ROWS]
    ]  # fmt: skip
    if rows:
        yield from table([("POOL", "ENDPOINT", "STATE", "ACTIVE", "IDLE", "CONNECTING", "PENDING"), *rows], left=3)


def _listeners(status: Status) -> Iterator[str]:
    rows = [
        (each.name, each.address, f"{each.open:,}", f"{each.accepted:,}", f"{each.refused:,}")
        for each in status.listeners[:MOST_ROWS]
    ]
    yield from table([("LISTENER", "ADDRESS", "OPEN", "ACCEPTED", "REFUSED"), *rows], left=2)


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
    if status.records_dropped:
        yield f"LOST  records {status.records_dropped:,}"
    if status.counters:
        yield "EVENTS  " + _counts(status.counters)
    lines = status.warnings or ["none"]
    yield f"WARN  {lines[0]}"
    yield from (f"      {line}" for line in lines[1:])


def milliseconds(latency: LatencyMs) -> str:
    """p50/p99 in the unit that fits the larger one."""
    if latency.p50 is None or latency.p99 is None:
        return "-"
    if latency.p99 >= 10_000:
        return f"{latency.p50 / 1000:.1f}/{latency.p99 / 1000:.1f} s"
    digits = 0 if latency.p50 >= 10 else 1
    return f"{latency.p50:.{digits}f}/{latency.p99:.{digits}f} ms"


def _name(call: Call) -> str:
    return f"{call.backend}@{call.version}" if call.version else call.backend or "-"


def _counts(counts: dict[str, int]) -> str:
    return "  ".join(f"{name} {count:,}" for name, count in counts.items())


def _duration(seconds: float) -> str:
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02}m"
