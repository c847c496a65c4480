"""`understudy diff`: what changes between two files. Exits as diff(1) does."""

from __future__ import annotations

import argparse
import re
import sys
from typing import Any

import msgspec

from ..config.diff import diff
from ..config.difference import Change, Difference
from ..config.load import load
from ..config.redact import redacted
from ..filters.redact import HIDDEN
from .comparison.epochs import why_new

INVALID = 2


def answer(options: argparse.Namespace) -> int:
    """Print the difference; every mistake on stderr where a file is invalid."""
    old, new = load(options.old), load(options.new)
    if old.document is None or new.document is None:
        for mistake in old.mistakes + new.mistakes:
            print(mistake, file=sys.stderr)
        return INVALID
    stand_in = _StandIns()  # a secret may stand in plain text, and a build's log is read by many
    before, after = redacted(old.document, stand_in), redacted(new.document, stand_in)
    found = Difference(
        old=old.hash,
        new=new.hash,
        epoch=why_new(old.document, new.document),
        changes=tuple(_shown(change) for change in diff(before, after)),
    )
    print(msgspec.json.format(msgspec.json.encode(found), indent=2).decode() if options.json else found.words())
    return 1 if found.changes else 0


class _StandIns:
    """What is compared in place of secrets, equal for equal ones. Mutable state: those given out."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def __call__(self, secret: str) -> str:
        return f"{HIDDEN}\0{self._numbers.setdefault(secret, len(self._numbers))}\0"


_STAND_IN = re.compile(re.escape(HIDDEN) + "\0[0-9]+\0")  # noqa: TID251 - a constant pattern


def _shown(change: Change) -> Change:
    return msgspec.structs.replace(change, old=_told(change.old), new=_told(change.new))


def _told(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _told(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_told(each) for each in value]
    return _STAND_IN.sub(HIDDEN, value) if isinstance(value, str) else value
