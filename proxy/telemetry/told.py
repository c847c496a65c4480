"""What there is to tell of an exchange, gathered: its spans and its line of the access log are made of it.

Compiled, and plain classes: to read fifty attributes of anything else takes longer than to encode the spans.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .records import StreamTimes

NOTHING_DOCUMENTED: Final[Mapping[str, str]] = MappingProxyType({})


class ToldFlag:
    """A flag that decided something, for feature_flag.*."""

    __slots__ = ("about", "key", "reason", "variant")

    def __init__(self, key: str, variant: str, reason: str, about: Mapping[str, str] = NOTHING_DOCUMENTED) -> None:
        self.key = key
        self.variant = variant  # what it decided: a backend, or the effects' names
        self.reason = reason  # targeting_match | split | unknown (of a filter that is none of ours)
        self.about = about  # its kind, owner and expiry, as the configuration documents them


class ToldPair:
    """What a copy's span says of its pair; None where either side has no such figure."""

    __slots__ = ("latency_delta_ms", "latency_ratio", "status_match")

    def __init__(self, latency_delta_ms: float | None, latency_ratio: float | None, status_match: bool | None) -> None:
        self.latency_delta_ms = latency_delta_ms
        self.latency_ratio = latency_ratio
        self.status_match = status_match


class ToldCall:
    """One call to a backend, live or a copy. Times are milliseconds since the exchange began; None: never."""

    __slots__ = (
        "backend", "censored", "end_ms", "endpoint", "first_byte_ms", "outcome", "pair", "request_bytes", "resent",
        "response_bytes", "role", "span_id", "start_ms", "status", "stream", "trace_id", "version",
    )  # fmt: skip

    def __init__(
        self, role: str, backend: str, version: str, endpoint: str, trace_id: bytes, span_id: bytes,
        start_ms: float, first_byte_ms: float | None, end_ms: float, status: int, outcome: str, censored: bool,
        resent: int, request_bytes: int, response_bytes: int, stream: StreamTimes | None, pair: ToldPair | None,
    ) -> None:  # fmt: skip
        self.role = role  # live | shadow
        self.backend = backend
        self.version = version
        self.endpoint = endpoint  # Endpoint.label; "" when none was chosen
        self.trace_id = trace_id  # b"": the exchange's own; else that of a copy that has a trace to itself
        self.span_id = span_id  # 16 hexadecimal digits, as the backend was told; b"" for a copy that was never sent
        self.start_ms = start_ms
        self.first_byte_ms = first_byte_ms
        self.end_ms = end_ms
        self.status = status  # 0: no answer
        self.outcome = outcome  # "complete", "pending" (under way: no span is made of it yet), or a reason as in `Pair`
        self.censored = censored
        self.resent = resent  # how often the call was made before this one
        self.request_bytes = request_bytes
        self.response_bytes = response_bytes
        self.stream = stream
        self.pair = pair  # of a copy


class ToldExchange:
    """One exchange told whole: what its spans and its line of the access log are made of. Sizes are bytes of bodies."""

    __slots__ = (
        "arm", "began_s", "calls", "client", "config", "experiment", "fields", "first_byte_ms", "flags", "http_version",
        "live_told", "logged", "method", "parent_id", "path", "port", "reason", "request_bytes", "request_id",
        "response_bytes", "route", "sampled", "scheme", "span_id", "status", "total_ms", "trace_id", "trace_state",
        "traced",
    )  # fmt: skip

    def __init__(
        self, traced: bool, logged: bool, began_s: float, trace_id: bytes, span_id: bytes, parent_id: bytes,
        trace_state: bytes, sampled: bool, request_id: bytes, method: str, path: bytes, scheme: str, client: str,
        port: int, http_version: str, route: str, experiment: str, arm: str, flags: list[ToldFlag], config: int,
        status: int, reason: str, first_byte_ms: float | None, total_ms: float, request_bytes: int,
        response_bytes: int, calls: list[ToldCall], fields: dict[str, str], live_told: bool = True,
    ) -> None:  # fmt: skip
        self.traced = traced  # becomes spans
        self.logged = logged  # becomes a line of the access log
        self.began_s = began_s  # wall clock, seconds since 1970
        self.trace_id = trace_id  # 32 hexadecimal digits
        self.span_id = span_id  # 16, of the SERVER span
        self.parent_id = parent_id  # 16, the caller's; b"" where the trace began here
        self.trace_state = trace_state  # as it is passed on; b"" for none
        self.sampled = sampled  # by the draw or by the parent; False: told since something befell it
        self.request_id = request_id
        self.method = method
        self.path = path  # UTF-8, without its query, cut at `telling.MOST_CHARACTERS`; b"" where the head was refused
        self.scheme = scheme
        self.client = client  # the peer's address
        self.port = port  # that it came to; 0 for a Unix socket
        self.http_version = http_version  # "1.1"
        self.route = route
        self.experiment = experiment
        self.arm = arm
        self.flags = flags
        self.config = config  # version of the snapshot
        self.status = status  # what the client was told; 0: it left before an answer
        self.reason = reason  # "" for a whole answer
        self.first_byte_ms = first_byte_ms
        self.total_ms = total_ms
        self.request_bytes = request_bytes
        self.response_bytes = response_bytes
        self.calls = calls  # attempts in their order, the live call's last one before the copies
        self.fields = fields  # request header fields that the configuration names for traces or the access log
        self.live_told = live_told  # False: only a late copy is new, the exchange itself was told before
