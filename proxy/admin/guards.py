"""Who may ask the admin API: no web page by DNS rebinding or form post, and, with a token set, its bearers alone."""

from __future__ import annotations

import hmac
from ipaddress import ip_address

from aiohttp import web

from .problems import Handler, problem


class Guards:
    """The checks of every request, in order: Host, then for a POST its content type and token."""

    def __init__(self, hosts: tuple[str, ...], token: str | None) -> None:
        self._hosts = frozenset(host.lower() for host in hosts)
        self._token = token

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse, or let the handler answer."""
        host = request.headers.get("Host")
        if host is not None and not is_local_name(host, self._hosts):
            return problem(403, "the Host is no IP literal, localhost or a name in admin.hosts")
        if request.method == "POST":
            if request.content_type != "application/json":
                return problem(415, "a POST needs Content-Type: application/json")
            if self._token is not None and not self._carries_token(request):
                return problem(401, "the bearer token is missing or wrong", {"WWW-Authenticate": "Bearer"})
        return await handler(request)

    def _carries_token(self, request: web.Request) -> bool:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        assert self._token is not None
        same = hmac.compare_digest(token.strip().encode(errors="surrogateescape"), self._token.encode())
        return same and scheme.lower() == "bearer"


def is_local_name(host: str, configured: frozenset[str]) -> bool:
    """Whether a Host field names this place in a way that no attacker's DNS record can: RFC 9110 section 7.2."""
    name, _, port = host.rpartition(":") if not host.endswith("]") else (host, "", "")
    if not name or not (port.isascii() and port.isdigit()):
        name = host
    name = name.lower()
    if name == "localhost" or name in configured:
        return True
    try:
        ip_address(name[1:-1] if name.startswith("[") and name.endswith("]") else name)
    except ValueError:
        return False
    return True
