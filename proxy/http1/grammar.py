"""What llhttp leaves open about the bytes of a head, and what to call those it refuses (RFC 9112 sections 2 to 5).

llhttp's grammar of field lines is that of RFC 9112 section 5, to which tests/proxy/http1/test_grammar.py holds it. Of
the first line, of targets and of Host it lets pass what RFC 9112 lets a recipient refuse: that is refused here. Two
leniencies, both read alike by everybody: one empty line before a request line, and `[` `]` in a query, which well-known
clients send.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final

from ...config.snapshot import Listener
from ...filters.api import Failure
from . import write

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
_PATH_CHAR = rb"!$&'()*+,\-./0-9:;=@A-Z_a-z~\[\]"
_ESCAPE = rb"%[0-9A-Fa-f]{2}"
_PATH = rb"[" + _PATH_CHAR + rb"]*+(?:" + _ESCAPE + rb"[" + _PATH_CHAR + rb"]*+)*"
_QUERY = rb"[?" + _PATH_CHAR + rb"]*+(?:" + _ESCAPE + rb"[?" + _PATH_CHAR + rb"]*+)*"
# Constant patterns of our own, linear: characters repeat possessively, and each round of a group begins with a byte
# that ends the one before. Groups themselves must not be possessive: Python 3.11.2 lets too much pass there.
_TARGET: Final = re.compile(rb"(?=[^ ])" + _PATH + rb"(?:\?" + _QUERY + rb")?")  # noqa: TID251
_REQUEST_LINE: Final = re.compile(_TOKEN + rb"++ ([\x21-\x7e]++) HTTP/([0-9]\.[0-9])\r\n")  # noqa: TID251
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.[01] [1-5][0-9]{2} [\t\x20-\x7e\x80-\xff]*+\r\n")  # noqa: TID251
_HOST: Final = re.compile(  # noqa: TID251
    rb"(?:(?:[!$&'()*+,\-.0-9;=A-Z_a-z~]++|%[0-9A-Fa-f]{2})+|\[[0-9A-Fa-f:.]{2,45}+\])(?::[0-9]{0,5}+)?"
)
_DOT_SEGMENT: Final = re.compile(  # noqa: TID251
    rb"(?:/|\\|%2[fF]|%5[cC])(?:\.|%2[eE]){1,2}(?:/|\\|%2[fF]|%5[cC]|;|$)"
)
_PLAIN_CHAR: Final = re.compile(rb"[!$&'()*+,\-/0-9:;=@A-Z_a-z~]")  # noqa: TID251
_PLAIN: Final = bytes([byte if _PLAIN_CHAR.match(bytes([byte])) else 0 for byte in range(256)])

STRAY_LINE_END: Final = re.compile(rb"(?<!\r)\n|\r(?!\n|\Z)")  # noqa: TID251
"""A bare LF or CR: an unfinished head that holds one is refused at once, since its end might never come."""

BEGINNING: Final = re.compile(rb"(?:\r\n)?(?:\r?\Z|" + _TOKEN + rb")")  # noqa: TID251
"""How a request begins. Bytes that do not, a TLS hello for one, are refused at once: they may never hold a line."""

_BLANK_LINE: Final = b"\r\n\r\n"
_BEFORE_BLANK_LINE: Final = len(_BLANK_LINE) - 1
_OPENING: Final = ord("[")
_CLOSING: Final = ord("]")
_LINE_FEED: Final = ord("\n")
_DOT: Final = ord(".")
_PERCENT: Final = ord("%")
_QUESTION_MARK: Final = ord("?")
_VERSION_AT: Final = len(b"HTTP/1.")
_ONE: Final = ord("1")
_LONGEST_AUTHORITY: Final = 1024
_REMEMBERED_AUTHORITIES: Final = 256
_good_authorities: Final[set[bytes]] = set()


def split_head(data: bytes, begin: int, searched: int) -> tuple[bytes, bytes]:
    """The head that begins there, blank line included, and what stands behind it; b"" and all of it where the head is
    not complete. The first `searched` bytes of the data were looked through before."""
    if not begin and not searched:
        head, end, rest = data.partition(_BLANK_LINE)
        return (head + end, rest) if end else (b"", data)
    at = data.find(_BLANK_LINE, max(begin, searched - _BEFORE_BLANK_LINE))
    if at < 0:
        return b"", data
    at += len(_BLANK_LINE)
    return data[begin:at], data[at:]


def check_beginning(data: bytes, searched: int, listener: Listener) -> None:
    """Refuse the beginning of a head that no more bytes can make good; the first `searched` were looked at before."""
    if STRAY_LINE_END.search(data, max(searched - 1, 0)):
        raise Failure("bad_request", "a line of the head does not end in CRLF")
    if not BEGINNING.match(data):
        raise Failure("bad_request", "these bytes do not begin an HTTP/1.1 request; is TLS spoken to a plain port?")
    if len(data) > listener.max_head:
        raise Failure("head_too_large", f"the request head is larger than {listener.max_head} bytes")
    if _LINE_FEED not in data and len(data) > listener.max_target + 64:
        raise target_too_long(listener)


def request_version(raw: bytes, method: bytes, target: bytes, listener: Listener) -> int:
    """The minor version of a request head that llhttp read so. Raises Failure when its first line is anything but
    method, target and HTTP/1.0 or HTTP/1.1 with one space between."""
    if raw.startswith(b"%b %b HTTP/1.1\r\n" % (method, target)):
        return 1
    if raw.startswith(b"%b %b HTTP/1.0\r\n" % (method, target)):
        return 0
    raise request_mistake(raw, listener, "its first line has another form")


def is_plain(target: bytes) -> bool:
    """Whether every byte of a target means itself: no escape, query, bracket or dot. Raises Failure for a target that
    is no URI reference."""
    if target.translate(_PLAIN) == target:
        return True
    if _TARGET.fullmatch(target) is None:
        raise _bad_target()
    return False


def request_mistake(raw: bytes, listener: Listener, otherwise: str) -> Failure:
    """What is wrong with a request head that was refused; `otherwise`, where its first line is well."""
    line = raw[: raw.find(b"\r\n") + 2]
    if len(line) > listener.max_target + 64:
        return target_too_long(listener)
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        return Failure("bad_request", "malformed request line")
    if match[2] not in (b"1.0", b"1.1"):
        version = match[2].decode()
        return Failure("bad_request", f"HTTP/{version} is not served here, only HTTP/1.1 and 1.0", status=505)
    if _TARGET.fullmatch(match[1]) is None:
        return _bad_target()
    return Failure("bad_request", f"malformed request: {otherwise}")


def check_path(target: bytes) -> None:
    """Of a target in origin-form. Raises Failure for dot segments, and for brackets outside of the query."""
    # A number is looked for at once; a bytes object would first be tried as one, which costs an exception each time.
    path = target[: target.find(b"?")] if _QUESTION_MARK in target else target
    if _OPENING in path or _CLOSING in path:
        raise _bad_target()
    if (_DOT in path or _PERCENT in path) and _DOT_SEGMENT.search(path):
        raise Failure("bad_request", "dot segments in the request target")


def answer_version(raw: bytes, status: int) -> int:
    """The minor version of a response head, whose status llhttp read so; -1 where its first line is malformed."""
    if 100 <= status < 600 and raw.startswith(write.STATUS_LINES[status]):
        return 1
    if _STATUS_LINE.match(raw) is None:
        return -1
    return 1 if raw[_VERSION_AT] == _ONE else 0


def is_authority(text: bytes) -> bool:
    """Whether it is a host and perhaps a port (RFC 9110 section 7.2). The good ones of late are remembered."""
    if text in _good_authorities:
        return True
    if not _reads_as_authority(text):
        return False
    if len(_good_authorities) >= _REMEMBERED_AUTHORITIES:
        _good_authorities.clear()
    _good_authorities.add(text)
    return True


def _reads_as_authority(text: bytes) -> bool:
    """Brackets hold an IPv6 address."""
    if len(text) > _LONGEST_AUTHORITY or _HOST.fullmatch(text) is None:
        return False
    if text[:1] == b"[":
        try:
            ipaddress.IPv6Address(text[1 : text.index(b"]")].decode())
        except ValueError:
            return False
    return True


def _bad_target() -> Failure:
    return Failure("bad_request", "the request target is not a valid URI reference")


def target_too_long(listener: Listener) -> Failure:
    """Of a request whose target is longer than the listener takes."""
    return Failure("target_too_long", f"the request target is longer than {listener.max_target} bytes")
