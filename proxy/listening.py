"""Listening sockets: bound by control, kept open by it for as long as they are configured, lent to workers."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from ..config.binds import parse_bind
from ..config.paths import Path

BACKLOG = 4096  # the kernel caps it at net.core.somaxconn


class BindError(Exception):
    """The address cannot be listened on: the message names it and says why, `key` is where it was configured."""

    def __init__(self, key: Path, message: str) -> None:
        super().__init__(message)
        self.key = key


@dataclass(slots=True)
class Bound:
    """A listening socket and how to say it."""

    bind: str  # as configured
    sock: socket.socket
    path: str | None = None  # a unix socket's file, which is ours to remove

    @property
    def url(self) -> str:
        """What a client connects to: `http://host:port` with the real port, or `unix:/path`."""
        if self.sock.family == socket.AF_UNIX:
            return f"unix:{self.sock.getsockname()}"
        host, port = self.sock.getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def close(self) -> None:
        """Stop listening, and remove the unix socket's file. Workers' copies are theirs to close."""
        self.sock.close()
        if self.path is not None:
            with suppress(FileNotFoundError):
                os.unlink(self.path)
            self.path = None


class Listening:
    """The sockets of the running configuration's listeners. Mutable state: `bound`, by listener's name."""

    def __init__(self) -> None:
        self.bound: dict[str, Bound] = {}

    def plan(self, binds: Mapping[str, str]) -> dict[str, Bound]:
        """The sockets for these names: those that are open stay as they are, the others are opened.

        Nothing changes until `commit`. Raises BindError, leaving none of the new ones open.
        """
        planned: dict[str, Bound] = {}
        open_already = {(name, bound.bind): bound for name, bound in self.bound.items()}
        by_address = {bound.bind: bound for bound in self.bound.values() if not bound.bind.endswith(":0")}
        try:
            for name, address in binds.items():
                bound = open_already.get((name, address)) or by_address.get(address)
                planned[name] = bound or bind(address, ("listeners", name, "bind"))
        except BindError:
            self.abandon(planned)
            raise
        return planned

    def abandon(self, planned: Mapping[str, Bound]) -> None:
        """Close what `plan` opened."""
        self._close_all_but(planned, self.bound)

    def commit(self, planned: dict[str, Bound]) -> None:
        """These are the sockets from now on; those no longer named are closed."""
        former, self.bound = self.bound, planned
        self._close_all_but(former, planned)

    @staticmethod
    def _close_all_but(some: Mapping[str, Bound], kept: Mapping[str, Bound]) -> None:
        for bound in some.values():
            if not any(bound is other for other in kept.values()):
                bound.close()


def bind(address: str, key: Path) -> Bound:
    """Listen on an address as `config/binds.py` reads it. `key` is where it was configured. Raises BindError."""
    place = parse_bind(address)
    try:
        match place.kind:
            case "unix":
                return _bind_unix(address, place.path)
            case "fd":
                return _adopt(address, place.fd)
            case "tcp":
                return _bind_tcp(address, place.host, place.port)
    except (OSError, UnicodeError) as problem:  # the latter of a name that no resolver can be asked for
        reason = getattr(problem, "strerror", None) or problem
        raise BindError(key, f"cannot listen on {address}: {reason}") from problem


def _bind_tcp(address: str, host: str, port: int) -> Bound:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, name = found[0]
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(name)
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return Bound(address, sock)


def _bind_unix(address: str, path: str) -> Bound:
    _remove_stale(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(path)
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return Bound(address, sock, path)


def _remove_stale(path: str) -> None:
    """A socket file that nobody listens on is the rest of a program that was killed; anything else stays."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            raise OSError(errno.EEXIST, "a file that is no socket is in the way")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def _adopt(address: str, number: int) -> Bound:
    """A socket that whoever started us already listens on: systemd's LISTEN_FDS count from 3."""
    sock = socket.socket(fileno=os.dup(number))
    if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        sock.close()
        raise OSError(errno.EINVAL, "the descriptor is no listening socket")
    return Bound(address, sock)
