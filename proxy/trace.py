"""W3C Trace Context: the trace an exchange belongs to, and what each upstream call says of it.

An invalid `traceparent` restarts the trace; the sampled flag counts only from a trusted peer. `tracestate` and
`baggage` pass as bytes, save for members that carry our own name. The grammar is that of level 2 of the recommendation.
"""

from __future__ import annotations

import re
from typing import Final

from ..filters.api import Headers

# Constant pattern of our own, fixed length: it cannot backtrack.
_TRACEPARENT = re.compile(  # noqa: TID251
    rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?"
)
_MEMBER = re.compile(  # noqa: TID251
    rb"[a-z0-9][a-z0-9_\-*/@]{0,255}=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
)
_OUR_KEY = b"us"
_OURS = _OUR_KEY + b"="
_MAX_MEMBERS = 32
FIELDS = frozenset({b"traceparent", b"tracestate", b"baggage"})

SAMPLED: Final = b"01"
UNSAMPLED: Final = b"00"


class Context:
    """The trace of one exchange, and what every upstream call passes on of it."""

    __slots__ = ("carried", "flags", "parent_id", "span_id", "trace_id")

    def __init__(
        self, trace_id: bytes, span_id: bytes, flags: bytes = UNSAMPLED, carried: Headers | None = None,
        parent_id: bytes = b"",
    ) -> None:  # fmt: skip
        self.trace_id = trace_id  # 32 hexadecimal digits
        self.span_id = span_id  # 16, of the upstream call: another one each time that it is made
        self.parent_id = parent_id  # 16, the caller's; b"" where the trace begins here
        self.flags = flags
        self.carried = carried  # tracestate and baggage


def continued(carried: Headers, trace_id: bytes, span_id: bytes, trusted: bool) -> Context:
    """The context of a request that came with any of `FIELDS`; the ids serve where its trace cannot be continued."""
    parents = [value for name, value in carried if name == b"traceparent"]
    incoming = incoming_trace(parents[0], trusted) if len(parents) == 1 else None
    onward = onward_state(carried, incoming is not None)
    if incoming is None:
        return Context(trace_id, span_id, UNSAMPLED, onward)
    return Context(incoming[0], span_id, incoming[2], onward, incoming[1])


def incoming_trace(traceparent: bytes, trusted: bool) -> tuple[bytes, bytes, bytes] | None:
    """The trace id (32 hex digits), the caller's span id (16) and the flags (2) to continue; None where a new trace
    begins."""
    if len(traceparent) < 55:
        return None
    match = _TRACEPARENT.fullmatch(traceparent)
    if match is None or (traceparent[:2] == b"00" and match[4] is not None):
        return None
    sampled = trusted and int(match[3], 16) & 1
    return match[1], match[2], SAMPLED if sampled else UNSAMPLED


def onward_state(headers: Headers, continued: bool) -> Headers:
    """The `tracestate` and `baggage` lines to pass on (W3C Trace Context section 3.3; W3C Baggage)."""
    passed: Headers = []
    state = [value for name, value in headers if name == b"tracestate"]
    if state and continued:
        members = [member for line in state for raw in line.split(b",") if (member := raw.strip(b" \t"))]
        if len(members) <= _MAX_MEMBERS and all(map(_MEMBER.fullmatch, members)):
            kept: dict[bytes, bytes] = {}
            for member in members:
                kept.setdefault(member.partition(b"=")[0], member)  # of a key that repeats, the latest stands first
            kept.pop(_OUR_KEY, None)
            if kept:
                passed.append((b"tracestate", b",".join(kept.values())))
    for name, value in headers:
        if name == b"baggage":
            members = [member for member in value.split(b",") if not member.strip(b" \t").startswith(_OURS)]
            if members:
                passed.append((name, b",".join(members)))
    return passed


def beside(context: Context, trace_id: bytes) -> Context:
    """A trace of its own for a copy of this request: a `tracestate` belongs to the trace that it came with."""
    carried = context.carried
    kept = [line for line in carried if line[0] != b"tracestate"] if carried is not None else None
    return Context(trace_id, context.span_id, context.flags, kept)


def state_of(carried: Headers | None) -> bytes:
    """The `tracestate` among the lines of `onward_state`; b"" for none."""
    for name, value in carried or ():
        if name == b"tracestate":
            return value
    return b""
