"""`understudy status --from FILE|URL …`: the comparisons of many programs, added up."""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from . import admin_client
from .comparison.merging import Merged, Unusable, merge, read
from .comparison.view import Compare
from .comparison.words import arms, block
from .iso_time import now_text

ASKED_AT_ONCE = 16
MAX_DOCUMENT_BYTES = 64 * 1024 * 1024
UNREADABLE = 2


def answer(options: argparse.Namespace) -> int:
    """0, or 1 with warnings, or 2 when none of the documents could be read. What could not is told on stderr."""
    with ThreadPoolExecutor(ASKED_AT_ONCE) as pool:  # forty replicas, some of them not answering
        read_or_told = list(pool.map(_read, options.sources))
    found = [each for each in read_or_told if isinstance(each, Compare)]
    for told in read_or_told:
        if isinstance(told, str):
            print(f"understudy: {told}", file=sys.stderr)
    if not found:
        return UNREADABLE
    merged = merge(found, now_text())
    missing = len(options.sources) - len(found)
    if missing:
        merged.warnings.append(f"{missing} of {len(options.sources)} documents could not be read: not counted")
    if options.json:
        print(msgspec.json.format(msgspec.json.encode(merged.compare), indent=2).decode())
        for warning in merged.warnings:
            print(f"understudy: {warning}", file=sys.stderr)
    else:
        print(screen(merged))
    return 1 if merged.warnings else 0


def screen(merged: Merged) -> str:
    """The merged comparison as text, without a final line break."""
    compare = merged.compare
    config = f"config {compare.config.hash[:6]}" if compare.config is not None else "config -"
    lines = [f"understudy compare  {compare.instance}  {config}", *block(compare), *arms(compare)]
    if not compare.pairs:
        lines.append("PAIRS  none: nothing was mirrored")
    if compare.lost or compare.late:
        lines.append(f"LOST  records {compare.lost:,}  pairs of former epochs {compare.late:,}")
    warnings = merged.warnings or ["none"]
    return "\n".join([*lines, f"WARN  {warnings[0]}", *(f"      {line}" for line in warnings[1:])])


def _read(source: str) -> Compare | str:
    """A document, or why there is none."""
    try:
        return read(_fetched(source))
    except Unusable as problem:
        return f"{source}: {problem}"
    except admin_client.Unreachable as problem:
        return str(problem)


def _fetched(source: str) -> bytes:
    """A file, or what a program answers at `http://host:port`, with or without /compare, or `unix:/path`."""
    if not source.startswith("unix:") and "://" not in source:
        try:
            with Path(source).open("rb") as file:
                text = file.read(MAX_DOCUMENT_BYTES + 1)
        except OSError as problem:
            raise Unusable(f"it cannot be read: {problem.strerror}") from None
        if len(text) > MAX_DOCUMENT_BYTES:
            raise Unusable("it is too large for an answer of GET /compare")
        return text
    path = "/compare"
    if not source.startswith("unix:"):
        parts = urlsplit(source)
        path = parts.path if parts.path not in ("", "/") else path
        source = f"{parts.scheme}://{parts.netloc}"
    found = admin_client.ask(source, "GET", path)
    if found.status != 200:
        raise Unusable(f"it answered {found.status}")
    return found.body
