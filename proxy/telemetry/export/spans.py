"""Records of exchanges as spans: one SERVER span, and one CLIENT span for each call to a backend, shadows' too.

Attributes have the names of OpenTelemetry's semantic conventions as of the SDK in use, or begin with `understudy.`.
A shadow's span has no error, whatever befell it, so that alerts on errors speak of live calls alone; what befell it
is `understudy.outcome`. A client that left is no error either.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple, TypeAlias, cast

from ....filters.api import Reason
from ...ending import is_failure
from ...rescue import RESCUES
from ..records import ToldCall, ToldExchange, ToldFlag
from .places import Places

Value: TypeAlias = str | bool | int | float | tuple[str, ...]
Attributes: TypeAlias = dict[str, Value]

SERVER: Final = 2  # SpanKind of OTLP
CLIENT: Final = 3
_KNOWN_METHODS: Final = frozenset(
    {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "QUERY"}
)
_NO_FAILURE: Final = frozenset({"complete", "client_gone", "replaced"})  # by the client's or a filter's will
_NS_PER_MS: Final = 1_000_000
_RECORD_BYTES: Final = 1500  # without calls, flags and texts of any length
_CALL_BYTES: Final = 1200
_FLAG_BYTES: Final = 600  # without what is documented of it
_ABOUT_BYTES: Final = 80  # of a name of that, without its value; the span and the event have both


class Event(NamedTuple):
    """Something that happened within a span; times are nanoseconds since 1970."""

    name: str
    time_ns: int
    attributes: Attributes = {}  # noqa: RUF012 - never written to


class Span(NamedTuple):
    """One span, as OTLP has it: ids are bytes, times nanoseconds since 1970."""

    trace_id: bytes
    span_id: bytes
    trace_state: str
    parent_id: bytes  # b"" where the trace begins
    is_remote: bool  # the parent is a caller's
    name: str
    kind: int
    start_ns: int
    end_ns: int
    attributes: Attributes
    events: list[Event]
    error: str | None  # None: the status is unset
    link: tuple[bytes, bytes] | None = None  # trace and span that caused it, of another trace


class Spans:
    """Turns records into spans. Immutable after construction."""

    def __init__(self, places: Places, headers: Iterable[str] = ()) -> None:
        """`headers` are the request fields that spans carry; a record may hold others, for the access log."""
        self._places = places
        self._headers = frozenset(map(str.lower, headers))

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
        template = self._places.template(told.route)
        error = _server_error(told)
        return Span(
            trace_id=bytes.fromhex(told.trace_id),
            span_id=bytes.fromhex(told.span_id),
            trace_state=told.trace_state,
            parent_id=bytes.fromhex(told.parent_id),
            is_remote=bool(told.parent_id),
            name=_name(told.method, template),
            kind=SERVER,
            start_ns=began_ns,
            end_ns=began_ns + int(told.total_ms * _NS_PER_MS),
            attributes=self._server_attributes(told, template, error),
            events=_server_events(told, began_ns),
            error=error,
        )

    def _server_attributes(self, told: ToldExchange, template: str | None, error: str | None) -> Attributes:
        attributes: Attributes = {
            **_method(told.method),
            "url.scheme": told.scheme,
            "client.address": told.client,
            "network.protocol.version": told.http_version,
            "http.request.body.size": told.request_bytes,
            "http.response.body.size": told.response_bytes,
            "understudy.request_id": told.request_id,
            "understudy.role": "live",
            "understudy.outcome": told.reason or "complete",
            "understudy.sampled": told.sampled,
            "understudy.config.version": told.config,
        }
        if told.path:
            attributes["url.path"] = told.path
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
        for name, value in told.fields.items():
            if name in self._headers:
                attributes[f"http.request.header.{name}"] = (value,)
        answering = next((call for call in reversed(told.calls) if call.role == "live"), None)
        if answering is not None:
            attributes["understudy.backend"] = answering.backend
            attributes["understudy.version"] = answering.version
        _add_arm(attributes, told)
        if told.flags:
            attributes |= _flag(told.flags[0])
        return attributes

    def _client(self, told: ToldExchange, call: ToldCall, began_ns: int) -> Span:
        is_shadow = call.role == "shadow"
        trace_id, parent_id = bytes.fromhex(told.trace_id), bytes.fromhex(told.span_id)
        link, trace_state = None, told.trace_state
        if call.trace_id:
            link, trace_id, parent_id, trace_state = (trace_id, parent_id), bytes.fromhex(call.trace_id), b"", ""
        error = None if is_shadow else _client_error(call)
        attributes = self._client_attributes(told, call, is_shadow)
        if error is not None:
            attributes["error.type"] = error
        start_ns = began_ns + int(call.start_ms * _NS_PER_MS)
        return Span(
            trace_id=trace_id,
            span_id=bytes.fromhex(call.span_id),
            trace_state=trace_state,
            parent_id=parent_id,
            is_remote=False,
            name=_name(told.method, call.backend),
            kind=CLIENT,
            start_ns=start_ns,
            end_ns=max(start_ns, began_ns + int(call.end_ms * _NS_PER_MS)),
            attributes=attributes,
            events=_bytes_events(call.first_byte_ms, call.end_ms if call.outcome == "complete" else None, began_ns),
            error=error,
            link=link,
        )

    def _client_attributes(self, told: ToldExchange, call: ToldCall, is_shadow: bool) -> Attributes:
        attributes: Attributes = {
            **_method(told.method),
            "network.protocol.version": "1.1",
            "http.request.body.size": call.request_bytes,
            "http.response.body.size": call.response_bytes,
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
        self._add_address(attributes, told, call, is_shadow)
        if call.stream is not None:
            _add_stream(attributes, call)
        if call.pair is not None:
            pair = call.pair
            for name in ("latency_delta_ms", "latency_ratio", "status_match"):
                value = getattr(pair, name)
                if value is not None:
                    attributes[f"understudy.pair.{name}"] = value
        return attributes

    def _add_address(self, attributes: Attributes, told: ToldExchange, call: ToldCall, is_shadow: bool) -> None:
        """No query is in url.full: it may hold what is secret."""
        address = self._places.address(call.endpoint) if call.endpoint else None
        if address is None:
            return
        attributes["server.address"] = address.host
        if address.port is None:
            attributes["network.transport"] = "unix"
            return
        attributes["server.port"] = address.port
        attributes["url.full"] = address.url + self._places.path(told.route, call.backend, is_shadow, told.path)


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


def _method(method: str) -> Attributes:
    if method in _KNOWN_METHODS:
        return {"http.request.method": method}
    if not method:  # refused before it could be read
        return {"http.request.method": "_OTHER"}
    return {"http.request.method": "_OTHER", "http.request.method_original": method}


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


def _server_events(told: ToldExchange, began_ns: int) -> list[Event]:
    events = [Event("feature_flag.evaluation", began_ns, _evaluation(flag, told)) for flag in told.flags]
    events += _bytes_events(told.first_byte_ms, None if told.reason else told.total_ms, began_ns)
    events += [
        Event("understudy.copy.dropped", began_ns + int(call.start_ms * _NS_PER_MS),
              {"understudy.backend": call.backend, "understudy.outcome": call.outcome})
        for call in told.calls
        if call.role == "shadow" and not call.span_id and call.outcome != "pending"  # which may be sent yet
    ]  # fmt: skip
    return events


def _bytes_events(first_byte_ms: float | None, last_byte_ms: float | None, began_ns: int) -> list[Event]:
    """Of an answer; the last byte only where it is the whole answer's."""
    times = (("understudy.first_byte", first_byte_ms), ("understudy.last_byte", last_byte_ms))
    return [Event(name, began_ns + int(ms * _NS_PER_MS)) for name, ms in times if ms is not None]


def _flag(flag: ToldFlag) -> Attributes:
    attributes: Attributes = {
        "feature_flag.key": flag.key,
        "feature_flag.result.variant": flag.variant,
        "feature_flag.result.reason": flag.reason,
    }
    for name, value in flag.about.items():
        attributes[f"understudy.flag.{name}"] = value
    return attributes


def _evaluation(flag: ToldFlag, told: ToldExchange) -> Attributes:
    return {
        **_flag(flag),
        "feature_flag.provider.name": "understudy",
        "feature_flag.set.id": told.route,
        "feature_flag.version": str(told.config),
    }


def _add_arm(attributes: Attributes, told: ToldExchange) -> None:
    if told.experiment:
        attributes["understudy.experiment"] = told.experiment
    if told.arm:
        attributes["understudy.arm"] = told.arm


def _add_stream(attributes: Attributes, call: ToldCall) -> None:
    """Seconds, as the conventions have it; they name the first, and offer no attribute for the others."""
    stream = call.stream
    assert stream is not None
    if stream.first_token_ms is not None:
        attributes["gen_ai.response.time_to_first_chunk"] = stream.first_token_ms / 1000
    if stream.per_chunk_ms is not None:
        attributes["understudy.stream.time_per_output_chunk"] = stream.per_chunk_ms / 1000
    attributes["understudy.stream.chunks"] = stream.chunks
