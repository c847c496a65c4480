"""Exchanges as spans of OTLP: one SERVER span, and one CLIENT span for each call to a backend, shadows' too. Compiled.

Workers encode, since control, on a core that both share, needs three times as long for it and keeps them waiting
meanwhile. Most of a span is the same from one to the next (attributes.py), so its bytes are kept.
"""

from __future__ import annotations

from binascii import unhexlify
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from librt.strings import BytesWriter, write_i64_le
from mypy_extensions import i64, u8

from .attributes import ERROR, Attributes, of_call, of_exchange, of_flag
from .otlp import Key, attribute, field, pair, text, write_field, write_length

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

_SPAN: Final = 0x12  # tags, with the length where it is always the same
_TRACE_ID: Final = b"\x0a\x10"
_SPAN_ID: Final = b"\x12\x08"
_TRACE_STATE: Final = 0x1A
_PARENT_ID: Final = b"\x22\x08"
_NAME: Final = b"\x2a"
_KIND: Final = b"\x30"
_START: Final = 0x39
_END: Final = 0x41
_EVENT: Final = 0x5A
_AT: Final = 0x09  # of an event
_LINK: Final = 0x6A
_STATUS: Final = b"\x7a"
_HERE: Final = b"\x00\x01\x00\x00"  # flags: whether the parent is remote is known, and it is not
_REMOTE: Final = b"\x00\x03\x00\x00"
_OURS: Final = b"\x85\x01" + _HERE
_CALLERS: Final = b"\x85\x01" + _REMOTE
_FIRST_BYTE: Final = text(b"\x12", "understudy.first_byte")
_LAST_BYTE: Final = text(b"\x12", "understudy.last_byte")


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

    def add(self, told: ToldExchange, out: BytesWriter) -> int:
        """Write the spans of an exchange, each behind its tag: none where it is not to be traced, that of a late copy
        alone where live was told. Return how many. Raises ValueError for ids that are none: what was written of it
        then is no message."""
        if not told.traced:
            return 0
        method = told.method if told.method in _KNOWN_METHODS else _OTHER
        began_ns = i64(told.began_s * 1e9)
        trace_id, span_id = unhexlify(told.trace_id), unhexlify(told.span_id)
        count = 0
        if told.live_told:
            self._add_server(told, method, began_ns, trace_id, span_id, out)
            count = 1
        for call in told.calls:
            if _is_told(told, call):
                self._add_client(told, call, method, began_ns, trace_id, span_id, out)
                count += 1
        return count

    def _add_server(
        self, told: ToldExchange, method: str, began_ns: i64, trace_id: bytes, span_id: bytes, out: BytesWriter
    ) -> None:
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
        start = _begin(out)
        ended_ns = began_ns + i64(told.total_ms * _NS_PER_MS)
        first_ns: i64 = 0 if told.first_byte_ms is None else began_ns + i64(told.first_byte_ms * _NS_PER_MS)
        _write_ids(out, trace_id, span_id)
        out.write(alike.encoded)
        if told.parent_id:
            out.write(_PARENT_ID)
            out.write(unhexlify(told.parent_id))
            out.write(_CALLERS)
        else:
            out.write(_OURS)
        _CLIENT_ADDRESS.write_text(out, told.client.encode())
        _REQUEST_BYTES.write_count(out, told.request_bytes)
        _RESPONSE_BYTES.write_count(out, told.response_bytes)
        _REQUEST_ID.write_text(out, told.request_id)
        if told.path:
            _PATH.write_text(out, told.path)
        if method == _OTHER:
            _write_unknown_method(out, told)
        for name, value in told.fields.items():
            if name in self._headers:
                out.write(attribute(f"http.request.header.{name}", (value,)))
        if told.trace_state:
            write_field(out, _TRACE_STATE, told.trace_state)
        for flag in flags:
            _write_event(out, began_ns, self._evaluation(flag, told))
        _write_moments(out, began_ns, ended_ns, first_ns, 0 if told.reason else ended_ns)
        for call in told.calls:
            if call.role == "shadow" and not call.span_id and call.outcome != "pending":  # which may be sent yet
                _write_event(out, began_ns + i64(call.start_ms * _NS_PER_MS), self._drop(call))
        _end(out, start)

    def _add_client(
        self, told: ToldExchange, call: ToldCall, method: str, began_ns: i64, trace_id: bytes, span_id: bytes,
        out: BytesWriter,
    ) -> None:  # fmt: skip
        is_shadow = call.role == "shadow"
        key: tuple[object, ...] = (
            CLIENT, method, told.route, call.backend, call.version, call.endpoint, call.status, call.outcome,
            call.censored, call.resent, None if is_shadow else told.experiment, None if is_shadow else told.arm,
        )  # fmt: skip
        alike = self._kept.get(key)
        if alike is None:
            alike = self._keep(key, self._calls_alike(told, method, call))
        start = _begin(out)
        start_ns, ended_ns = began_ns + i64(call.start_ms * _NS_PER_MS), began_ns + i64(call.end_ms * _NS_PER_MS)
        first_ns: i64 = 0 if call.first_byte_ms is None else began_ns + i64(call.first_byte_ms * _NS_PER_MS)
        _write_ids(out, unhexlify(call.trace_id) if call.trace_id else trace_id, unhexlify(call.span_id))
        out.write(alike.encoded)
        _REQUEST_BYTES.write_count(out, call.request_bytes)
        _RESPONSE_BYTES.write_count(out, call.response_bytes)
        if alike.url:  # no query: it may hold what is secret
            path = _rewritten(told.path, alike.rewrites) if alike.rewrites else told.path
            _URL.write_text(out, alike.url + path)
        if method == _OTHER:
            _write_unknown_method(out, told)
        if call.stream is not None:
            _write_stream(out, call.stream)
        if call.pair is not None:
            _write_pair(out, call.pair)
        if call.trace_id:  # the one that caused it is linked
            write_field(out, _LINK, b"".join((_TRACE_ID, trace_id, _SPAN_ID, span_id, b"\x35", _HERE)))
        else:
            out.write(_PARENT_ID)
            out.write(span_id)
            if told.trace_state:
                write_field(out, _TRACE_STATE, told.trace_state)
        last_ns = ended_ns if call.outcome == "complete" else 0
        _write_moments(out, start_ns, ended_ns if ended_ns > start_ns else start_ns, first_ns, last_ns)
        _end(out, start)

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
    known = "HTTP" if method == _OTHER else str(method)
    name = f"{known} {target}" if target else known
    parts = [text(_NAME, name), _KIND, bytes((kind,)), *[attribute(*each) for each in attributes.items()]]
    if error is None:
        parts.append(field(_STATUS, b""))
    else:
        message = b"" if str(error).isdigit() else text(b"\x12", str(error))
        parts.append(field(_STATUS, message + b"\x18\x02"))
    return b"".join(parts)


def _begin(out: BytesWriter) -> i64:
    """Write the tag of a span, and leave room for a length of two bytes; return where the span begins."""
    out.append(_SPAN)
    out.append(0)
    out.append(0)
    return len(out)


def _end(out: BytesWriter, start: i64) -> None:
    """Write its length there."""
    size = len(out) - start
    if 127 < size < 0x4000:
        out[start - 2] = u8(size & 127 | 128)
        out[start - 1] = u8(size >> 7)
    else:  # rare: the longest paths
        content = out.getvalue()[start:]
        out.truncate(start - 2)
        write_length(out, size)
        out.write(content)


def _write_ids(out: BytesWriter, trace_id: bytes, span_id: bytes) -> None:
    out.write(_TRACE_ID)
    out.write(trace_id)
    out.write(_SPAN_ID)
    out.write(span_id)


def _write_moments(out: BytesWriter, start_ns: i64, end_ns: i64, first_ns: i64, last_ns: i64) -> None:
    """When a span began and ended, and as events when an answer's first and last byte came; 0 where it has none, and
    the last byte only of a whole answer."""
    out.append(_START)
    write_i64_le(out, start_ns)
    out.append(_END)
    write_i64_le(out, end_ns)
    if first_ns:
        _write_event(out, first_ns, _FIRST_BYTE)
    if last_ns:
        _write_event(out, last_ns, _LAST_BYTE)


def _write_event(out: BytesWriter, time_ns: i64, encoded: bytes) -> None:
    out.append(_EVENT)
    write_length(out, 9 + len(encoded))
    out.append(_AT)
    write_i64_le(out, time_ns)
    out.write(encoded)


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


def _write_unknown_method(out: BytesWriter, told: ToldExchange) -> None:
    """One that is empty was refused before it could be read."""
    if told.method:
        out.write(attribute("http.request.method_original", told.method))


def _write_stream(out: BytesWriter, stream: StreamTimes) -> None:
    """Seconds, as the conventions have it; they name the first, and offer no attribute for the others."""
    if stream.first_token_ms is not None:
        out.write(attribute("gen_ai.response.time_to_first_chunk", stream.first_token_ms / 1000))
    if stream.per_chunk_ms is not None:
        out.write(attribute("understudy.stream.time_per_output_chunk", stream.per_chunk_ms / 1000))
    out.write(attribute("understudy.stream.chunks", stream.chunks))


def _write_pair(out: BytesWriter, pair: ToldPair) -> None:
    if pair.latency_delta_ms is not None:
        _LATENCY_DELTA.write_double(out, pair.latency_delta_ms)
    if pair.latency_ratio is not None:
        _LATENCY_RATIO.write_double(out, pair.latency_ratio)
    if pair.status_match is not None:
        out.write(_STATUS_MATCH[pair.status_match])
