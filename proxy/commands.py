"""What each command does. Every function takes the parsed options and returns the exit status.

Imports stand inside the functions: `status --watch` must not pay for YAML, nor `validate` for the admin API.
"""
# ruff: noqa: PLC0415

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from . import admin_client

if TYPE_CHECKING:
    from ..config.load import Loaded

WATCH_EVERY_S = 2.0
UNREACHABLE = 2
CLEAR_SCREEN = "\x1b[H\x1b[2J"


def run(options: argparse.Namespace) -> int:
    """Serve until told to end. 0 after a drain; 1 when it could not start, or a second signal cut it off."""
    loaded = _load(options.config)
    if loaded is None:
        return 1
    from . import control, log

    log.set_up("control")
    return control.run(loaded)


def validate(options: argparse.Namespace) -> int:
    """0 and one line, or 1 and every mistake; warnings either way."""
    loaded = _load(options.config)
    if loaded is None or loaded.document is None:
        return 1
    document = loaded.document
    parts = {
        "listener": len(document.listeners), "backend": len(document.backends), "route": len(document.routes),
    }  # fmt: skip
    counts = ", ".join(f"{count} {name}{'s' * (count != 1)}" for name, count in parts.items())
    print(f"{options.config}: valid: {counts}, hash {loaded.hash[:6]}")
    return 0


def explain(options: argparse.Namespace) -> int:
    """0 when a backend is asked, 1 when the request is refused or the question is wrong, 2 unreachable."""
    from . import explain

    return explain.answer(options, _admin_url(options) if options.running else None)


def diff(options: argparse.Namespace) -> int:
    """As diff(1): 0 when nothing changes, 1 when something does, 2 when a file is invalid."""
    from . import differing

    return differing.answer(options)


def status(options: argparse.Namespace) -> int:
    """0 healthy, 1 with warnings, 2 unreachable. Watching ends by SIGINT; it outlasts a restart of the program."""
    if options.sources:
        from . import merged

        return merged.answer(options)
    url = _admin_url(options)
    if url is None:
        return 1
    result = _show_status(url, options)
    if not options.watch or result == UNREACHABLE:
        return result
    try:
        while True:
            threading.Event().wait(WATCH_EVERY_S)
            with _uninterrupted():
                result = _show_status(url, options)
    except KeyboardInterrupt:
        return result


def reload(options: argparse.Namespace) -> int:
    """0 when the file is served now, 1 and every mistake when it was refused, 2 unreachable."""
    return _post(options, "/reload", admin_client.RELOAD_TIMEOUT_S)


def drain(options: argparse.Namespace) -> int:
    """0 when draining has begun, 1 when that was refused or the file has mistakes, 2 unreachable."""
    return _post(options, "/drain", admin_client.TIMEOUT_S)


def _load(path: str) -> Loaded | None:
    """Say mistakes and warnings on stderr; None when there are mistakes."""
    loaded = _read(path)
    for warning in loaded.warnings:
        print(f"{warning} (warning)", file=sys.stderr)
    return None if loaded.mistakes else loaded


def _read(path: str) -> Loaded:
    """Say the mistakes on stderr."""
    from ..config.load import load

    loaded = load(path)
    for mistake in loaded.mistakes:
        print(mistake, file=sys.stderr)
    return loaded


def _admin_url(options: argparse.Namespace) -> str | None:
    """`--admin`, else the file's address, else the environment's, else the default.

    None where a file was named and has mistakes, which are said: another program than the one meant may run elsewhere.
    """
    if options.admin:
        return str(options.admin)
    if getattr(options, "config", None):
        document = _read(options.config).document
        return document.admin.bind if document is not None else None
    return os.environ.get("UNDERSTUDY_ADMIN") or admin_client.DEFAULT_URL


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """SIGINT waits for the end of the block: what was shown last is what the exit status says."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])


def _show_status(url: str, options: argparse.Namespace) -> int:
    from .screen import screen
    from .status import Status

    try:
        answer = admin_client.ask(url, "GET", "/status")
        found = msgspec.json.decode(answer.body, type=Status)
    except admin_client.Unreachable as problem:
        print(f"understudy: {problem}", file=sys.stderr)
        return UNREACHABLE
    except msgspec.DecodeError:
        _say_refusal(answer)
        return UNREACHABLE
    if not options.json:
        text = (CLEAR_SCREEN if options.watch and sys.stdout.isatty() else "") + screen(found)
    elif options.watch:
        text = answer.body.decode().strip()
    else:
        text = msgspec.json.format(answer.body, indent=2).decode()
    print(text, flush=True)
    return 1 if found.warnings or found.state != "ready" else 0


def _post(options: argparse.Namespace, path: str, timeout_s: float) -> int:
    url = _admin_url(options)
    if url is None:
        return 1
    try:
        answer = admin_client.ask(url, "POST", path, timeout_s)
    except admin_client.Unreachable as problem:
        print(f"understudy: {problem}", file=sys.stderr)
        return UNREACHABLE
    if answer.status >= 300:
        _say_refusal(answer)
        return 1
    body = _object(answer)
    warnings = body.pop("warnings", ())
    print(" ".join(f"{name} {value}" for name, value in body.items() if value))
    for warning in warnings:
        print(f"{warning} (warning)", file=sys.stderr)
    return 0


def _say_refusal(answer: admin_client.Answer) -> None:
    """On stderr: why, as the admin API says it in problem+json, and every mistake."""
    body = _object(answer)
    detail = body.get("detail")
    why = f"{answer.status}: {detail}" if detail else f"that is no admin API of understudy: it answered {answer.status}"
    print(f"understudy: {why}", file=sys.stderr)
    for mistake in body.get("mistakes", ()):
        print(mistake, file=sys.stderr)


def _object(answer: admin_client.Answer) -> dict[str, Any]:
    try:
        return msgspec.json.decode(answer.body, type=dict[str, Any])
    except msgspec.DecodeError:
        return {}
