"""W3C Trace Context: the trace an exchange belongs to, and what each upstream call says of it.

An invalid `traceparent` restarts the trace; the sampled flag counts only from a trusted peer. `tracestate` and
`baggage` pass as bytes, save for members that carry our own name.
"""

from __future__ import annotations

import re

from ..filters.api import Headers

# Constant pattern of our own, fixed length: it cannot backtrack.
_TRACEPARENT = re.compile(  # noqa: TID251
    rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})(-.*)?"
)
_MEMBER = re.compile(  # noqa: TID251
    rb"[a-z0-9][a-z0-9_\-*/]{0,240}(?:@[a-z][a-z0-9_\-*/]{0,13})?=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
)
_OURS = b"us="
_MAX_MEMBERS = 32
FIELDS = frozenset({b"traceparent", b"tracestate", b"baggage"})


class Context:
    """The trace of one exchange, and what every upstream call passes on of it."""

    __slots__ = ("carried", "flags", "span_id", "trace_id")

    def __init__(self, trace_id: bytes, span_id: bytes, flags: bytes = b"00", carried: Headers | None = None) -> None:
        self.trace_id = trace_id  # 32 hexadecimal digits
        self.span_id = span_id  # 16, of the upstream call
        self.flags = flags
        self.carried = carried  # tracestate and baggage


def continued(carried: Headers, trace_id: bytes, span_id: bytes, trusted: bool) -> Context:
    """The context of a request that came with any of `FIELDS`; the ids serve where its trace cannot be continued."""
    parents = [value for name, value in carried if name == b"traceparent"]
    incoming = incoming_trace(parents[0], trusted) if len(parents) == 1 else None
    onward = onward_state(carried, incoming is not None)
    if incoming is None:
        return Context(trace_id, span_id, b"00", onward)
    return Context(incoming[0], span_id, incoming[1], onward)


def incoming_trace(traceparent: bytes, trusted: bool) -> tuple[bytes, bytes] | None:
    """The trace id (32 hex digits) and flags (2) to continue; None where a new trace begins."""
    if len(traceparent) < 55:
        return None
    match = _TRACEPARENT.fullmatch(traceparent)
    if match is None or (traceparent[:2] == b"00" and match[3] is not None):
        return None
    sampled = trusted and int(match[2], 16) & 1
    return match[1], b"01" if sampled else b"00"


def onward_state(headers: Headers, continued: bool) -> Headers:
    """The `tracestate` and `baggage` lines to pass on (W3C Trace Context section 3.3; W3C Baggage)."""
    passed: Headers = []
    state = [value for name, value in headers if name == b"tracestate"]
    if state and continued:
        members = [member for line in state for raw in line.split(b",") if (member := raw.strip(b" \t"))]
        keys = {member.partition(b"=")[0] for member in members}
        if len(members) <= _MAX_MEMBERS and len(keys) == len(members) and all(map(_MEMBER.fullmatch, members)):
            kept = [member for member in members if not member.startswith(_OURS)]
            if kept:
                passed.append((b"tracestate", b",".join(kept)))
    for name, value in headers:
        if name == b"baggage":
            members = [member for member in value.split(b",") if not member.strip(b" \t").startswith(_OURS)]
            if members:
                passed.append((name, b",".join(members)))
    return passed
