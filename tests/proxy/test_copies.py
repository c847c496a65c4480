"""Copies in random orders, with a shadow that takes what it likes: what they hold is counted, bounded and given back.

Both ends are of the data plane; only the sockets are not there: `Pipe` stands in for them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, replace
from time import monotonic
from typing import Any

import uvloop
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, precondition, rule
from understudy.config.snapshot import Backend, Endpoint, Mirror, Shadow
from understudy.filters.api import Exchange, Request
from understudy.proxy.http1.upstream import ClientConnection
from understudy.proxy.lane import Lane
from understudy.proxy.mirrored import Mirrored
from understudy.proxy.plane import DataPlane
from understudy.proxy.telemetry.pairs import spelled_out
from understudy.proxy.telemetry.records import Pair
from understudy.proxy.telemetry.stats import Stats
from understudy.proxy.timers import Wheel
from understudy.proxy.trace import Context

from tests.kit.endings import ending
from tests.kit.strict import Incomplete, read_request
from tests.kit.strict import Request as Read

KIB = 1024
HIGH_WATER = 64 * KIB  # asyncio's own
LOW_WATER = HIGH_WATER // 4
MAX_BODY = 512 * KIB
MAX_BYTES = 1024 * KIB
MAX_REQUESTS = 5
STABLE = Backend(name="stable", version="7", endpoints=())
NEXT = Backend(
    name="next", version="9", endpoints=(Endpoint("127.0.0.1", 1),), first_byte_timeout=30.0, max_connections=1
)
"""Nobody listens there; and who finds no connection waits for one."""
SIZES = st.sampled_from([0, 1, 5000, 65 * KIB, 150 * KIB, MAX_BODY, MAX_BODY + 1, 2 * MAX_BODY])


class Pipe:
    """A transport whose peer reads when a test says so. Mutable state: chunks that have not left, kept whole, and how
    much of the first one has; `sent`, all that was written; `room`, what the kernel still takes at once."""

    def __init__(self, connection: ClientConnection, room: int) -> None:
        self.connection = connection
        self.room = room
        self.chunks: list[bytes] = []
        self.left_of_first = 0
        self.sent = b""
        self.closed = self.paused = False

    def get_extra_info(self, name: str) -> Any:
        return None

    def is_closing(self) -> bool:
        return self.closed

    def unsent(self) -> int:
        return sum(map(len, self.chunks)) - self.left_of_first

    get_write_buffer_size = unsent

    def write(self, data: bytes) -> None:
        assert not self.closed, "written to what is closed"
        self.sent += data
        self.chunks.append(data)
        taken = min(self.room, self.unsent())
        self.room -= taken
        self._leave(taken)
        if self.unsent() > HIGH_WATER and not self.paused:
            self.paused = True
            self.connection.pause_writing()

    def writelines(self, lines: Iterable[bytes]) -> None:
        for data in lines:
            self.write(data)

    def take(self, size: int) -> None:
        """The peer reads so many bytes."""
        self._leave(min(size, self.unsent()))
        if self.paused and self.unsent() <= LOW_WATER:
            self.paused = False
            self.connection.resume_writing()

    def _leave(self, size: int) -> None:
        self.left_of_first += size
        while self.chunks and self.left_of_first >= len(self.chunks[0]):
            self.left_of_first -= len(self.chunks.pop(0))

    def abort(self) -> None:
        self.closed = True
        self.chunks.clear()
        self.left_of_first = 0

    close = abort

    def pause_reading(self) -> None:
        """What comes is the test's to say."""

    resume_reading = pause_reading


@dataclass
class Call:
    """One mirrored exchange, as the test knows it."""

    mirrored: Mirrored
    body: bytes
    given: int = 0  # bytes of it that live was sent
    ended: bool = False
    answered: float = 0.0  # monotonic
    live_over: bool = False


class Copies(RuleBasedStateMachine):
    """Rules are what clients, live backends and the shadow do."""

    calls = Bundle("calls")

    def __init__(self) -> None:
        super().__init__()
        self.loop = uvloop.new_event_loop()
        self.plane = DataPlane(self.loop, Stats())
        self.plane.wheel.stop()
        self.now = 1000.0
        self.plane.wheel = Wheel(self.loop, lambda: self.now)
        shadow = Shadow(backend=NEXT, max_body=MAX_BODY, removed=frozenset(), set=())
        self.lane = Lane(self.plane, "iris", Mirror({"next": shadow}, MAX_REQUESTS, MAX_BYTES), shadow)
        self.plane.lanes = {"iris": [self.lane]}
        self.begun: list[Call] = []
        self.pipes: list[Pipe] = []
        self.pairs: list[Pair] = []

    def _warm(self, room: int) -> None:
        """A connection to the shadow is open and idle."""
        target = self.lane.pool.targets[0]
        connection = ClientConnection(target, self.plane.wheel)
        pipe = Pipe(connection, room)
        connection.connection_made(pipe)  # type: ignore[arg-type]
        connection.adopt()
        target.open += 1
        connection.idle_for(1e9)
        target.idle.append(connection)
        self.pipes.append(pipe)

    @rule(
        target=calls, size=SIZES, counted=st.booleans(), early=SIZES, held=st.booleans(), warm=st.booleans(),
        room=st.sampled_from([0, 0, 300 * KIB]),
    )  # fmt: skip
    def a_request_is_mirrored(self, size: int, counted: bool, early: int, held: bool, warm: bool, room: int) -> Call:
        """`early`: how much is there when it begins; `held`: all of it is, since a filter has read it; `warm`: there is
        a connection for it."""
        if warm or not self.lane.pool.targets[0].open:
            self._warm(room)
        number = len(self.begun)
        body = (b"%d." % number * (size // 2 + 1))[:size]
        request = Request(b"POST", b"/%d" % number, b"a", [], body if held else b"", held, size if counted else None)
        exchange = Exchange(request, "iris", "stable", b"%032d" % number, "127.0.0.1", False)
        exchange.copies = ["next"]
        call = Call(Mirrored(self.plane, exchange, STABLE, 1), body)
        if held:
            call.given, call.ended = size, True
        else:
            call.given = min(early, size)
            call.ended = call.given == size
            call.mirrored.take(body[: call.given], call.ended)
        call.mirrored.begin(exchange, 0.0, Context(b"1" * 32, b"2" * 16), False)
        self.begun.append(call)
        return call

    @rule(call=calls, size=st.sampled_from([1000, 40 * KIB, 64 * KIB]), times=st.integers(1, 5))
    def live_is_sent_more(self, call: Call, size: int, times: int) -> None:
        while times and not call.ended and not call.live_over:
            times -= 1
            chunk = call.body[call.given : call.given + size]
            call.given += len(chunk)
            call.ended = call.given == len(call.body)
            call.mirrored.take(chunk, call.ended)

    def _open(self) -> list[Pipe]:
        return [pipe for pipe in self.pipes if not pipe.closed]

    @precondition(lambda self: self._open())
    @rule(data=st.data(), size=st.sampled_from([1, 5000, 100 * KIB, 10**6]))
    def the_shadow_reads(self, data: st.DataObject, size: int) -> None:
        data.draw(st.sampled_from(self._open())).take(size)

    @precondition(lambda self: self._open())
    @rule(data=st.data(), size=st.sampled_from([0, 1000, 10**6]))
    def the_shadow_answers(self, data: st.DataObject, size: int) -> None:
        """Whole, or so much that it never ends."""
        connection = data.draw(st.sampled_from(self._open())).connection
        if connection.caller is not None and not connection.answered:
            head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (size + (size == 10**6))
            connection.data_received(head + bytes(size))

    @rule(call=calls, size=st.sampled_from([0, 1000, 10**6]))
    def live_answers(self, call: Call, size: int) -> None:
        if not call.live_over:
            call.answered = monotonic()
            call.mirrored.live_answered(0, call.answered)
            call.mirrored.live_data(size, call.answered)

    @rule(call=calls, reason=st.sampled_from([None, "client_gone", "upstream_closed", "upstream_timeout"]))
    def live_is_over(self, call: Call, reason: str | None) -> None:
        if not call.live_over:
            call.live_over = True
            times = {"first_byte": call.answered, "answered": call.answered}
            call.mirrored.live_over(ending(reason=reason, received=call.given, **times))

    @rule(what=st.sampled_from(["the shadow goes", "the loop turns", "time passes", "a reload"]), data=st.data())
    def something_rare(self, what: str, data: st.DataObject) -> None:
        if what == "the shadow goes" and self._open():
            pipe = data.draw(st.sampled_from(self._open()))
            pipe.abort()
            pipe.connection.connection_lost(ConnectionResetError())
        elif what == "the loop turns":
            self._turn()
        elif what == "time passes":
            self.now += data.draw(st.sampled_from([0.1, 1.0, 31.0]))
            self.plane.wheel.turn()
        elif what == "a reload":
            shadow = replace(self.lane.shadow, backend=replace(NEXT, version=data.draw(st.sampled_from(["9", "10"]))))
            max_bytes = data.draw(st.sampled_from([MAX_BYTES, MAX_BYTES // 4]))
            self.lane.configure(Mirror({"next": shadow}, MAX_REQUESTS, max_bytes), shadow)

    def _turn(self) -> None:
        """Connections that were asked for are refused."""
        while tasks := self.plane._tasks:
            self.loop.run_until_complete(asyncio.wait(set(tasks)))

    @invariant()
    def budgets_hold(self) -> None:
        assert len(self.lane.copies) <= MAX_REQUESTS
        assert 0 <= self.lane.held <= MAX_BYTES
        self._count_pairs()

    @invariant()
    def what_is_kept_is_charged(self) -> None:
        """Beyond the buffers of each connection. Chunks are kept whole until the last byte has left."""
        kept = sum(sum(map(len, pipe.chunks)) if pipe.paused else pipe.unsent() for pipe in self.pipes)
        waiting = sum(sum(map(len, copy._held)) for copy in self.lane.copies)
        assert kept + waiting <= self.lane.held + 2 * HIGH_WATER * len(self.lane.copies)

    @invariant()
    def a_copy_lives_as_long_as_it_may(self) -> None:
        for copy in self.lane.copies:
            call = next(each for each in self.begun if each.mirrored is copy.mirrored)
            assert call.given <= MAX_BODY
            assert call.ended or not call.live_over, "it will never be whole"
            under_way = copy._call is not None or copy in self.lane.pool._waiting or self.plane._tasks
            assert under_way, "nothing will ever end it"

    @invariant()
    def the_shadow_reads_what_live_was_sent_or_a_part_of_it(self) -> None:
        for pipe in self.pipes:
            at = 0
            while at < len(pipe.sent):
                read = read_request(pipe.sent, at)
                assert isinstance(read, Read | Incomplete), "nothing that could be read otherwise"
                if isinstance(read, Incomplete):
                    break
                call = self.begun[int(read.target[1:])]
                assert call.ended, "whole, though live's request is not"
                assert read.body == call.body
                at = read.end

    def _count_pairs(self) -> None:
        self.pairs += [each for told in self.plane.stats.pairs.take() for each in spelled_out(told)]
        stats = self.lane.copy_stats
        assert stats.selected == len(self.pairs) == stats.sent + sum(stats.dropped.values())
        assert stats.sent == sum(each.sent for each in self.pairs)
        assert stats.censored == sum(each.censored for each in self.pairs)
        in_flight = sum(each.in_flight for each in self.plane.stats.calls())
        assert in_flight == len(self.lane.copies)

    def teardown(self) -> None:
        """All lives end, then the shadow answers who is left: nothing may stay behind."""
        for call in self.begun:
            if not call.live_over:
                call.mirrored.live_over(ending(received=call.given))
        self._turn()
        self.a_copy_lives_as_long_as_it_may()
        self.lane.cut()
        self._turn()
        assert not self.lane.copies
        assert self.lane.held == 0
        assert self.lane.pool.targets[0].in_flight == 0
        assert self.lane.breaker.state != 2, "nobody will end this probe"
        self._count_pairs()
        assert len(self.pairs) == len(self.begun)
        assert len({each.request_id for each in self.pairs}) == len(self.pairs)
        self.loop.close()


def test_a_large_body_is_shared_and_not_copied() -> None:
    state, body = Copies(), bytes(MAX_BODY)
    state._warm(room=0)
    request = Request(b"POST", b"/", b"a", [], body, True, len(body))
    exchange = Exchange(request, "iris", "stable", b"r", "127.0.0.1", False)
    exchange.copies = ["next"]
    mirrored = Mirrored(state.plane, exchange, STABLE, 1)
    mirrored.begin(exchange, 0.0, Context(b"1" * 32, b"2" * 16), False)
    assert state.pipes[0].chunks[-1] is body
    assert state.lane.held >= len(body)
    assert state.lane.copy_stats.held_bytes == 0
    state.plane.gauges()
    assert state.lane.copy_stats.held_bytes == state.lane.held, "told, though no copy has ended"
    mirrored.live_over(ending(received=len(body)))
    state.lane.cut()
    state.loop.close()


TestCopies = Copies.TestCase
TestCopies.settings = settings(
    max_examples=200, stateful_step_count=60, deadline=None, suppress_health_check=list(HealthCheck)
)
