"""How connections to backends are verified: contexts, made while a configuration is built, before anybody decides.

Reading the system's authorities holds the loop for some 60 ms. So a context is made anew only where a file of it has
changed, and every connection finds its own ready.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Generator, Iterable
from contextlib import suppress
from typing import TypeAlias

from ..config.snapshot import Tls

Looks: TypeAlias = tuple[object, ...]


class Contexts:
    """Mutable state: those of the last build, by the names of their files and how these looked."""

    def __init__(self) -> None:
        self._made: dict[Looks, ssl.SSLContext] = {}

    def making(self, wanted: Iterable[Tls]) -> Generator[None, None, dict[Tls, ssl.SSLContext]]:
        """A context for each of these, pausing behind each. Raises OSError for unreadable files."""
        made: dict[Looks, ssl.SSLContext] = {}
        contexts: dict[Tls, ssl.SSLContext] = {}
        for tls in wanted:
            looks = _looks(tls)
            context = made.get(looks) or self._made.get(looks)
            if context is None:
                context = _context(tls)
                yield
            made[looks] = contexts[tls] = context
        self._made = made
        return contexts


def _looks(tls: Tls) -> Looks:
    """The name that a server must have is none of its context's business."""
    looks: list[object] = [tls.ca, tls.certificate, tls.key]
    looks += [_stamp(path) for path in (tls.ca, tls.certificate, tls.key) if path is not None]
    if tls.ca is None:
        system = ssl.get_default_verify_paths()
        with suppress(FileNotFoundError):
            looks += [_stamp(path) for path in (system.cafile, system.capath) if path is not None]
    return tuple(looks)


def _stamp(path: str) -> tuple[int, int, int]:
    seen = os.stat(path)
    return seen.st_ino, seen.st_mtime_ns, seen.st_size


def _context(tls: Tls) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=tls.ca)
    if tls.certificate is not None:
        context.load_cert_chain(tls.certificate, tls.key, password=lambda: "")  # asked for one, it must not prompt
    return context
