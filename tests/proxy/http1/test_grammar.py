"""llhttp keeps to the grammar of field lines: whatever it lets pass, RFC 9112 section 5 allows, and reads the same.

proxy/http1/grammar.py leaves field lines to it; a release of llhttp that took more would fail here.
"""

from __future__ import annotations

import re
from itertools import product
from random import Random

import httptools
import pytest
from understudy.proxy.http1 import grammar

# RFC 9112 section 5.
FIELDS = re.compile(rb"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]++:[\t\x20-\x7e\x80-\xff]*+\r\n)*+\r\n")  # noqa: TID251
LINES = (b"POST / HTTP/1.1", b"GET / HTTP/1.0", b"HTTP/1.1 200 OK", b"HTTP/1.1 101 Switching", b"HTTP/1.0 204 None")
# llhttp reads the values of these by states of their own.
SPECIAL = (
    b"Host: a\r\nContent-Length: 5\r\n\r\n",
    b"Transfer-Encoding: gzip, chunked\r\nX:y\r\n\r\n",
    b"Connection: keep-alive, upgrade\r\nUpgrade: w\r\n\r\n",
    b"Connection:\tclose \r\nProxy-Connection: close\r\nA:\r\n\r\n",
)
NAMES = (
    b"Host", b"Content-Length", b"Transfer-Encoding", b"Connection", b"Upgrade", b"Proxy-Connection", b"A", b"te",
    b"Con", b"Transfer-Encodin", b"Upgradex", b"connection", b"content-length",
)  # fmt: skip
VALUES = (
    b"", b"a", b"5", b"chunked", b"keep-alive", b"close", b"close, upgrade", b"gzip, chunked", b" 5 ", b"\t5\t",
    b"ab c", b"Keep-Alive , Upgrade", b"\xff\xfe", b"closed", b"1 2",
)  # fmt: skip
DAMAGE = (*(bytes([byte]) for byte in (*range(33), 58, 127, 128, 255)), b"\r\n", b"\r\n ", b"\r\r\n", b"\n\n", b" :")


class Fields:
    """What llhttp reads of one head."""

    def __init__(self) -> None:
        self.lines: list[tuple[bytes, bytes]] = []
        self.complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self.lines.append((name, value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        self.complete = True


def check(first: bytes, damaged: bytes) -> bool:
    """Whether llhttp lets the field lines pass, up to the first blank line among them."""
    end = (b"\r\n" + damaged).find(b"\r\n\r\n")
    if end < 0:
        return False
    fields = damaged[: end + 2]
    told = Fields()
    parser = (httptools.HttpResponseParser if first[:4] == b"HTTP" else httptools.HttpRequestParser)(told)
    try:
        parser.feed_data(first + b"\r\n" + fields)
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserError:
        return False
    assert FIELDS.fullmatch(fields), (first, fields)
    lines = [line.partition(b":") for line in fields.split(b"\r\n")[:-2]]
    assert told.lines == [(name, value.strip(b" \t")) for name, _, value in lines], (first, fields)
    assert told.complete, (first, fields)
    return True


@pytest.mark.parametrize("fields", SPECIAL)
def test_every_byte_at_every_place(fields: bytes) -> None:
    passed = 0
    for at, byte, over in product(range(len(fields) + 1), range(256), (0, 1)):
        damaged = fields[:at] + bytes([byte]) + fields[at + over :]
        passed += sum(check(first, damaged) for first in LINES)
    assert passed > 10_000, "most bytes are good in most values"


@pytest.mark.parametrize("seed", range(4))
def test_damage_to_the_lines_that_llhttp_understands(seed: int) -> None:
    rng = Random(seed)
    passed = 0
    for _ in range(4000):
        lines = [b"%b:%b%b\r\n" % (rng.choice(NAMES), rng.choice((b"", b" ", b"\t")), rng.choice(VALUES)) for _ in "12"]
        damaged = b"".join(lines) + b"\r\n"
        for _ in range(rng.choice((1, 1, 2, 3))):
            at = rng.randrange(len(damaged) + 1)
            damaged = damaged[:at] + rng.choice((*DAMAGE, b"")) + damaged[at + rng.randrange(2) :]
        passed += check(rng.choice(LINES), damaged)
    assert passed > 100


@pytest.mark.parametrize("target", [b"/%", b"/%4", b"/%zz", b"/%2E%?2e", b"/a?%", b"/a?b%2", b"/%41%"])
def test_an_escape_without_its_digits_is_refused(target: bytes) -> None:
    assert grammar._TARGET.fullmatch(target) is None


@pytest.mark.parametrize("host", [b"%", b"a%4", b"a%zz", b"a%41%", b"a:%", b"[::1", b"a:1:"])
def test_a_host_that_is_cut_short_is_refused(host: bytes) -> None:
    assert grammar._HOST.fullmatch(host) is None


@pytest.mark.parametrize("target", [b"/", b"/%41", b"/a%2Fb%2f", b"/a?b=%20&c", b"*", b"/?%3F%41"])
def test_whole_escapes_pass(target: bytes) -> None:
    assert grammar._TARGET.fullmatch(target)
