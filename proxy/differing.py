"""`understudy diff`: what changes between two files. Exits as diff(1) does."""

from __future__ import annotations

import argparse
import sys
from typing import Any

import msgspec

from ..config.diff import diff
from ..config.difference import Change, Difference
from ..config.load import load
from ..filters.redact import redacted
from .comparison.epochs import why_new

INVALID = 2


def answer(options: argparse.Namespace) -> int:
    """Print the difference; every mistake on stderr where a file is invalid."""
    old, new = load(options.old), load(options.new)
    if old.document is None or new.document is None:
        for mistake in old.mistakes + new.mistakes:
            print(mistake, file=sys.stderr)
        return INVALID
    found = Difference(
        old=old.hash,
        new=new.hash,
        epoch=why_new(old.document, new.document),
        changes=tuple(_shown(change) for change in diff(old.document, new.document)),
    )
    print(msgspec.json.format(msgspec.json.encode(found), indent=2).decode() if options.json else found.words())
    return 1 if found.changes else 0


def _shown(change: Change) -> Change:
    """What may be shown of it: a secret may stand in plain text, and a build's log is read by many."""
    return msgspec.structs.replace(change, old=_hidden(change.path, change.old), new=_hidden(change.path, change.new))


def _hidden(path: tuple[str, ...], value: Any) -> Any:
    for step in reversed(path):
        value = {step: value}
    value = redacted(value)
    for step in path:
        value = value[step]
    return value
