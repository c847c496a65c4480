"""`understudy explain`: decide about one request as the data plane would, by a file or by what runs now."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Coroutine
from dataclasses import replace
from random import Random
from typing import Any

import msgspec

from ..config.compile import compile_snapshot
from ..config.explain import explain
from ..config.load import load
from ..config.schema import Document, convert
from ..config.snapshot import Snapshot
from ..filters.api import Failure, KeyUse
from . import admin_client
from .admin.redact import is_reference

_PLACEHOLDER = "(secret)"


class Wrong(Exception):
    """The question cannot be answered; the message says why."""


class _NoServices:
    """Lent to filters that are built to be looked at, never to run."""

    rng = Random(0)
    secret = bytes(32)

    def count(self, name: str, by: int = 1) -> None:
        pass

    def available(self, backend: str) -> bool:
        return True

    def key_use(self, experiment: str) -> KeyUse:
        return KeyUse(experiment)

    def now(self) -> float:
        return 0.0

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        work.close()
        raise Failure("overloaded", f"{name}: nothing runs here")


def answer(options: argparse.Namespace, running_at: str | None) -> int:
    """Print the explanation. `running_at`: the admin API to ask for the configuration; None: read the file."""
    try:
        snapshot = _running(running_at) if running_at is not None else _from_file(options.config)
        explanation = explain(snapshot, options.method, options.target, [_header(line) for line in options.header])
    except admin_client.Unreachable as problem:
        print(f"understudy: {problem}", file=sys.stderr)
        return 2
    except (Wrong, ValueError) as problem:
        print(problem, file=sys.stderr)
        return 1
    if options.json:
        print(msgspec.json.format(msgspec.json.encode(explanation), indent=2).decode())
    else:
        print(explanation.words())
    return 0 if explanation.route is not None else 1


def _from_file(path: str) -> Snapshot:
    loaded = load(path)
    if loaded.document is None:
        raise Wrong("\n".join(map(str, loaded.mistakes)))
    return _compiled(loaded.document, loaded.base)


def _running(url: str) -> Snapshot:
    """What the program serves now. Secrets are never shown, so they are stood in for: no decision hangs on one."""
    status, body = admin_client.ask(url, "GET", "/config")
    try:
        shown = msgspec.json.decode(body, type=dict)
        raw = shown["document"]
    except (msgspec.DecodeError, KeyError):
        raise Wrong(f"understudy: {url} is no admin API of understudy: it answered {status}") from None
    if raw is None:
        raise Wrong("understudy: the program has not started to serve yet")
    for route in raw["routes"]:
        route["filters"] = [_without_references(each) for each in route.get("filters", ())]
    snapshot = _compiled(convert(raw), os.path.dirname(os.path.abspath(shown["file"])))
    return replace(snapshot, hash=shown["hash"])


def _compiled(document: Document, base: str) -> Snapshot:
    return compile_snapshot(document, _NoServices(), version=1, workers=1, base=base)


def _without_references(value: Any) -> Any:
    if isinstance(value, dict):
        if is_reference(value):
            return _PLACEHOLDER
        return {name: _without_references(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_without_references(each) for each in value]
    return value


def _header(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not colon or not name.strip():
        raise Wrong(f"understudy: {line!r} is no header; write -H 'name: value'")
    return name.strip(), value.strip()
