"""Exchanges as spans of OTLP: one SERVER span, and one CLIENT span for each call to a backend, shadows' too. Compiled.

Workers encode, since control, on a core that both share, needs three times as long for it and keeps them waiting
meanwhile. Most of a span is the same from one to the next (attributes.py), so its bytes are kept.
"""

from __future__ import annotations

import struct
from binascii import unhexlify
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from .attributes import ERROR, Attributes, of_call, of_exchange, of_flag
from .otlp import Key, attribute, field, length, pair, text

if TYPE_CHECKING:
    from ...config.snapshot import PathRewrite
    from .places import Places
    from .records import StreamTimes
    from .told import ToldCall, ToldExchange, ToldFlag, ToldPair

SERVER: Final = 2  # SpanKind of OTLP
CLIENT: Final = 3
MOST_KEPT: Final = 1024  # some MiB
_KNOWN_METHODS: Final = frozenset(
    {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "QUERY"}
)
_NS_PER_MS: Final = 1e6
_OTHER: Final = "_OTHER"

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
_TO_FIRST: Final = field(_EVENT, _AT + bytes(8) + _FIRST_BYTE)[: -8 - len(_FIRST_BYTE)]  # up to its time
_TO_LAST: Final = field(_EVENT, _AT + bytes(8) + _LAST_BYTE)[: -8 - len(_LAST_BYTE)]
_BETWEEN: Final = _FIRST_BYTE + _TO_LAST
_ALL_MOMENTS: Final = struct.Struct(f"<cQcQ{len(_TO_FIRST)}sQ{len(_BETWEEN)}sQ{len(_LAST_BYTE)}s").pack


class Alike:
    """What spans of a kind have in common: nearly all that they say. Immutable."""

    __slots__ = ("encoded", "rewrites", "url")

    def __init__(self, encoded: bytes, url: bytes = b"", rewrites: tuple[PathRewrite, ...] = ()) -> None:
        self.encoded = encoded
        self.url = url  # of a call, up to its path; b"" for a Unix socket, or where none was asked
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
        method, began_ns = told.method if told.method in _KNOWN_METHODS else _OTHER, int(told.began_s * 1e9)
        trace_id, span_id = unhexlify(told.trace_id), unhexlify(told.span_id)
        if told.live_told:
            spans.append(self._server(told, method, began_ns, trace_id, span_id))
        for call in told.calls:
            if _is_told(told, call):
                spans.append(self._client(told, call, method, began_ns, trace_id, span_id))

    def _server(self, told: ToldExchange, method: str, began_ns: int, trace_id: bytes, span_id: bytes) -> bytes:
        answering, flags = _answering(told), told.flags
        first = flags[0] if flags else None
        key: tuple[object, ...] = (
            SERVER, method, told.scheme, told.http_version, told.route, told.port, told.status, told.reason,
            told.sampled, told.config, told.experiment, told.arm,
            None if answering is None else answering.backend, None if answering is None else answering.version,
            None if first is None else first.key, None if first is None else first.variant,
            None if first is None else first.reason,
        )  # fmt: skip
        alike = self._kept.get(key)
        if alike is None:
            template = self._places.template(told.route)
            encoded = _encoded(SERVER, template, of_exchange(told, method, answering, template))
            alike = self._keep(key, Alike(encoded))
        client, path = told.client.encode(), told.path
        parts = [
            b"", _TRACE_ID, trace_id, _SPAN_ID, span_id, alike.encoded, _REQUEST_BYTES.count(told.request_bytes),
            _RESPONSE_BYTES.count(told.response_bytes), _CLIENT_ADDRESS.ahead(len(client)), client,
            _REQUEST_ID.ahead(len(told.request_id)), told.request_id,
        ]  # fmt: skip
        if path:
            parts += (_PATH.ahead(len(path)), path)
        if method == _OTHER:
            _add_unknown_method(parts, told)
        for name, value in told.fields.items():
            if name in self._headers:
                parts.append(attribute(f"http.request.header.{name}", (value,)))
        if told.trace_state:
            parts.append(field(_TRACE_STATE, told.trace_state))
        if told.parent_id:
            parts += (_PARENT_ID, unhexlify(told.parent_id), _CALLERS)
        else:
            parts.append(_OURS)
        for flag in flags:
            parts.append(_event(began_ns, self._evaluation(flag, told)))
        ended_ns = began_ns + int(told.total_ms * _NS_PER_MS)
        first_ns = 0 if told.first_byte_ms is None else began_ns + int(told.first_byte_ms * _NS_PER_MS)
        parts.append(_moments(began_ns, ended_ns, first_ns, 0 if told.reason else ended_ns))
        for call in told.calls:
            if call.role == "shadow" and not call.span_id and call.outcome != "pending":  # which may be sent yet
                parts.append(_event(began_ns + int(call.start_ms * _NS_PER_MS), self._drop(call)))
        return _span(parts)

    def _client(
        self, told: ToldExchange, call: ToldCall, method: str, began_ns: int, trace_id: bytes, span_id: bytes
    ) -> bytes:
        is_shadow = call.role == "shadow"
        key: tuple[object, ...] = (
            CLIENT, method, told.route, call.backend, call.version, call.endpoint, call.status, call.outcome,
            call.censored, call.resent, None if is_shadow else told.experiment, None if is_shadow else told.arm,
        )  # fmt: skip
        alike = self._kept.get(key)
        if alike is None:
            alike = self._keep(key, self._calls_alike(told, method, call))
        parts = [
            b"", _TRACE_ID, unhexlify(call.trace_id) if call.trace_id else trace_id, _SPAN_ID, unhexlify(call.span_id),
            alike.encoded, _REQUEST_BYTES.count(call.request_bytes), _RESPONSE_BYTES.count(call.response_bytes),
        ]  # fmt: skip
        if alike.url:
            path = told.path
            if alike.rewrites:
                path = _rewritten(path, alike.rewrites)
            parts += (_URL.ahead(len(alike.url) + len(path)), alike.url, path)  # no query: it may hold what is secret
        if method == _OTHER:
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
                parts.append(field(_TRACE_STATE, told.trace_state))
        start_ns, ended_ns = began_ns + int(call.start_ms * _NS_PER_MS), began_ns + int(call.end_ms * _NS_PER_MS)
        first_ns = 0 if call.first_byte_ms is None else began_ns + int(call.first_byte_ms * _NS_PER_MS)
        last_ns = ended_ns if call.outcome == "complete" else 0
        parts.append(_moments(start_ns, ended_ns if ended_ns > start_ns else start_ns, first_ns, last_ns))
        return _span(parts)

    def _calls_alike(self, told: ToldExchange, method: str, call: ToldCall) -> Alike:
        address = self._places.address(call.endpoint) if call.endpoint else None
        encoded = _encoded(CLIENT, call.backend, of_call(told, method, call, address)) + _OURS
        if address is None or address.port is None:
            return Alike(encoded)
        rewrites = self._places.rewrites(told.route, call.backend, call.role == "shadow")
        return Alike(encoded, address.url.encode(), rewrites)

    def _evaluation(self, flag: ToldFlag, told: ToldExchange) -> bytes:
        key: tuple[object, ...] = (flag.key, flag.variant, flag.reason, told.route, told.config)
        return self._events.get(key) or self._keep_event(key, "feature_flag.evaluation", {
            **of_flag(flag),
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


def _encoded(kind: int, target: str | None, attributes: Attributes) -> bytes:
    """Kind, attributes, status, and the name: the method and its target."""
    method, error = attributes["http.request.method"], attributes.get(ERROR)
    name = f"{'HTTP' if method == _OTHER else method} {target or ''}".rstrip()
    parts = [text(_NAME, name), _KIND, bytes((kind,)), *[attribute(*each) for each in attributes.items()]]
    if error is None:
        parts.append(field(_STATUS, b""))
    else:
        message = b"" if str(error).isdigit() else text(b"\x12", str(error))
        parts.append(field(_STATUS, message + b"\x18\x02"))
    return b"".join(parts)


def _span(parts: list[bytes]) -> bytes:
    """Behind tag and length, for which the first part is left free."""
    size = 0
    for part in parts:
        size += len(part)
    parts[0] = _SPAN + length(size)
    return b"".join(parts)


def _event(time_ns: int, encoded: bytes) -> bytes:
    return field(_EVENT, _TIME(_AT, time_ns) + encoded)


def _is_told(told: ToldExchange, call: ToldCall) -> bool:
    """A copy that was never sent is no call; one that is under way is told later."""
    return bool(call.span_id) and call.outcome != "pending" and (told.live_told or call.role == "shadow")


def _answering(told: ToldExchange) -> ToldCall | None:
    """The last of the live call's attempts."""
    found = None
    for call in told.calls:
        if call.role == "live":
            found = call
    return found


def _rewritten(path: bytes, rewrites: tuple[PathRewrite, ...]) -> bytes:
    for each in rewrites:
        path = each.rewritten(path)
    return path.decode(errors="replace").encode()


def _add_unknown_method(parts: list[bytes], told: ToldExchange) -> None:
    """One that is empty was refused before it could be read."""
    if told.method:
        parts.append(attribute("http.request.method_original", told.method))


def _moments(start_ns: int, end_ns: int, first_ns: int, last_ns: int) -> bytes:
    """When a span began and ended, and as events when an answer's first and last byte came; 0 where it has none, and
    the last byte only of a whole answer."""
    if first_ns and last_ns:
        return _ALL_MOMENTS(_START, start_ns, _END, end_ns, _TO_FIRST, first_ns, _BETWEEN, last_ns, _LAST_BYTE)
    found = _TIMES(_START, start_ns, _END, end_ns)
    if first_ns:
        found += _event(first_ns, _FIRST_BYTE)
    if last_ns:
        found += _event(last_ns, _LAST_BYTE)
    return found


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
