"""Copies in random orders, with a shadow that takes what it likes: what they hold is counted, bounded and given back.

Both ends are of the data plane; only the sockets are not there: `Pipe` stands in for them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import uvloop
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule
from understudy.config.snapshot import Backend, Endpoint, Mirror, Shadow
from understudy.filters.api import Exchange, Request
from understudy.proxy.http1.upstream import ClientConnection
from understudy.proxy.lane import Lane
from understudy.proxy.mirrored import Mirrored
from understudy.proxy.plane import DataPlane
from understudy.proxy.telemetry.records import Pair
from understudy.proxy.telemetry.stats import Stats
from understudy.proxy.timers import Wheel
from understudy.proxy.trace import Context

from tests.kit.strict import Incomplete, read_request
from tests.kit.strict import Request as Read

KIB = 1024
HIGH_WATER = 64 * KIB  # asyncio's own
LOW_WATER = HIGH_WATER // 4
MAX_BODY = 256 * KIB
MAX_BYTES = 512 * KIB
MAX_REQUESTS = 5
STABLE = Backend(name="stable", version="7", endpoints=())
NEXT = Backend(name="next", version="9", endpoints=(Endpoint("127.0.0.1", 1),), first_byte_timeout=30.0)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Pipe:
    """A transport whose peer reads when a test says so. Mutable state: chunks that have not left, kept whole, and how
    much of the first one has; `sent`, all that was written."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
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
        if self.unsent() > HIGH_WATER and not self.paused:
            self.paused = True
            self.connection.pause_writing()

    def take(self, size: int) -> None:
        """The peer reads so many bytes."""
        self.left_of_first += size
        while self.chunks and self.left_of_first >= len(self.chunks[0]):
            self.left_of_first -= len(self.chunks.pop(0))
        if not self.chunks:
            self.left_of_first = 0
        if self.paused and self.unsent() <= LOW_WATER:
            self.paused = False
            self.connection.resume_writing()

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
    pipe: Pipe
    body: bytes
    given: int = 0  # bytes of it that live was sent
    ended: bool = False
    live_over: bool = False
    answered: bool = field(default=False)


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
        self.mirror = Mirror({"next": shadow}, max_requests=MAX_REQUESTS, max_bytes=MAX_BYTES)
        self.lane = Lane(self.plane, "iris", self.mirror, shadow)
        self.plane.lanes = {"iris": [self.lane]}
        self.begun: list[Call] = []
        self.pairs: list[Pair] = []

    def _warm(self) -> Pipe:
        """A connection to the shadow that is open already."""
        target = self.lane.pool.targets[0]
        connection = ClientConnection(target, self.plane.wheel)
        pipe = Pipe(connection)
        connection.connection_made(pipe)  # type: ignore[arg-type]
        connection.adopt()
        target.open += 1
        connection.idle_for(1e9)
        target.idle.append(connection)
        return pipe

    @rule(
        target=calls, size=st.one_of(st.integers(0, 100), st.integers(0, MAX_BODY + 10)), counted=st.booleans(),
        early=st.integers(0, 200 * KIB), held=st.booleans(),
    )  # fmt: skip
    def a_request_is_mirrored(self, size: int, counted: bool, early: int, held: bool) -> Any:
        """`early`: how much is there when it begins; `held`: all of it is, since a filter has read it."""
        pipe = self._warm()
        body = (b"%d." % len(self.begun) * (size // 2 + 1))[:size]
        request = Request(b"POST", b"/", b"a", [], body if held else b"", held, size if counted else None)
        exchange = Exchange(request, "iris", "stable", b"%032d" % len(self.begun), "127.0.0.1", False)
        exchange.copies = ["next"]
        call = Call(Mirrored(self.plane, exchange, STABLE, 1), pipe, body)
        if held:
            call.given, call.ended = size, True
        else:
            call.given = min(early, size)
            call.ended = call.given == size
            call.mirrored.take(body[: call.given], call.ended)
        call.mirrored.begin(exchange, Context(b"1" * 32, b"2" * 16))
        self.begun.append(call)
        return call

    @rule(call=calls, size=st.integers(1, 64 * KIB))
    def live_is_sent_more(self, call: Call, size: int) -> None:
        if not call.ended and not call.live_over:
            chunk = call.body[call.given : call.given + size]
            call.given += len(chunk)
            call.ended = call.given == len(call.body)
            call.mirrored.take(chunk, call.ended)

    @rule(call=calls, size=st.integers(1, 400 * KIB))
    def the_shadow_reads(self, call: Call, size: int) -> None:
        if not call.pipe.closed:
            call.pipe.take(size)

    @rule(call=calls, size=st.sampled_from([0, 1000, 10**6]))
    def the_shadow_answers(self, call: Call, size: int) -> None:
        """Whole, or much more than live."""
        if not call.pipe.closed and not call.answered and call.pipe.connection.caller is not None:
            call.answered = True
            content = bytes(size)
            head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (size + (size == 10**6))
            call.pipe.connection.data_received(head + content)

    @rule(call=calls)
    def the_shadow_goes(self, call: Call) -> None:
        if not call.pipe.closed:
            call.pipe.closed = True
            call.pipe.connection.connection_lost(ConnectionResetError())

    @rule(call=calls, size=st.integers(0, 10**6))
    def live_answers(self, call: Call, size: int) -> None:
        if not call.live_over:
            call.mirrored.live_answered(0, False)
            call.mirrored.live_data(size, True)

    @rule(call=consumes(calls), reason=st.sampled_from([None, "client_gone", "upstream_closed", "upstream_timeout"]))
    def live_is_over(self, call: Call, reason: str | None) -> None:
        call.live_over = True
        call.mirrored.live_over(200, reason, call.given)

    @rule(seconds=st.sampled_from([0.1, 1.0, 31.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.plane.wheel.turn()

    @rule(max_bytes=st.sampled_from([MAX_BYTES, MAX_BYTES // 4]), version=st.sampled_from(["9", "10"]))
    def a_reload(self, max_bytes: int, version: str) -> None:
        shadow = replace(self.lane.shadow, backend=replace(NEXT, version=version))
        self.mirror = Mirror({"next": shadow}, max_requests=MAX_REQUESTS, max_bytes=max_bytes)
        self.lane.configure(self.mirror, shadow)

    @invariant()
    def budgets_hold(self) -> None:
        assert len(self.lane.copies) <= MAX_REQUESTS
        assert 0 <= self.lane.held <= MAX_BYTES
        self._count_pairs()

    @invariant()
    def what_is_kept_is_charged(self) -> None:
        """Beyond the buffers of each connection."""
        kept = sum(sum(map(len, call.pipe.chunks)) for call in self.begun if not call.pipe.closed)
        waiting = sum(sum(map(len, copy._held)) for copy in self.lane.copies)
        assert kept + waiting <= self.lane.held + 2 * HIGH_WATER * len(self.lane.copies) + HIGH_WATER

    @invariant()
    def the_shadow_reads_what_live_was_sent_or_a_part_of_it(self) -> None:
        for call in self.begun:
            if call.pipe.sent:
                read = read_request(call.pipe.sent, 0)
                assert isinstance(read, Read | Incomplete), "nothing that could be read otherwise"
                if isinstance(read, Read):
                    assert call.ended, "whole, though live's request is not"
                    assert read.body == call.body
                    assert read.end == len(call.pipe.sent)

    def _count_pairs(self) -> None:
        self.pairs += [each for each in self.plane.stats.records.take() if isinstance(each, Pair)]
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
                call.mirrored.live_over(200, None, call.given)
        self.lane.cut()
        assert not self.lane.copies
        assert self.lane.held == 0
        assert self.lane.pool.targets[0].in_flight == 0
        assert self.lane.breaker.state != 2, "nobody will end this probe"
        self._count_pairs()
        assert len(self.pairs) == len(self.begun)
        assert len({each.request_id for each in self.pairs}) == len(self.pairs)
        self.loop.close()


TestCopies = Copies.TestCase
TestCopies.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
