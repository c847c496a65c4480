"""The strict reader on its own: what is written by the rules is read back; where messages end; what breaks them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kit import strict_grammar as grammar
from tests.kit.strict import (
    Incomplete,
    Refusal,
    Request,
    Response,
    read_request,
    read_requests,
    read_response,
    read_responses,
)


def _alphabet(allowed: bytes) -> st.SearchStrategy[bytes]:
    return st.lists(st.sampled_from([bytes([byte]) for byte in allowed]), max_size=12).map(b"".join)


TOKENS = _alphabet(grammar.TCHAR).filter(bool)
VALUES = _alphabet(grammar.FIELD_VALUE).map(lambda value: value.strip(b" \t"))
FRAMING = (b"content-length", b"transfer-encoding", b"host", b"connection")
FIELDS = st.lists(st.tuples(TOKENS.filter(lambda name: name.lower() not in FRAMING), VALUES), max_size=5)
PATHS = _alphabet(grammar.PCHAR + b"/").map(lambda path: b"/" + path)
BODIES = st.binary(max_size=60)
EXTENSIONS = st.sampled_from([b"", b";a", b";a=b", b';a="b\\"c";d'])


@st.composite
def requests(draw: st.DrawFn) -> tuple[bytes, dict[str, Any]]:
    """A request in bytes, and what it says."""
    method, target = draw(TOKENS.filter(lambda token: token != b"CONNECT")), draw(PATHS)
    fields, body = draw(FIELDS), draw(BODIES)
    lines = [b"%s:%s%s%s" % (name, draw(OWS), value, draw(OWS)) for name, value in fields]
    framing, written = draw(framings(body))
    head = b"\r\n".join([b"%s %s HTTP/1.1" % (method, target), b"Host: a.test", *lines, *framing, b"", b""])
    said = {"method": method, "target": target, "fields": fields, "body": body if framing else b""}
    return draw(st.sampled_from([b"", b"\r\n"])) + head + written, said


OWS = _alphabet(b" \t")


@st.composite
def framings(draw: st.DrawFn, body: bytes) -> tuple[list[bytes], bytes]:
    """Framing fields, and the body as they frame it."""
    kind = draw(st.sampled_from(["none", "length", "chunked"]))
    if kind == "none":
        return [], b""
    if kind == "length":
        return [b"Content-Length: %d" % len(body)], body
    borders = sorted(draw(st.lists(st.integers(0, len(body)), max_size=3)))
    pieces = [body[one:two] for one, two in zip([0, *borders], [*borders, len(body)], strict=True)]
    chunks = [b"%x%s\r\n%s\r\n" % (len(piece), draw(EXTENSIONS), piece) for piece in pieces if piece]
    trailers = b"".join(b"%s: %s\r\n" % pair for pair in draw(FIELDS))
    return [b"Transfer-Encoding: chunked"], b"".join(chunks) + b"0\r\n" + trailers + b"\r\n"


@given(st.lists(requests(), max_size=4))
def test_requests_written_by_the_rules_are_read_back(written: list[tuple[bytes, dict[str, Any]]]) -> None:
    messages, rest = read_requests(b"".join(data for data, _ in written))
    assert rest is None
    assert len(messages) == len(written)
    end = 0
    for message, (data, said) in zip(messages, written, strict=True):
        own = [(name, value) for name, value in message.fields if name.lower() not in FRAMING]
        assert {"method": message.method, "target": message.target, "fields": own, "body": message.body} == said
        assert message.at == end
        end += len(data)
        assert message.end == end


@given(requests(), st.data())
def test_any_beginning_of_a_request_is_incomplete(written: tuple[bytes, dict[str, Any]], data: st.DataObject) -> None:
    sent = written[0]
    cut = data.draw(st.integers(0, len(sent) - 1))
    assert isinstance(read_request(sent[:cut]), Incomplete)


@given(st.integers(200, 599).filter(lambda status: status not in (204, 304)), FIELDS, BODIES, st.data())
def test_responses_written_by_the_rules_are_read_back(
    status: int, fields: list[tuple[bytes, bytes]], body: bytes, data: st.DataObject
) -> None:
    lines = [b"%s: %s" % pair for pair in fields]
    framing, written = data.draw(framings(body))
    head = b"\r\n".join([b"HTTP/1.1 %d Any reason" % status, *lines, *framing, b"", b""])
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    message = read_response(interim + head + (written if framing else body), closed=True)
    assert isinstance(message, Response)
    assert (message.status, message.body, len(message.interim)) == (status, body, 1)
    assert message.framing == ("close" if not framing else "length" if b"Length" in framing[0] else "chunked")


@pytest.mark.parametrize(
    ("sent", "rule"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\nA : b\r\n\r\n", "5.1"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n", "5.2"),
        (b"GET / HTTP/1.1\nHost: a\r\n\r\n", "2.2"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "6.3"),
        (b"GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", "6.1"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n", "7.1"),
        (b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", "3.2"),
        (b"GET / HTTP/1.1\r\n\r\n", "3.2"),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", "2.3"),
    ],
)
def test_a_refusal_names_its_rule(sent: bytes, rule: str) -> None:
    refusal = read_request(sent)
    assert isinstance(refusal, Refusal)
    assert rule in refusal.rule


def test_answers_end_where_the_next_begins() -> None:
    stream = (
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"  # to HEAD
        b"HTTP/1.1 204 No Content\r\n\r\n"
        b"HTTP/1.1 200 OK\r\n\r\nto the end"
    )
    answers, rest = read_responses(stream, [b"GET", b"HEAD", b"DELETE", b"GET"], closed=True)
    assert rest is None
    assert [answer.body for answer in answers] == [b"hi", b"", b"", b"to the end"]
    assert [answer.keeps_alive for answer in answers] == [True, True, True, False]


def test_bytes_that_nobody_asked_for_are_refused() -> None:
    stream = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi!"
    answers, rest = read_responses(stream, [b"GET"])
    assert len(answers) == 1
    assert isinstance(rest, Refusal)


def test_an_answer_without_a_length_is_whole_only_when_its_stream_has_ended() -> None:
    assert isinstance(read_response(b"HTTP/1.1 200 OK\r\n\r\nhi"), Incomplete)
    assert isinstance(read_response(b"HTTP/1.1 200 OK\r\n\r\nhi", closed=True), Response)


def test_what_the_rfc_leaves_open_is_a_doubt() -> None:
    message = read_request(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 02\r\n\r\nhi")
    assert isinstance(message, Request)
    assert message.doubts
