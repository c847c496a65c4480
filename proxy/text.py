"""Pieces of the screens that commands print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def table(rows: Sequence[Sequence[str]], left: int, *, last_left: bool = False) -> list[str]:
    """Columns two spaces apart, as wide as their widest cell; the first `left` columns flush left, the others right,
    save the last one of all where so asked."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    last = len(widths) - 1 if last_left else -1
    return [
        "  ".join(
            cell.ljust(width) if number < left or number == last else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def milliseconds(p50: float | None, p99: float | None, *, at_least: tuple[bool, bool] = (False, False)) -> str:
    """p50/p99 in the unit that fits the larger one, each in its own where that would make nothing of the smaller one;
    "-" for unknown. `at_least`: which of them are lower bounds."""
    if p50 is None or p99 is None:
        return "-"
    bounds = tuple("≥" if each else "" for each in at_least)
    digits = 0 if p50 >= 10 else 1
    if p99 >= 10_000:
        low = f"{p50 / 1000:.1f}" if p50 >= 1_000 else f"{p50:.{digits}f} ms"
        return f"{bounds[0]}{low}/{bounds[1]}{p99 / 1000:.1f} s"
    return f"{bounds[0]}{p50:.{digits}f}/{bounds[1]}{p99:.{digits}f} ms"


def counts(named: Mapping[str, int]) -> str:
    """`name count` of each."""
    return "  ".join(f"{name} {count:,}" for name, count in named.items())


def percent(share: float | None, digits: int = 1) -> str:
    """A share (0..1) without its sign; "-" for unknown."""
    return "-" if share is None else f"{share * 100:.{digits}f}"


def size(length: int) -> str:
    """Bytes in the largest unit that divides them, or rounded to MiB."""
    for unit, name in ((1 << 20, "MiB"), (1 << 10, "KiB")):
        if length >= unit:
            return f"{length / unit:.0f}{name}" if length % unit == 0 else f"{length / unit:.1f}{name}"
    return f"{length}B"
