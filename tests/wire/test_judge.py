"""The judge can be wrong only where nobody would notice, so here each kind of lie is told to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from tests.kit.raw import Answer, RawBackend, RawClient, good_answer, identity
from tests.kit.strict import Request, read_request, read_responses

from .answers import against_oracle, safety
from .back import differences
from .judge import judge
from .transcript import Transcript, converse, plan_of

GET = b"GET /t HTTP/1.1\r\nHost: a.test\r\n\r\n"
POST = b"POST /t HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello"
OWN = (
    b"X-Request-Id: 1\r\nX-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: a.test\r\n"
    b"Via: 1.1 x\r\ntraceparent: 00-1-2-01\r\n"
)


def _kinds(told: Transcript) -> set[str]:
    return {finding.kind for finding in judge(told)}


def _told(sent: bytes, received: bytes, ended: str = "") -> Transcript:
    after = identity(b"GET", b"/after", b"")
    own = b"HTTP/1.1 200 OK\r\nX-Saw: %s\r\nContent-Length: %d\r\n\r\n%s" % (after, len(after), after)
    return Transcript(sent, plan_of(sent), received, ended, after=b"/after", after_received=own)


def _answer_to(sent: bytes) -> bytes:
    request = read_request(sent)
    assert isinstance(request, Request)
    return good_answer(request)


PROBLEM = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/problem+json\r\nX-Request-Id: 7\r\nConnection: close\r\n"
    b'Content-Length: 29\r\n\r\n{"status":400,"instance":"7"}'
)


def test_a_good_conversation_has_no_findings() -> None:
    assert judge(_told(GET + POST, _answer_to(GET) + _answer_to(POST))) == []
    assert judge(_told(b"GET\r\n\r\n", PROBLEM, "end")) == []


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("misdelivered", _told(GET, _answer_to(POST))),
        ("misdelivered", _told(GET + POST, _answer_to(POST) + _answer_to(GET))),
        ("lost", _told(GET + POST, _answer_to(GET), "end")),
        ("lost", _told(GET, b"HTTP/1.1 502 X\r\nContent-Length: 0\r\n\r\n")),
        ("lost", _told(GET, _answer_to(GET)[:-1], "end")),
        ("unreadable", _told(GET, b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n")),
        ("unreadable", _told(GET, _answer_to(GET) + b"x")),
        ("lenient", _told(b"GET /t HTTP/1.1\r\nHost : a\r\n\r\n", _answer_to(GET))),
        ("stricter", _told(GET, PROBLEM, "end")),
        ("rude", _told(b"GET\r\n\r\n", PROBLEM)),
        ("rude", _told(b"GET\r\n\r\n", b"", "end")),
        ("rude", _told(b"GET\r\n\r\n", PROBLEM.replace(b"Connection: close\r\n", b""), "end")),
        ("rude", _told(b"GET\r\n\r\n", PROBLEM.replace(b"Request-Id: 7", b"Request-Id: 8"), "end")),
        ("rude", _told(b"GET\r\n\r\n", PROBLEM.replace(b"problem+json", b"json"), "end")),
    ],
)
def test_each_lie_is_found(kind: str, told: Transcript) -> None:
    assert kind in _kinds(told)


def _edit(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    return lambda data: data.replace(old, new)


BACK = b"POST /t HTTP/1.1\r\nHost: a.test\r\nA: b\r\n" + OWN + b"Content-Length: 5\r\n\r\nhello"
FRONT = b"POST /t HTTP/1.1\r\nHost: a.test\r\nA: b\r\nContent-Length: 5\r\n\r\nhello"


@pytest.mark.parametrize(
    "edit",
    [
        _edit(b"A: b", b"A: c"),
        _edit(b"A: b\r\n", b""),
        _edit(b"A: b", b"A: b\r\nSmuggled: 1"),
        _edit(b"Host: a.test", b"Host: b.test"),
        _edit(b"For: 127.0.0.1", b"For: 10.0.0.1"),
        _edit(b"A: b", b"A: b\r\nX_Understudy-Backend: c"),
        _edit(b"A: b", b"A: b\r\nKeep-Alive: 5"),
        _edit(b"A: b", b"A: b\r\nUpgrade: h2c"),
        _edit(b"Via: 1.1 x\r\n", b""),
        _edit(b"HTTP/1.1", b"HTTP/1.0"),
        _edit(b"traceparent: 00-1-2-01\r\n", b""),
    ],
)
def test_each_difference_behind_is_found(edit: Callable[[bytes], bytes]) -> None:
    front, back, edited = read_request(FRONT), read_request(BACK), read_request(edit(BACK))
    assert isinstance(front, Request)
    assert isinstance(back, Request)
    assert isinstance(edited, Request)
    assert differences(front, back) == []
    assert differences(front, edited) != []


def test_a_message_behind_that_nobody_sent_is_found() -> None:
    told = _told(GET, _answer_to(GET))
    smuggled = read_request(POST)
    assert isinstance(smuggled, Request)
    told.log = [(None, smuggled)]  # type: ignore[list-item]
    assert "different" in _kinds(told)


def test_a_broken_answer_passed_on_as_whole_is_found() -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello"
    told = _told(GET, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
    assert [finding.kind for finding in against_oracle(told, answer, closed=True)] == ["lenient"]
    assert safety(told) == []


def test_the_raw_ends_converse() -> None:
    """Without a proxy between them: everything is answered, in order, and the follow-ups too."""

    async def scenario() -> Transcript:
        backend = RawBackend()
        address = await backend.start()
        told = await converse(address, backend, [GET[:9], GET[9:] + POST])
        await backend.close()
        return told

    told = asyncio.run(scenario())
    assert not told.hung
    assert [request.target for _, request in told.log] == [b"/t", b"/t", told.follow_up]
    answers, rest = read_responses(told.received, [b"GET", b"POST", b"GET"])
    assert rest is None
    assert [answer.body[:6] for answer in answers] == [b"GET /t", b"POST /", b"GET /f"]


def test_the_raw_backend_answers_by_script_and_closes() -> None:
    async def scenario() -> tuple[bytes, str]:
        backend = RawBackend()
        address = await backend.start()
        backend.script.append(Answer((b"not ", b"HTTP"), "close"))
        client = await RawClient.connect(address)
        await client.send([GET])
        assert await client.until(lambda: False)
        client.close()
        await backend.close()
        return bytes(client.received), client.ended

    assert asyncio.run(scenario()) == (b"not HTTP", "end")
