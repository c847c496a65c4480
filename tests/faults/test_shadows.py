"""Faults 18, 19 and the shadow half of 20: whatever S does, C hears what it would hear without S."""

from __future__ import annotations

import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.kit.ask import status, until

from .rehearsal import HASTY, MIB, PATIENT, Rehearsal, healthy, provoked, says

FAULT_18 = "S slow, hung, refusing, resetting, huge, NXDOMAIN"
FAULT_19 = "S returns 5xx, Set-Cookie, 101"
FAULT_20 = "C aborts mid-upload"
COOKIE = b"HTTP/1.1 200 OK\r\nSet-Cookie: of=shadow\r\nContent-Length: 2\r\n\r\nok"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nshadow"
FAILS = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 6\r\nRetry-After: 9\r\n\r\nshadow"
CONTINUES = b"HTTP/1.1 103 Early Hints\r\nLink: </shadow>\r\n\r\n"


LARGE = 10
"""Bodies of 7 MiB each, of which the kernel does not take all."""


def slow(sock: socket.socket) -> None:
    """A good answer, later than live's."""
    threading.Event().wait(0.1)
    healthy(sock)


def hung(sock: socket.socket) -> None:
    """The request was read, and that is all."""


def resetting(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    sock.close()


def dripping(sock: socket.socket) -> None:
    """A byte every 50 ms."""
    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    for _ in range(200):
        sock.sendall(b".")
        threading.Event().wait(0.05)


def flooding(sock: socket.socket) -> None:
    """An answer without end, as fast as it is taken."""
    sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    chunk = b"10000\r\n" + bytes(0x10000) + b"\r\n"
    while True:
        sock.sendall(chunk)


def huge(sock: socket.socket) -> None:
    """An answer of 64 MiB, all of it."""
    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (64 * MIB) + bytes(64 * MIB))


@pytest.fixture
def row(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The test's line of the table."""
    return next(value for name, value in request.node.user_properties if name == "fault")


def told(row: dict[str, Any], recover_ms: float | None) -> None:
    """How long clients waited is not told: S, live and they share one interpreter here; the bench measures it."""
    row["recover_ms"] = recover_ms
    row["lost"] = "copies alone"


SENT_AND_FAILED = {"budget_requests", "breaker_open"}
DROPPED = {  # what may be dropped, of what is not sent; and what must be counted of what was
    "slow": (slow, {"budget_requests"}, set()),
    "hung after reading": (hung, SENT_AND_FAILED, {"shadow_timeout"}),
    "resetting": (resetting, SENT_AND_FAILED, {"shadow_error"}),
    "dripping": (dripping, SENT_AND_FAILED, {"shadow_timeout"}),
    "flooding": (flooding, SENT_AND_FAILED, {"shadow_error"}),
    "a huge answer": (huge, SENT_AND_FAILED, {"shadow_error"}),
    "garbage": (says(b"SSH-2.0-x\r\n\r\n"), SENT_AND_FAILED, {"shadow_error"}),
}


def reasons(rehearsal: Rehearsal) -> dict[str, int]:
    """Of the shadow's calls: why they got no whole answer."""
    calls = status(rehearsal.program)["calls"]
    found: dict[str, int] = {}
    for each in calls:
        if each["role"] == "shadow":
            found |= each["reasons"]
    return found


@pytest.mark.fault(18, FAULT_18)
@pytest.mark.parametrize("what", DROPPED)
def test_whatever_s_does_live_is_the_same(tmp_path: Path, row: dict[str, Any], what: str) -> None:
    answers, may_drop, must_count = DROPPED[what]
    with provoked(tmp_path, timeouts=HASTY if must_count == {"shadow_timeout"} else PATIENT) as rehearsal:
        rehearsal.shadow.answers = answers
        asked = rehearsal.load()
        copies = rehearsal.all_over(asked)
        assert set(copies["dropped"]) <= may_drop
        assert must_count <= set(reasons(rehearsal))
        assert not must_count or copies["complete"] == 0
        rehearsal.shadow.answers = healthy
        told(row, rehearsal.recovers())


@pytest.mark.fault(18, FAULT_18)
def test_s_hangs_before_it_reads(tmp_path: Path, row: dict[str, Any]) -> None:
    """The kernel takes small requests whole, and of large ones a part: what it does not take is bounded."""
    with provoked(tmp_path) as rehearsal:
        client = rehearsal.client()
        rehearsal.ask(client, bytes(7 * MIB))
        rehearsal.all_over(1)
        healthy_mib = rehearsal.resident_mib()
        rehearsal.shadow.reads.clear()
        grown_mib = 0.0
        for number in range(LARGE):
            rehearsal.ask(client, bytes([number]) * 7 * MIB)
            grown_mib = max(grown_mib, rehearsal.resident_mib() - healthy_mib)
        copies = rehearsal.all_over(1 + LARGE + rehearsal.load())
        assert set(copies["dropped"]) <= SENT_AND_FAILED | {"budget_bytes"}
        assert set(reasons(rehearsal)) - SENT_AND_FAILED <= {"shadow_timeout", "slow_shadow", "budget_bytes"}
        assert copies["complete"] <= 2, "the first, and the one that S was about to read"
        assert copies["held_bytes"] == 0
        assert grown_mib < 4 + 8, "the budget of bytes, and the buffers of four connections"
        rehearsal.shadow.reads.set()
        told(row, rehearsal.recovers())
        row["measured"] = {"memory grown by a hung S, MiB": round(grown_mib, 1)}


@pytest.mark.fault(18, FAULT_18)
def test_s_refuses(tmp_path: Path, row: dict[str, Any]) -> None:
    with provoked(tmp_path, listens=False) as rehearsal:
        copies = rehearsal.all_over(rehearsal.load())
        assert copies["sent"] == 0
        assert {"shadow_error", "breaker_open"} <= set(copies["dropped"])
        assert copies["breaker"] == "open"
        rehearsal.shadow.listen()
        told(row, rehearsal.recovers())


@pytest.mark.fault(18, FAULT_18)
def test_s_has_no_address(tmp_path: Path, row: dict[str, Any]) -> None:
    with provoked(tmp_path, url="http://nowhere.invalid:9") as rehearsal:
        copies = rehearsal.all_over(rehearsal.load())
        assert copies["sent"] == 0
        assert set(copies["dropped"]) <= {"shadow_error", "budget_requests", "breaker_open"}
        told(row, None)


@pytest.mark.fault(19, FAULT_19)
@pytest.mark.parametrize(
    ("answer", "seen"),
    [(FAILS, 503), (COOKIE, 200), (SWITCH, 0), (CONTINUES + COOKIE, 200), (FAILS.replace(b"503", b"302"), 302)],
    ids=["5xx", "Set-Cookie", "101", "103", "302"],
)
def test_nothing_of_what_s_says_reaches_c(tmp_path: Path, row: dict[str, Any], answer: bytes, seen: int) -> None:
    with provoked(tmp_path) as rehearsal:
        rehearsal.shadow.answers = says(answer)
        client = rehearsal.client()
        for number in range(1, 6):
            rehearsal.ask(client, b"body %d" % number)
            until(lambda: len(rehearsal.shadow.whole()) == number)  # noqa: B023
        copies = rehearsal.all_over(5)
        assert b"shadow" not in bytes(client.received)
        assert copies["complete"] == (5 if seen else 0)
        rehearsal.shadow.answers = healthy
        told(row, rehearsal.recovers())


@pytest.mark.fault(20, FAULT_20)
@pytest.mark.parametrize("how", ["reset", "close"])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_s_never_hears_an_abandoned_upload_whole(tmp_path: Path, row: dict[str, Any], framing: str, how: str) -> None:
    part = b"~" * 64 * 1024
    with provoked(tmp_path) as rehearsal:
        shadow = rehearsal.shadow
        client = rehearsal.client()
        field = b"Content-Length: 1000000" if framing == "length" else b"Transfer-Encoding: chunked"
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\n%b\r\n\r\n" % field)
        client.send(part if framing == "length" else b"f4240\r\n" + part)
        until(lambda: sum(each.count(b"~") for each in shadow.received) == len(part))
        client.reset() if how == "reset" else client.close()
        copies = rehearsal.all_over(1)
        assert (copies["sent"], copies["complete"]) == (1, 0)
        assert reasons(rehearsal) == {"client_gone": 1}
        until(lambda: len(shadow.ends) == 1)
        assert shadow.whole() == []
        assert not bytes(shadow.received[0]).endswith(b"0\r\n\r\n")
        told(row, rehearsal.recovers())
