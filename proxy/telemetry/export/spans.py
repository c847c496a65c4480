"""Records of exchanges as spans: one SERVER span, and one CLIENT span for each call to a backend, shadows' too.

Attributes have the names of OpenTelemetry's semantic conventions as of the SDK in use, or begin with `understudy.`.
A shadow's span has no error, whatever befell it, so that alerts on errors speak of live calls alone; what befell it
is `understudy.outcome`. A client that left is no error either.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, TypeAlias, cast

from ....filters.api import Reason
from ...ending import is_failure
from ...rescue import RESCUES
from ..records import StreamTimes, ToldCall, ToldExchange, ToldFlag, ToldPair
from .places import Address, Places

Value: TypeAlias = str | bool | int | float | tuple[str, ...]
Attributes: TypeAlias = dict[str, Value]

SERVER: Final = 2  # SpanKind of OTLP
CLIENT: Final = 3
MOST_KEPT: Final = 1024  # some MiB
_KNOWN_METHODS: Final = frozenset(
    {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "QUERY"}
)
_NO_FAILURE: Final = frozenset({"complete", "client_gone", "replaced"})  # by the client's or a filter's will
_NS_PER_MS: Final = 1_000_000
_RECORD_BYTES: Final = 1500  # without calls, flags and texts of any length
_CALL_BYTES: Final = 1200
_FLAG_BYTES: Final = 600  # without what is documented of it
_ABOUT_BYTES: Final = 80  # of a name of that, without its value; the span and the event have both


class Alike:
    """What spans of a kind have in common, or events: nearly all that they say.

    Mutable state: `encoded`, which wire.py makes of it once.
    """

    __slots__ = ("attributes", "encoded", "error", "kind", "name")

    def __init__(self, name: str, attributes: Attributes, kind: int = 0, error: str | None = None) -> None:
        self.name = name
        self.attributes = attributes  # nobody changes them
        self.kind = kind
        self.error = error  # None: the status is unset
        self.encoded = b""


class Event:
    """Something that happened within a span."""

    __slots__ = ("alike", "time_ns")

    def __init__(self, alike: Alike, time_ns: int) -> None:
        self.alike = alike
        self.time_ns = time_ns  # since 1970


class Span:
    """One span, as OTLP has it: ids are bytes, times nanoseconds since 1970."""

    __slots__ = (
        "alike", "end_ns", "events", "is_remote", "link", "own", "parent_id", "span_id", "start_ns", "trace_id",
        "trace_state",
    )  # fmt: skip

    def __init__(
        self, alike: Alike, trace_id: bytes, span_id: bytes, trace_state: str, parent_id: bytes, is_remote: bool,
        start_ns: int, end_ns: int, own: Attributes, events: list[Event], link: tuple[bytes, bytes] | None = None,
    ) -> None:  # fmt: skip
        self.alike = alike
        self.trace_id = trace_id
        self.span_id = span_id
        self.trace_state = trace_state
        self.parent_id = parent_id  # b"" where the trace begins
        self.is_remote = is_remote  # the parent is a caller's
        self.start_ns = start_ns
        self.end_ns = end_ns
        self.own = own  # attributes that differ from span to span
        self.events = events
        self.link = link  # trace and span that caused it, of another trace

    @property
    def attributes(self) -> Attributes:
        """All of them."""
        return {**self.alike.attributes, **self.own}


FIRST_BYTE: Final = Alike("understudy.first_byte", {})
LAST_BYTE: Final = Alike("understudy.last_byte", {})


class Spans:
    """Turns records into spans. For one thread alone. Mutable state: what spans have had in common so far."""

    def __init__(self, places: Places, headers: Iterable[str] = ()) -> None:
        """`headers` are the request fields that spans carry; a record may hold others, for the access log."""
        self._places = places
        self._headers = frozenset(map(str.lower, headers))
        self._kept: dict[tuple[object, ...], Alike] = {}

    def of(self, told: ToldExchange) -> list[Span]:
        """The spans of one record: none where it is not to be traced, that of a late copy alone where live was told."""
        return list(self._of(told)) if told.traced else []

    def _of(self, told: ToldExchange) -> Iterator[Span]:
        began_ns = int(told.began_s * 1e9)
        if told.live_told:
            yield self._server(told, began_ns)
        for call in told.calls:
            if _is_told(told, call):
                yield self._client(told, call, began_ns)

    def _server(self, told: ToldExchange, began_ns: int) -> Span:
        answering = _answering(told)
        flags = told.flags
        flag = flags[0] if flags else None
        key: tuple[object, ...] = (
            SERVER, _method(told.method), told.scheme, told.http_version, told.route,
            told.port, told.status, told.reason, told.sampled, told.config, told.experiment, told.arm,
            None if answering is None else (answering.backend, answering.version),
            None if flag is None else (flag.key, flag.variant, flag.reason),
        )  # fmt: skip
        alike = self._kept.get(key) or self._keep(key, self._servers(told, answering))
        return Span(
            alike, bytes.fromhex(told.trace_id), bytes.fromhex(told.span_id), told.trace_state,
            bytes.fromhex(told.parent_id), bool(told.parent_id), began_ns, began_ns + int(told.total_ms * _NS_PER_MS),
            self._server_own(told), self._server_events(told, began_ns),
        )  # fmt: skip

    def _servers(self, told: ToldExchange, answering: ToldCall | None) -> Alike:
        """What all such exchanges say."""
        template, error = self._places.template(told.route), _server_error(told)
        attributes: Attributes = {
            "http.request.method": _method(told.method),
            "url.scheme": told.scheme,
            "network.protocol.version": told.http_version,
            "understudy.role": "live",
            "understudy.outcome": told.reason or "complete",
            "understudy.sampled": told.sampled,
            "understudy.config.version": told.config,
        }
        if template is not None:
            attributes["http.route"] = template
        if told.route:
            attributes["understudy.route"] = told.route
        if told.port:
            attributes["network.local.port"] = told.port
        if told.status:
            attributes["http.response.status_code"] = told.status
        if error is not None:
            attributes["error.type"] = error
        if answering is not None:
            attributes["understudy.backend"] = answering.backend
            attributes["understudy.version"] = answering.version
        _add_arm(attributes, told)
        if told.flags:
            attributes |= _flag(told.flags[0])
        return Alike(_name(told.method, template), attributes, SERVER, error)

    def _server_own(self, told: ToldExchange) -> Attributes:
        own: Attributes = {
            "client.address": told.client,
            "http.request.body.size": told.request_bytes,
            "http.response.body.size": told.response_bytes,
            "understudy.request_id": told.request_id,
        }
        if told.path:
            own["url.path"] = told.path
        _add_unknown_method(own, told)
        for name, value in told.fields.items():
            if name in self._headers:
                own[f"http.request.header.{name}"] = (value,)
        return own

    def _server_events(self, told: ToldExchange, began_ns: int) -> list[Event]:
        events: list[Event] = []
        for flag in told.flags:
            events.append(Event(self._evaluation(flag, told), began_ns))
        _add_bytes(events, told.first_byte_ms, None if told.reason else told.total_ms, began_ns)
        for call in told.calls:
            if call.role == "shadow" and not call.span_id and call.outcome != "pending":  # which may be sent yet
                events.append(Event(self._drop(call), began_ns + int(call.start_ms * _NS_PER_MS)))
        return events

    def _evaluation(self, flag: ToldFlag, told: ToldExchange) -> Alike:
        key: tuple[object, ...] = (flag.key, flag.variant, flag.reason, told.route, told.config)
        return self._kept.get(key) or self._keep(key, Alike("feature_flag.evaluation", {
            **_flag(flag),
            "feature_flag.provider.name": "understudy",
            "feature_flag.set.id": told.route,
            "feature_flag.version": str(told.config),
        }))  # fmt: skip

    def _drop(self, call: ToldCall) -> Alike:
        key: tuple[object, ...] = (call.backend, call.outcome)
        return self._kept.get(key) or self._keep(key, Alike("understudy.copy.dropped", {
            "understudy.backend": call.backend,
            "understudy.outcome": call.outcome,
        }))  # fmt: skip

    def _client(self, told: ToldExchange, call: ToldCall, began_ns: int) -> Span:
        is_shadow = call.role == "shadow"
        trace_id, parent_id = bytes.fromhex(told.trace_id), bytes.fromhex(told.span_id)
        link, trace_state = None, told.trace_state
        if call.trace_id:
            link, trace_id, parent_id, trace_state = (trace_id, parent_id), bytes.fromhex(call.trace_id), b"", ""
        address = self._places.address(call.endpoint) if call.endpoint else None
        key: tuple[object, ...] = (
            CLIENT, _method(told.method), told.route, call.backend,
            call.version, call.endpoint, call.status, call.outcome, call.censored, call.resent,
            None if is_shadow else (told.experiment, told.arm),
        )  # fmt: skip
        alike = self._kept.get(key) or self._keep(key, _clients(told, call, address))
        start_ns = began_ns + int(call.start_ms * _NS_PER_MS)
        events: list[Event] = []
        _add_bytes(events, call.first_byte_ms, call.end_ms if call.outcome == "complete" else None, began_ns)
        end_ns = max(start_ns, began_ns + int(call.end_ms * _NS_PER_MS))
        return Span(
            alike, trace_id, bytes.fromhex(call.span_id), trace_state, parent_id, False, start_ns, end_ns,
            self._client_own(told, call, address), events, link,
        )  # fmt: skip

    def _client_own(self, told: ToldExchange, call: ToldCall, address: Address | None) -> Attributes:
        """No query is in url.full: it may hold what is secret."""
        own: Attributes = {
            "http.request.body.size": call.request_bytes,
            "http.response.body.size": call.response_bytes,
        }
        if address is not None and address.port is not None:
            path = self._places.path(told.route, call.backend, call.role == "shadow", told.path)
            own["url.full"] = address.url + path
        _add_unknown_method(own, told)
        if call.stream is not None:
            _add_stream(own, call.stream)
        if call.pair is not None:
            _add_pair(own, call.pair)
        return own

    def _keep(self, key: tuple[object, ...], alike: Alike) -> Alike:
        if len(self._kept) >= MOST_KEPT:
            self._kept.clear()
        self._kept[key] = alike
        return alike


def _clients(told: ToldExchange, call: ToldCall, address: Address | None) -> Alike:
    """What all such calls say."""
    is_shadow = call.role == "shadow"
    error = None if is_shadow else _client_error(call)
    attributes: Attributes = {
        "http.request.method": _method(told.method),
        "network.protocol.version": "1.1",
        "understudy.route": told.route,
        "understudy.role": call.role,
        "understudy.backend": call.backend,
        "understudy.version": call.version,
        "understudy.outcome": call.outcome,
    }
    if call.status:
        attributes["http.response.status_code"] = call.status
    if call.resent:
        attributes["http.request.resend_count"] = call.resent
    if is_shadow:
        attributes["understudy.censored"] = call.censored
    else:
        _add_arm(attributes, told)
    if address is not None:
        attributes["server.address"] = address.host
        if address.port is None:
            attributes["network.transport"] = "unix"
        else:
            attributes["server.port"] = address.port
    if error is not None:
        attributes["error.type"] = error
    return Alike(_name(told.method, call.backend), attributes, CLIENT, error)


def count_of(told: ToldExchange) -> int:
    """How many spans `Spans.of` makes of a record, without making them."""
    return told.live_told + sum(_is_told(told, call) for call in told.calls) if told.traced else 0


def weight(told: ToldExchange) -> int:
    """The bytes that a record holds, roughly, and at least those that its spans become."""
    repeated = _size(told.path) + len(told.trace_state) + len(told.route) + len(told.experiment) + len(told.arm)
    once = _size(told.method) + sum(map(_size, told.fields.values()))
    fixed = _RECORD_BYTES + _CALL_BYTES * len(told.calls) + _FLAG_BYTES * len(told.flags)
    for flag in told.flags:
        fixed += sum(_ABOUT_BYTES + 2 * _size(value) for value in flag.about.values())
    return fixed + once + repeated * (len(told.calls) + 1)


def _size(text: str) -> int:
    return len(text) if text.isascii() else 4 * len(text)


def _is_told(told: ToldExchange, call: ToldCall) -> bool:
    """A copy that was never sent is no call; one that is under way is told later."""
    return bool(call.span_id) and call.outcome != "pending" and (told.live_told or call.role == "shadow")


def _name(method: str, target: str | None) -> str:
    known = method if method in _KNOWN_METHODS else "HTTP"
    return f"{known} {target}" if target else known


def _answering(told: ToldExchange) -> ToldCall | None:
    """The last of the live call's attempts."""
    found = None
    for call in told.calls:
        if call.role == "live":
            found = call
    return found


def _method(method: str) -> str:
    return method if method in _KNOWN_METHODS else "_OTHER"


def _add_unknown_method(own: Attributes, told: ToldExchange) -> None:
    """One that is empty was refused before it could be read."""
    if told.method and told.method not in _KNOWN_METHODS:
        own["http.request.method_original"] = told.method


def _server_error(told: ToldExchange) -> str | None:
    """The reason of a failure, or else its status; None where it was the client's doing: by OpenTelemetry's rule a
    server's 4xx is no error, and by ours no answer is that broke off for what the client did."""
    if not is_failure(told.status, told.reason or None):
        return None
    if told.status >= 500:
        return told.reason or str(told.status)
    rescue = RESCUES.get(cast(Reason, told.reason))
    return told.reason if told.status < 400 and rescue is not None and rescue.blame != "client" else None


def _client_error(call: ToldCall) -> str | None:
    """The reason, or else the status: of 4xx too, since it was we who asked."""
    if call.outcome not in _NO_FAILURE:
        return call.outcome
    return str(call.status) if call.status >= 400 else None


def _add_bytes(events: list[Event], first_byte_ms: float | None, last_byte_ms: float | None, began_ns: int) -> None:
    """Of an answer; the last byte only where it is the whole answer's."""
    if first_byte_ms is not None:
        events.append(Event(FIRST_BYTE, began_ns + int(first_byte_ms * _NS_PER_MS)))
    if last_byte_ms is not None:
        events.append(Event(LAST_BYTE, began_ns + int(last_byte_ms * _NS_PER_MS)))


def _flag(flag: ToldFlag) -> Attributes:
    attributes: Attributes = {
        "feature_flag.key": flag.key,
        "feature_flag.result.variant": flag.variant,
        "feature_flag.result.reason": flag.reason,
    }
    for name, value in flag.about.items():
        attributes[f"understudy.flag.{name}"] = value
    return attributes


def _add_arm(attributes: Attributes, told: ToldExchange) -> None:
    if told.experiment:
        attributes["understudy.experiment"] = told.experiment
    if told.arm:
        attributes["understudy.arm"] = told.arm


def _add_stream(own: Attributes, stream: StreamTimes) -> None:
    """Seconds, as the conventions have it; they name the first, and offer no attribute for the others."""
    if stream.first_token_ms is not None:
        own["gen_ai.response.time_to_first_chunk"] = stream.first_token_ms / 1000
    if stream.per_chunk_ms is not None:
        own["understudy.stream.time_per_output_chunk"] = stream.per_chunk_ms / 1000
    own["understudy.stream.chunks"] = stream.chunks


def _add_pair(own: Attributes, pair: ToldPair) -> None:
    if pair.latency_delta_ms is not None:
        own["understudy.pair.latency_delta_ms"] = pair.latency_delta_ms
    if pair.latency_ratio is not None:
        own["understudy.pair.latency_ratio"] = pair.latency_ratio
    if pair.status_match is not None:
        own["understudy.pair.status_match"] = pair.status_match
