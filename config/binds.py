"""Where a listener binds: `host:port`, `[::1]:7080`, `unix:/path` or `fd:3`. Pure: nothing is opened here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address
from string import hexdigits
from typing import Literal

ALLOWED = "host:port, [::1]:7080, unix:/path or fd:3"

MAX_UNIX_PATH_BYTES = 107
"""What Linux's sockaddr_un holds, without its final NUL."""

_HOST_PORT = re.compile(r"(?:\[([^\]]*)\]|([^:\[\]]*)):([0-9]{1,5})")  # noqa: TID251 - a constant pattern
_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?")  # noqa: TID251 - a constant pattern
_IPV6_AND_PORT = frozenset(hexdigits + ":.")


@dataclass(frozen=True, slots=True)
class Bind:
    """A parsed `bind:`. `kind` says which fields count."""

    kind: Literal["tcp", "unix", "fd"]
    host: str = ""  # a name or an IP literal without brackets
    port: int = 0  # 0: any free one
    path: str = ""  # of the unix socket
    fd: int = -1

    @property
    def label(self) -> str:
        """As one writes it in YAML."""
        if self.kind == "unix":
            return f"unix:{self.path}"
        if self.kind == "fd":
            return f"fd:{self.fd}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_bind(text: str) -> Bind:
    """Read a `bind:`. Raises ValueError with what is wrong and what is allowed."""
    if text.startswith("unix:"):
        return Bind("unix", path=parse_unix_path(text.removeprefix("unix:")))
    if text.startswith("fd:"):
        number = text.removeprefix("fd:")
        if not (number.isascii() and number.isdigit()) or not 3 <= int(number[:9]) <= 65_535:
            raise ValueError("needs the number of an inherited descriptor, 3 to 65535; allowed: " + ALLOWED)
        return Bind("fd", fd=int(number))
    match = _HOST_PORT.fullmatch(text)
    if text.startswith(":") and text.count(":") == 1:
        raise ValueError("names no host; for every address of the machine write 0.0.0.0 or [::]")
    if match is None and text.count(":") > 1 and set(text) <= _IPV6_AND_PORT:
        raise ValueError("needs brackets around an IPv6 address; allowed: " + ALLOWED)
    if match is None:
        raise ValueError("is no address to bind; allowed: " + ALLOWED)
    return Bind("tcp", host=parse_host(match[1], match[2]), port=parse_port(match[3], least=0))


def parse_unix_path(path: str) -> str:
    """Check a unix socket's path. Raises ValueError."""
    if not path.startswith("/") or path.startswith("//"):
        raise ValueError("needs an absolute path: unix:/run/understudy.sock")
    if "\0" in path or len(path.encode()) > MAX_UNIX_PATH_BYTES:
        raise ValueError(f"needs a path of at most {MAX_UNIX_PATH_BYTES} bytes without NUL, as the system's sockets do")
    return path


def parse_host(bracketed: str | None, plain: str | None) -> str:
    """Check a host that stood in brackets, or one that did not. Raises ValueError."""
    if bracketed is not None:
        try:
            literal = ip_address(bracketed)
        except ValueError:
            literal = None
        if literal is None or literal.version != 6 or "%" in bracketed:
            raise ValueError("has no IPv6 address between its brackets; allowed: [::1] or the like")
        return str(literal)
    if not plain:
        raise ValueError("names no host")
    if not _NAME.fullmatch(plain):
        raise ValueError("has no valid host; allowed: a name, an IPv4 address, or an IPv6 address in brackets")
    if plain.replace(".", "").isdigit():
        try:
            return str(ip_address(plain))
        except ValueError:
            raise ValueError("has no valid IPv4 address; allowed: four numbers from 0 to 255") from None
    return plain.lower()


def parse_port(text: str, *, least: int) -> int:
    """Check a port. Raises ValueError."""
    port = int(text)
    if not least <= port <= 65_535:
        raise ValueError(f"has a port outside {least} to 65535")
    return port


def clash(one: Bind, other: Bind) -> bool:
    """Whether the second of the two could not be bound. Names other than localhost are compared as they are."""
    if one.kind != other.kind:
        return False
    if one.kind != "tcp":
        return one == other
    if one.port != other.port or one.port == 0:
        return False
    hosts = {_literal(one.host), _literal(other.host)}
    if len(hosts) == 1 or "::" in hosts:  # [::] takes IPv4 too unless the system says otherwise
        return True
    return "0.0.0.0" in hosts and not any(":" in host for host in hosts)


def _literal(host: str) -> str:
    return "127.0.0.1" if host == "localhost" else host
