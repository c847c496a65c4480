"""Exchanges as spans of OTLP: one SERVER span, and one CLIENT span for each call to a backend, shadows' too. Compiled.

Attributes have the names of OpenTelemetry's semantic conventions as of the SDK in use, or begin with `understudy.`.
A shadow's span has no error, whatever befell it, so that alerts on errors speak of live calls alone; what befell it
is `understudy.outcome`. A client that left is no error either.

Workers encode, since control, on a core that both share, needs three times as long for it and keeps them waiting
meanwhile. Most of a span is the same from one to the next, so its bytes are kept.
"""

from __future__ import annotations

import struct
from binascii import unhexlify
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, TypeAlias, cast

from ...filters.api import Reason
from ..ending import is_failure
from ..rescue import RESCUES
from .otlp import Key, Value, attribute, field, pair, text

if TYPE_CHECKING:
    from ...config.snapshot import PathRewrite
    from .places import Address, Places
    from .records import StreamTimes
    from .told import ToldCall, ToldExchange, ToldFlag, ToldPair

Attributes: TypeAlias = dict[str, Value]

SERVER: Final = 2  # SpanKind of OTLP
CLIENT: Final = 3
MOST_KEPT: Final = 1024  # some MiB
_KNOWN_METHODS: Final = frozenset(
    {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "QUERY"}
)
_NO_FAILURE: Final = frozenset({"complete", "client_gone", "replaced"})  # by the client's or a filter's will
_NS_PER_MS: Final = 1_000_000

_CLIENT_ADDRESS: Final = Key("client.address")
_REQUEST_BYTES: Final = Key("http.request.body.size")
_RESPONSE_BYTES: Final = Key("http.response.body.size")
_REQUEST_ID: Final = Key("understudy.request_id")
_PATH: Final = Key("url.path")
_URL: Final = Key("url.full")
_LATENCY_DELTA: Final = Key("understudy.pair.latency_delta_ms")
_LATENCY_RATIO: Final = Key("understudy.pair.latency_ratio")
_STATUS_MATCH: Final = {each: attribute("understudy.pair.status_match", each) for each in (False, True)}

_SPAN: Final = b"\x12"  # tags, with the length where it is always the same
_TRACE_ID: Final = b"\x0a\x10"
_SPAN_ID: Final = b"\x12\x08"
_TRACE_STATE: Final = b"\x1a"
_PARENT_ID: Final = b"\x22\x08"
_NAME: Final = b"\x2a"
_KIND: Final = b"\x30"
_EVENT: Final = b"\x5a"
_LINK: Final = b"\x6a"
_STATUS: Final = b"\x7a"
_TIMES: Final = struct.Struct("<cQcQ").pack
_TIME: Final = struct.Struct("<cQ").pack
_START: Final = b"\x39"
_END: Final = b"\x41"
_AT: Final = b"\x09"  # of an event
_HERE: Final = struct.pack("<I", 0x100)  # flags: whether the parent is remote is known, and it is not
_REMOTE: Final = struct.pack("<I", 0x300)
_OURS: Final = b"\x85\x01" + _HERE
_CALLERS: Final = b"\x85\x01" + _REMOTE
_FIRST_BYTE: Final = text(b"\x12", "understudy.first_byte")
_LAST_BYTE: Final = text(b"\x12", "understudy.last_byte")


class Alike:
    """What spans of a kind have in common: nearly all that they say. Immutable."""

    __slots__ = ("encoded", "rewrites", "url")

    def __init__(self, encoded: bytes, url: str = "", rewrites: tuple[PathRewrite, ...] = ()) -> None:
        self.encoded = encoded
        self.url = url  # of a call, up to its path; "" for a Unix socket, or where none was asked
        self.rewrites = rewrites  # of its path


class Spans:
    """Makes the spans of one snapshot. Mutable state: what they, and their events, have had in common so far."""

    __slots__ = ("_events", "_headers", "_kept", "_places")

    def __init__(self, places: Places, headers: Iterable[str] = ()) -> None:
        """`headers` are the request fields that spans carry; more may be told, for the access log."""
        self._places = places
        self._headers = frozenset(map(str.lower, headers))
        self._kept: dict[tuple[object, ...], Alike] = {}
        self._events: dict[tuple[object, ...], bytes] = {}

    def add(self, told: ToldExchange, spans: list[bytes]) -> None:
        """Append the spans of an exchange, each behind its tag: none where it is not to be traced, that of a late copy
        alone where live was told. Raises ValueError for ids that are none."""
        if not told.traced:
            return
        began_ns = int(told.began_s * 1e9)
        trace_id, span_id = unhexlify(told.trace_id), unhexlify(told.span_id)
        if told.live_told:
            spans.append(self._server(told, began_ns, trace_id, span_id))
        for call in told.calls:
            if _is_told(told, call):
                spans.append(self._client(told, call, began_ns, trace_id, span_id))

    def _server(self, told: ToldExchange, began_ns: int, trace_id: bytes, span_id: bytes) -> bytes:
        answering, flags = _answering(told), told.flags
        flag = flags[0] if flags else None
        key: tuple[object, ...] = (
            SERVER, _method(told.method), told.scheme, told.http_version, told.route,
            told.port, told.status, told.reason, told.sampled, told.config, told.experiment, told.arm,
            None if answering is None else (answering.backend, answering.version),
            None if flag is None else (flag.key, flag.variant, flag.reason),
        )  # fmt: skip
        alike = self._kept.get(key)
        if alike is None:
            alike = self._keep(key, Alike(self._servers(told, answering)))
        end_ns = began_ns + int(told.total_ms * _NS_PER_MS)
        parts = [
            _TRACE_ID, trace_id, _SPAN_ID, span_id, _TIMES(_START, began_ns, _END, end_ns), alike.encoded,
            _CLIENT_ADDRESS.text(told.client), _REQUEST_BYTES.count(told.request_bytes),
            _RESPONSE_BYTES.count(told.response_bytes), _REQUEST_ID.text(told.request_id),
        ]  # fmt: skip
        if told.path:
            parts.append(_PATH.text(told.path))
        _add_unknown_method(parts, told)
        for name, value in told.fields.items():
            if name in self._headers:
                parts.append(attribute(f"http.request.header.{name}", (value,)))
        if told.trace_state:
            parts.append(text(_TRACE_STATE, told.trace_state))
        if told.parent_id:
            parts += (_PARENT_ID, unhexlify(told.parent_id), _CALLERS)
        else:
            parts.append(_OURS)
        for flag in flags:
            parts.append(_event(began_ns, self._evaluation(flag, told)))
        _add_bytes(parts, told.first_byte_ms, None if told.reason else told.total_ms, began_ns)
        for call in told.calls:
            if call.role == "shadow" and not call.span_id and call.outcome != "pending":  # which may be sent yet
                parts.append(_event(began_ns + int(call.start_ms * _NS_PER_MS), self._drop(call)))
        return field(_SPAN, b"".join(parts))

    def _client(self, told: ToldExchange, call: ToldCall, began_ns: int, trace_id: bytes, span_id: bytes) -> bytes:
        is_shadow = call.role == "shadow"
        key: tuple[object, ...] = (
            CLIENT, _method(told.method), told.route, call.backend,
            call.version, call.endpoint, call.status, call.outcome, call.censored, call.resent,
            None if is_shadow else (told.experiment, told.arm),
        )  # fmt: skip
        alike = self._kept.get(key)
        if alike is None:
            alike = self._keep(key, self._clients(told, call))
        start_ns = began_ns + int(call.start_ms * _NS_PER_MS)
        end_ns = max(start_ns, began_ns + int(call.end_ms * _NS_PER_MS))
        own = unhexlify(call.trace_id) if call.trace_id else trace_id
        parts = [
            _TRACE_ID, own, _SPAN_ID, unhexlify(call.span_id), _TIMES(_START, start_ns, _END, end_ns), alike.encoded,
            _REQUEST_BYTES.count(call.request_bytes), _RESPONSE_BYTES.count(call.response_bytes), _OURS,
        ]  # fmt: skip
        if alike.url:
            path = told.path
            for each in alike.rewrites:
                path = each.rewritten(path.encode()).decode(errors="replace")
            parts.append(_URL.text(alike.url + path))  # without the query: it may hold what is secret
        _add_unknown_method(parts, told)
        if call.stream is not None:
            _add_stream(parts, call.stream)
        if call.pair is not None:
            _add_pair(parts, call.pair)
        if call.trace_id:  # the one that caused it is linked
            parts.append(field(_LINK, b"".join((_TRACE_ID, trace_id, _SPAN_ID, span_id, b"\x35", _HERE))))
        else:
            parts += (_PARENT_ID, span_id)
            if told.trace_state:
                parts.append(text(_TRACE_STATE, told.trace_state))
        _add_bytes(parts, call.first_byte_ms, call.end_ms if call.outcome == "complete" else None, began_ns)
        return field(_SPAN, b"".join(parts))

    def _servers(self, told: ToldExchange, answering: ToldCall | None) -> bytes:
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
        return _encoded(_name(told.method, template), attributes, SERVER, error)

    def _clients(self, told: ToldExchange, call: ToldCall) -> Alike:
        address = self._places.address(call.endpoint) if call.endpoint else None
        encoded = _clients(told, call, address)
        if address is None or address.port is None:
            return Alike(encoded)
        return Alike(encoded, address.url, self._places.rewrites(told.route, call.backend, call.role == "shadow"))

    def _evaluation(self, flag: ToldFlag, told: ToldExchange) -> bytes:
        key: tuple[object, ...] = (flag.key, flag.variant, flag.reason, told.route, told.config)
        return self._events.get(key) or self._keep_event(key, "feature_flag.evaluation", {
            **_flag(flag),
            "feature_flag.provider.name": "understudy",
            "feature_flag.set.id": told.route,
            "feature_flag.version": str(told.config),
        })  # fmt: skip

    def _drop(self, call: ToldCall) -> bytes:
        key: tuple[object, ...] = (call.backend, call.outcome)
        return self._events.get(key) or self._keep_event(key, "understudy.copy.dropped", {
            "understudy.backend": call.backend,
            "understudy.outcome": call.outcome,
        })  # fmt: skip

    def _keep(self, key: tuple[object, ...], alike: Alike) -> Alike:
        if len(self._kept) >= MOST_KEPT:
            self._kept.clear()
        self._kept[key] = alike
        return alike

    def _keep_event(self, key: tuple[object, ...], name: str, attributes: Attributes) -> bytes:
        if len(self._events) >= MOST_KEPT:
            self._events.clear()
        encoded = text(b"\x12", name) + b"".join([field(b"\x1a", pair(*each)) for each in attributes.items()])
        self._events[key] = encoded
        return encoded


def _encoded(name: str, attributes: Attributes, kind: int, error: str | None) -> bytes:
    """Name, kind, attributes and status."""
    parts = [text(_NAME, name), _KIND, bytes((kind,)), *[attribute(*each) for each in attributes.items()]]
    if error is None:
        parts.append(field(_STATUS, b""))
    else:
        message = b"" if error.isdigit() else text(b"\x12", error)
        parts.append(field(_STATUS, message + b"\x18\x02"))
    return b"".join(parts)


def _event(time_ns: int, encoded: bytes) -> bytes:
    return field(_EVENT, _TIME(_AT, time_ns) + encoded)


def _clients(told: ToldExchange, call: ToldCall, address: Address | None) -> bytes:
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
    return _encoded(_name(told.method, call.backend), attributes, CLIENT, error)


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


def _add_unknown_method(parts: list[bytes], told: ToldExchange) -> None:
    """One that is empty was refused before it could be read."""
    if told.method and told.method not in _KNOWN_METHODS:
        parts.append(attribute("http.request.method_original", told.method))


def _add_bytes(parts: list[bytes], first_byte_ms: float | None, last_byte_ms: float | None, began_ns: int) -> None:
    """Of an answer; the last byte only where it is the whole answer's."""
    if first_byte_ms is not None:
        parts.append(_event(began_ns + int(first_byte_ms * _NS_PER_MS), _FIRST_BYTE))
    if last_byte_ms is not None:
        parts.append(_event(began_ns + int(last_byte_ms * _NS_PER_MS), _LAST_BYTE))


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


def _add_stream(parts: list[bytes], stream: StreamTimes) -> None:
    """Seconds, as the conventions have it; they name the first, and offer no attribute for the others."""
    if stream.first_token_ms is not None:
        parts.append(attribute("gen_ai.response.time_to_first_chunk", stream.first_token_ms / 1000))
    if stream.per_chunk_ms is not None:
        parts.append(attribute("understudy.stream.time_per_output_chunk", stream.per_chunk_ms / 1000))
    parts.append(attribute("understudy.stream.chunks", stream.chunks))


def _add_pair(parts: list[bytes], pair: ToldPair) -> None:
    if pair.latency_delta_ms is not None:
        parts.append(_LATENCY_DELTA.double(pair.latency_delta_ms))
    if pair.latency_ratio is not None:
        parts.append(_LATENCY_RATIO.double(pair.latency_ratio))
    if pair.status_match is not None:
        parts.append(_STATUS_MATCH[pair.status_match])
