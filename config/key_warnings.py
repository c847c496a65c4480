"""What valid keys should still tell their operator: whom a draw does not stick to, though it seems to."""

from __future__ import annotations

from collections.abc import Iterator

from ..filters.api import FilterConfig
from ..filters.flags import FlagsConfig
from ..filters.keys import Key, KeyOf, KeySource, Source
from ..filters.mirror import MirrorConfig
from ..filters.split import SplitConfig
from . import own_secret
from .paths import Found, Path
from .schema import Document, ListenerPart


def key_warnings(config: FilterConfig, document: Document) -> Found:
    """Of the keys of one filter; paths begin inside it."""
    trusts = any(listener.trust for listener in document.listeners.values())
    sockets = [name for name, each in document.listeners.items() if _is_unix(each)]
    is_kept = own_secret.kept_at(document) is not None
    for path, key in _keys(config):
        yield from _never_reached(key, path, trusts)
        if sockets and "client_address" in sources_of(key):
            yield (
                path,
                f"client_address is the same for every client of listener {sockets[0]}, a unix socket;"
                " trust: [unix] there takes the address that its peer forwards",
            )
        if not is_kept:
            yield from _issued(key, path)


def sources_of(key: KeyOf) -> tuple[Source, ...]:
    """Where a key is looked for, in order; names of headers in lower case."""
    if not isinstance(key, Key):
        return (key,)
    several = key.first
    if several is None:
        several = (KeySource(header=key.header, cookie=key.cookie, jwt=key.jwt, issue=key.issue),)
    return tuple(
        KeySource(header=each.header.lower()) if isinstance(each, KeySource) and each.header else each
        for each in several
    )


def _keys(config: FilterConfig) -> Iterator[tuple[Path, KeyOf]]:
    if isinstance(config, SplitConfig):
        yield ("key",), config.key
    elif isinstance(config, FlagsConfig):
        yield from ((("rules", at, "key"), rule.key) for at, rule in enumerate(config.rules) if rule.key is not None)
    elif isinstance(config, MirrorConfig):
        for at, shadow in enumerate(config.to):
            if shadow.sample_by is not None:
                yield ("to", at, "sample_by"), shadow.sample_by


def _never_reached(key: KeyOf, path: Path, trusts: bool) -> Found:
    """What stands behind a source that every request has: other sources, and what is to be without a key."""
    for at, source in enumerate(sources_of(key)):
        name, why = _everybodys(source, trusts)
        if not why:
            continue
        if isinstance(key, Key) and at + 1 < len(key.first or ()):
            yield (*path, "first", at + 1), f"is never asked: {name} stands before it, which {why}"
        if isinstance(key, Key) and key.missing != "backend":
            yield (
                (*path, "missing"),
                f"{key.missing} never comes to pass: the key may be {name}, which {why}",
            )
        return


def _everybodys(source: Source, trusts: bool) -> tuple[str, str]:
    """A source, and why every request has it; "" where one may not. A trusted peer may give us no address."""
    if isinstance(source, KeySource):
        return f"cookie {source.cookie}", "is issued to whoever has none" if source.issue else ""
    return source, "every request has" if source == "random" or not trusts else ""


def _issued(key: KeyOf, path: Path) -> Found:
    several = isinstance(key, Key) and key.first is not None
    for at, source in enumerate(sources_of(key)):
        if isinstance(source, KeySource) and source.issue:
            yield (
                (*path, *(("first", at) if several else ()), "issue"),
                "cookies that are issued without secret do not survive a restart: everyone is drawn anew;"
                " give secret: {file: PATH} or {env: NAME}",
            )


def _is_unix(listener: ListenerPart) -> bool:
    return listener.bind.startswith("unix:") and "unix" not in listener.trust
