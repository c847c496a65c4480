"""Requests written as one reads them on the wire."""

from __future__ import annotations

from textwrap import dedent

from understudy.filters.api import Request


def request(head: str) -> Request:
    """A request without a body from its request line and field lines; `Host` becomes the authority."""
    line, *fields = dedent(head).strip().splitlines()
    method, target = line.split(" ")[:2]
    authority = b"model.local:7080"
    headers = []
    for field in fields:
        name, _, value = field.partition(":")
        if name.lower() == "host":
            authority = value.strip().encode()
        else:
            headers.append((name.lower().encode(), value.strip().encode("latin-1")))
    return Request(method.encode(), target.encode("latin-1"), authority, headers)
