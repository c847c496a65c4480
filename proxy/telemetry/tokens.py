"""When the tokens of a streamed answer came: the events with content among server-sent events, while their bytes pass.

Bytes are looked at and never held back: what is kept of them is an unfinished event, within `MOST_EVENT_BYTES`; a
larger one counts as content unread. Lines and events are those of the WHATWG HTML standard, section 9.2. Until the
first event with content each is read as JSON; from then on the mark before that content is looked for, and only what
lacks it is read.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ...filters.api import Response
from .count import NEVER
from .records import StreamTimes

MOST_EVENT_BYTES: Final = 16 * 1024
_EVENT_STREAM: Final = b"text/event-stream"
_BOM: Final = b"\xef\xbb\xbf"
_LONGEST_NAME: Final = len(_BOM) + len(b"data:")
_CR: Final = ord("\r")
_LF: Final = ord("\n")
_COLON: Final = ord(":")
_SPACE: Final = ord(" ")
_DELTA_FIELDS: Final = (
    "content", "reasoning_content", "reasoning", "tool_calls", "refusal", "function_call", "audio",
)  # fmt: skip
_BLOCK_FIELDS: Final = ("text", "thinking", "partial_json")
_BARE_FIELDS: Final = ("outputs", "text_output", "content")
_WITHOUT: Final = (
    "message_start", "message_delta", "message_stop", "content_block_start", "content_block_stop", "ping", "error",
)  # fmt: skip
_CLOSING: Final = {ord('"'): ord('"'), ord("["): ord("]"), ord("{"): ord("}")}
_decode: Final = msgspec.json.Decoder().decode


def clock_of(response: Response, now: float) -> TokenClock | None:
    """The clock of an answer whose head came at `now`, None where it is no stream of events that can be read: its body
    is of another type, or encoded, or it is no success. Asked only where `response.unsized`: a stream does not know its
    length, and most answers that do are so passed by at once."""
    if not 200 <= response.status < 300:
        return None
    found = False
    for name, value in response.headers:
        if name == b"content-type":
            found = value[:17].lower() == _EVENT_STREAM and value[17:].lstrip(b" \t")[:1] in (b"", b";")
        elif name == b"content-encoding" and value.lower() != b"identity":
            return None
    if not found:
        return None
    clock = TokenClock()
    clock.take(response.content, now)
    return clock


class TokenClock:
    """Of one answer. Mutable state: `chunks`, how many events had content, and when (`first`, `last`; monotonic
    seconds, 0 for never); the unfinished line and the data of the unfinished event; and how events with content begin
    that are like the last one that was read."""

    __slots__ = (
        "_after_cr", "_begun", "_between", "_closing", "_cut", "_data", "_line", "_prefix", "_size", "_spaced",
        "_start", "chunks", "first", "last",
    )  # fmt: skip

    def __init__(self) -> None:
        self.chunks = 0
        self.first = self.last = 0.0
        self._start = b""  # the event up to its content
        self._prefix = b""  # its data up to there
        self._closing = 0  # what stands there where the content is empty
        self._begun = False  # the first line is in, before which a byte order mark may stand
        self._between = False  # nothing is unfinished
        self._after_cr = False  # a line feed that comes now belongs to the line before
        self._line = b""
        self._cut = False  # of a line that is too long only the beginning is kept
        self._data: list[bytes] = []
        self._size = 0  # of the lines with data, names included
        self._spaced = False  # a space follows the colon

    def take(self, chunk: bytes, now: float) -> None:
        """More of the answer's body, which came at `now`."""
        # Most chunks are one event of one line and begin as the one before. Slices and numbers cost a fraction of what
        # methods of bytes do, which take a tuple of arguments.
        start = self._start
        at = len(start)
        end = len(chunk) - 2
        if self._between and 0 < at < end <= MOST_EVENT_BYTES and chunk[end + 1] == _LF:
            if chunk[end] == _CR and chunk[end - 1] == _LF and chunk[end - 2] == _CR:
                end -= 2
            elif chunk[end] != _LF:
                end = 0
            if at < end and chunk[at] != self._closing and chunk[:at] == start:
                rest = chunk[at:end]
                if _LF not in rest and _CR not in rest:
                    self.chunks += 1
                    self.last = now
                    return
        if chunk:
            self._scan(chunk, now)

    def told(self, since: float) -> StreamTimes:
        """What is known, in times since this moment (monotonic seconds)."""
        between_s = self.between_s()
        return StreamTimes(
            self.first_s(since) * 1000 if self.chunks else None,
            between_s * 1000 if between_s >= 0.0 else None,
            self.chunks,
        )

    def first_s(self, since: float) -> float:
        """How long after this moment (monotonic seconds) the first event with content came; NEVER, if none did."""
        return self.first - since if self.chunks else NEVER

    def between_s(self) -> float:
        """The mean time between two events with content; NEVER where there were fewer, or all came at once."""
        between = self.last - self.first
        return between / (self.chunks - 1) if between > 0.0 else NEVER

    def _scan(self, chunk: bytes, now: float) -> None:
        if self._after_cr:
            self._after_cr = False
            if chunk[0] == _LF:
                chunk = chunk[1:]
        if _CR in chunk:
            self._after_cr = chunk[len(chunk) - 1] == _CR
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        lines = chunk.split(b"\n")
        rest = lines.pop()
        for line in lines:
            self._end_line(line, now)
        if rest:
            line = self._line + rest
            if self._cut or len(line) > MOST_EVENT_BYTES:
                self._cut = True
                line = line[:_LONGEST_NAME]
            self._line = line
        self._between = self._begun and not (self._line or self._size or self._after_cr)

    def _end_line(self, line: bytes, now: float) -> None:
        size = len(line)
        if self._line:
            line = self._line + line
            size = MOST_EVENT_BYTES + 1 if self._cut else len(line)
            self._line = b""
            self._cut = False
        if not self._begun:
            self._begun = True
            line = line.removeprefix(_BOM)
        if not line:
            self._end_event(now)
        elif line[:4] == b"data":
            if len(line) == 4:
                self._add(b"", size)
            elif line[4] == _COLON:
                self._spaced = len(line) > 5 and line[5] == _SPACE
                self._add(line[6:] if self._spaced else line[5:], size)

    def _add(self, value: bytes, size: int) -> None:
        """One more line of data; `size` is the whole line's."""
        self._size += size
        if self._size <= MOST_EVENT_BYTES:
            self._data.append(value)

    def _end_event(self, now: float) -> None:
        size = self._size
        if not size:
            return
        self._size = 0
        parts, self._data = self._data, []
        if size > MOST_EVENT_BYTES:
            self._count(now)
        else:
            data = parts[0] if len(parts) == 1 else b"\n".join(parts)
            if data:
                self._judge(data, now)

    def _judge(self, data: bytes, now: float) -> None:
        """Count an event of this data if it has content."""
        prefix = self._prefix
        at = len(prefix)
        if 0 < at < len(data) and data[at] != self._closing and data[:at] == prefix:
            self._count(now)
            return
        field = content_field(data)
        if field is not None:
            self._count(now)
            if field:
                self._learn(field, data)

    def _count(self, now: float) -> None:
        self.chunks += 1
        self.last = now
        if self.chunks == 1:
            self.first = now

    def _learn(self, field: str, data: bytes) -> None:
        """Know the next events with content by how this one begins."""
        for mark in (b'"%b":' % field.encode(), b'"%b": ' % field.encode()):
            at = data.find(mark) + len(mark)
            closing = _CLOSING.get(data[at]) if len(mark) <= at < len(data) else None
            if closing is not None and _LF not in data:
                self._prefix = data[: at + 1]
                self._start = (b"data: " if self._spaced else b"data:") + self._prefix
                self._closing = closing
                return


def content_field(data: bytes) -> str | None:
    """The field in which an event has content; "": it is of no form that we know; None: it has none.

    Known are chat and completions of OpenAI, its responses, Anthropic's messages, the open inference protocol of KServe
    and MLServer, Triton's generate extension, and llama.cpp's own. Nothing is raised, whatever the data are.
    """
    if not data.lstrip().startswith(b"{"):
        return None if data == b"[DONE]" else ""
    try:
        event = _decode(data)
    except (ValueError, RecursionError):
        return ""
    return _field_of_event(event)


def _field_of_event(event: dict[str, Any]) -> str | None:
    found: str | None = None
    choices, kind = event.get("choices"), event.get("type")
    bare = next((name for name in _BARE_FIELDS if name in event), "")
    if isinstance(choices, list):
        found = _field_of_choices(choices)
    elif kind == "content_block_delta":
        found = _first_of(event.get("delta"), _BLOCK_FIELDS)
    elif isinstance(kind, str) and kind.startswith("response."):
        found = "delta" if kind.endswith(".delta") and event.get("delta") else None
    elif bare:
        found = bare if event[bare] else None
    elif kind not in _WITHOUT and not event.get("error"):
        found = ""
    return found


def _field_of_choices(choices: list[Any]) -> str | None:
    for choice in choices:
        if isinstance(choice, dict):
            if choice.get("text"):
                return "text"
            found = _first_of(choice.get("delta"), _DELTA_FIELDS)
            if found is not None:
                return found
    return None


def _first_of(fields: object, names: tuple[str, ...]) -> str | None:
    """The first of these names that has anything to say."""
    if isinstance(fields, dict):
        for name in names:
            if fields.get(name):
                return name
    return None
