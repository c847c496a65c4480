"""Lines, framing and bodies of RFC 9112, for the strict reader: where a message ends, with every quarrel refused."""

from __future__ import annotations

from . import strict_grammar as grammar
from .strict_message import Broken, Fields, Message, Request, Response, Short

LARGEST_LENGTH = 2**63 - 1
# RFC 9110 6.5.1: framing, routing, modifiers, authentication, content.
UNFIT_FOR_TRAILERS = frozenset(
    b"content-length transfer-encoding host authorization connection content-type trailer expect te".split()
)


def take_line(data: bytes, at: int) -> tuple[bytes, int]:
    """One line that ends in CRLF, without it, and the offset behind it."""
    end = data.find(b"\n", at)
    carriage = data.find(b"\r", at, end if end >= 0 else len(data))
    if carriage >= 0 and carriage != end - 1 and carriage != len(data) - 1:
        raise Broken("RFC 9112 2.2: a bare CR")
    if end < 0:
        raise Short
    if carriage < 0:
        raise Broken("RFC 9112 2.2: a bare LF ends a line")
    return data[at:carriage], end + 1


def take_fields(data: bytes, at: int) -> tuple[Fields, int]:
    """`*( field-line CRLF ) CRLF` (RFC 9112 5), values without the whitespace around them."""
    fields: Fields = []
    while True:
        line, at = take_line(data, at)
        if not line:
            return fields, at
        if line[:1] in b" \t":
            raise Broken("RFC 9112 5.2: obs-fold" if fields else "RFC 9112 2.2: whitespace before the first field")
        name, colon, value = line.partition(b":")
        if not colon:
            raise Broken("RFC 9112 5: a field line without a colon")
        if not grammar.is_token(name):
            raise Broken("RFC 9112 5.1: a field name is a token with no whitespace before the colon")
        if not grammar.consists_of(value, grammar.FIELD_VALUE):
            raise Broken("RFC 9110 5.5: a control byte in a field value")
        fields.append((name, value.strip(b" \t")))


def frame_request(head: Request) -> None:
    """RFC 9112 6.3 for requests, with every quarrel refused."""
    codings, lengths = head.all(b"transfer-encoding"), head.all(b"content-length")
    if codings and lengths:
        raise Broken("RFC 9112 6.3: Transfer-Encoding and Content-Length in one message")
    if codings:
        _check_codings(head, codings)
        head.framing = "chunked"
    elif lengths:
        head.framing = "length"
        _length(head, lengths)
    if head.method == b"TRACE" and head.framing != "none":
        head.doubts.append("RFC 9110 9.3.8: TRACE with content")


def _check_codings(head: Message, codings: list[bytes]) -> None:
    if head.version == b"HTTP/1.0":
        raise Broken("RFC 9112 6.1: Transfer-Encoding in HTTP/1.0")
    elements = grammar.list_elements(codings)
    named = [element.lower() for element in elements if element]
    if named != [b"chunked"]:
        raise Broken("RFC 9112 6.1: a transfer coding that is not exactly chunked", 400, 501)
    if len(elements) > 1:
        head.doubts.append("RFC 9110 5.6.1.2: empty list elements")


def _length(head: Message, lengths: list[bytes]) -> int:
    if len(lengths) > 1:
        raise Broken("RFC 9112 6.3: more than one Content-Length")
    if not grammar.is_digits(lengths[0]):
        raise Broken("RFC 9110 8.6: Content-Length is 1*DIGIT")
    if len(lengths[0]) > 1000 or int(lengths[0]) > LARGEST_LENGTH:
        raise Broken("RFC 9110 8.6: a Content-Length that overflows", 400, 413)
    if len(lengths[0]) > 1 and lengths[0].startswith(b"0"):
        head.doubts.append("RFC 9110 8.6: leading zeros in Content-Length")
    return int(lengths[0])


def frame_interim(head: Response) -> None:
    if head.all(b"transfer-encoding") or head.all(b"content-length"):
        head.doubts.append("RFC 9112 6.1, RFC 9110 8.6: a framing field in a 1xx")


def frame_response(head: Response, method: bytes) -> None:
    """RFC 9112 6.3 for responses, with every quarrel refused."""
    codings, lengths = head.all(b"transfer-encoding"), head.all(b"content-length")
    if codings and lengths:
        raise Broken("RFC 9112 6.3: Transfer-Encoding and Content-Length in one message")
    if codings:
        _check_codings(head, codings)
    if lengths:
        _length(head, lengths)
    if method == b"HEAD" or head.status in (101, 204, 304):
        if (codings or lengths) and head.status in (101, 204):
            head.doubts.append("RFC 9112 6.1, RFC 9110 8.6: a framing field in a 101 or 204")
        head.framing = "none"
    else:
        head.framing = "chunked" if codings else "length" if lengths else "close"


def read_body(data: bytes, head: Message, closed: bool = False) -> None:
    head.end = head.head_end
    if head.framing == "length":
        length = int(head.all(b"content-length")[0])
        if len(data) - head.head_end < length:
            raise Short
        head.end = head.head_end + length
        head.body = data[head.head_end : head.end]
    elif head.framing == "chunked":
        _read_chunks(data, head)
    elif head.framing == "close":
        if not closed:
            raise Short
        head.end = len(data)
        head.body = data[head.head_end :]


def _read_chunks(data: bytes, head: Message) -> None:
    """RFC 9112 7.1."""
    pieces: list[bytes] = []
    at = head.head_end
    while True:
        line, at = take_line(data, at)
        size = line[: len(line) - len(line.lstrip(grammar.HEXDIG))]
        if not size:
            raise Broken("RFC 9112 7.1: a chunk size is 1*HEXDIG")
        if len(size.lstrip(b"0")) > 16:
            raise Broken("RFC 9112 7.1: a chunk size that overflows", 400, 413)
        if len(size) > 16:
            head.doubts.append("RFC 9112 7.1: a chunk size with many leading zeros")
        extensions = line[len(size) :]
        if problem := grammar.problem_of_chunk_extensions(extensions):
            raise Broken(problem)
        head.extension_bytes += len(extensions)
        unquoted = b"".join(extensions.split(b'"')[::2])
        if b" " in unquoted or b"\t" in unquoted:
            head.doubts.append("RFC 9112 7.1.1: whitespace in chunk extensions")
        length = int(size, 16)
        if not length:
            break
        if len(data) < at + length + 2:
            rest = data[at + length :]
            if rest not in (b"", b"\r"):
                raise Broken("RFC 9112 7.1: no CRLF after a chunk's data")
            raise Short
        if data[at + length : at + length + 2] != b"\r\n":
            raise Broken("RFC 9112 7.1: no CRLF after a chunk's data")
        pieces.append(data[at : at + length])
        at += length + 2
    head.trailers, head.end = take_fields(data, at)
    head.trailer_bytes = head.end - at
    if UNFIT_FOR_TRAILERS & {name.lower() for name, _ in head.trailers}:
        head.doubts.append("RFC 9110 6.5.1: a field that must not be sent as a trailer")
    head.body = b"".join(pieces)
