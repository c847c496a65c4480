"""Frames and descriptors between two ends of a Unix socket, on the loops that really carry them."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Iterator

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st
from understudy.proxy.channel import DROP_ABOVE_BYTES, MAX_FRAME_BYTES, Channel

LOOPS: list[Callable[[], asyncio.AbstractEventLoop]] = [asyncio.new_event_loop, uvloop.new_event_loop]


class End:
    """A channel and all that it said."""

    def __init__(self, sock: socket.socket) -> None:
        self.frames: list[bytes] = []
        self.closed = asyncio.Event()
        self.arrived = asyncio.Event()
        self.channel = Channel(asyncio.get_running_loop(), sock, self._on_frame, self.closed.set)

    def _on_frame(self, payload: bytes) -> None:
        self.frames.append(bytes(payload))
        self.arrived.set()

    async def wait_frames(self, count: int) -> list[bytes]:
        async with asyncio.timeout(5):
            while len(self.frames) < count:
                self.arrived.clear()
                await self.arrived.wait()
        return self.frames


def pair() -> tuple[End, End]:
    ours, theirs = socket.socketpair()
    return End(ours), End(theirs)


@pytest.fixture(params=LOOPS)
def runner(request: pytest.FixtureRequest) -> Iterator[asyncio.Runner]:
    with asyncio.Runner(loop_factory=request.param) as runner:
        yield runner


def test_a_frame_that_nobody_can_take_comes_no_second_time(runner: asyncio.Runner) -> None:
    async def main() -> None:
        here, there = pair()
        logged: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: logged.append(context.get("exception")))
        taken = there._on_frame

        def choosy(payload: bytes) -> None:
            taken(payload)
            if payload == b"bad":
                raise ValueError(payload)

        there.channel._on_frame = choosy
        here.channel.send(b"good")
        here.channel.send(b"bad")
        await there.wait_frames(2)
        here.channel.send(b"next")
        assert await there.wait_frames(3) == [b"good", b"bad", b"next"]
        assert len(logged) == 1
        here.channel.close()
        await there.closed.wait()

    runner.run(main())


def test_frames_arrive_whole_and_in_order(runner: asyncio.Runner) -> None:
    async def main() -> None:
        here, there = pair()
        sent = [b"", b"a", b"x" * 3_000_000, b"last"]
        for frame in sent:
            assert here.channel.send(frame)
        assert await there.wait_frames(4) == sent
        assert there.channel.send(b"and back")
        assert await here.wait_frames(1) == [b"and back"]
        here.channel.close()
        await there.closed.wait()
        assert not here.channel.send(b"too late")

    with runner:
        runner.run(main())


def test_descriptors_arrive_with_their_frames_even_behind_a_full_socket(runner: asyncio.Runner) -> None:
    async def main() -> None:
        here, there = pair()
        here.channel.send(b"x" * 5_000_000)
        pipes = [os.pipe() for _ in range(100)]
        for number, (reading, _) in enumerate(pipes):
            here.channel.send(b"%d" % number, reading)
        await there.wait_frames(101)
        for reading, writing in pipes:
            os.write(writing, b"%d" % writing)
            received = there.channel.take_descriptor()
            assert os.read(received, 10) == b"%d" % writing
            assert not os.get_inheritable(received)
            for descriptor in (received, reading, writing):
                os.close(descriptor)
        with pytest.raises(IndexError):
            there.channel.take_descriptor()
        here.channel.close()
        there.channel.close()

    with runner:
        runner.run(main())


def test_what_may_be_dropped_is_dropped_when_nobody_reads_and_the_rest_is_not() -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        here = End(ours)
        offered = [here.channel.offer(b"r" * 10_000) for _ in range(1_000)]
        assert True in offered
        assert offered[-1] is False
        assert here.channel.congested
        assert here.channel.send(b"must arrive")
        there = End(theirs)
        frames = await there.wait_frames(sum(offered) + 1)
        assert frames[-1] == b"must arrive"
        assert sum(map(len, frames[:-1])) < DROP_ABOVE_BYTES + 1_000_000
        assert here.channel.offer(b"again")
        here.channel.close()
        there.channel.close()

    asyncio.run(main())


def test_a_peer_that_never_reads_is_given_up_before_memory_is() -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        here = End(ours)
        sent = 0
        while here.channel.send(bytes(1_000_000)):
            sent += 1
            assert sent * 1_000_000 < MAX_FRAME_BYTES + 2_000_000
        assert here.closed.is_set()
        theirs.close()

    asyncio.run(main())


def test_a_frame_of_impossible_size_closes_the_channel() -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        here = End(ours)
        theirs.sendall(b"\xff\xff\xff\xff")
        async with asyncio.timeout(5):
            await here.closed.wait()
        theirs.close()

    asyncio.run(main())


def test_a_descriptor_that_waits_for_the_peer_may_be_closed_meanwhile() -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        here = End(ours)
        before = len(os.listdir("/dev/fd"))
        here.channel.send(b"x" * 3_000_000)  # nobody reads yet
        for number in range(2):
            with socket.create_server(("127.0.0.1", 0)) as lent:
                address = lent.getsockname()
                here.channel.send(b"%d" % number, lent.fileno())
        there = End(theirs)
        assert (await there.wait_frames(3))[1:] == [b"0", b"1"]
        os.close(there.channel.take_descriptor())
        with socket.socket(fileno=there.channel.take_descriptor()) as received:
            assert received.getsockname() == address
        assert len(os.listdir("/dev/fd")) == before
        here.channel.close()
        there.channel.close()

    asyncio.run(main())


def test_descriptors_that_were_never_sent_are_closed_with_the_channel() -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        here = End(ours)
        here.channel.send(b"x" * 3_000_000)
        reading, writing = os.pipe()
        here.channel.send(b"frame", writing)
        os.close(writing)
        here.channel.close()
        assert os.read(reading, 1) == b"", "nobody has the writing end any more"
        os.close(reading)
        theirs.close()

    asyncio.run(main())


def test_flush_hands_over_what_is_unsent_before_exit() -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        here, there = End(ours), End(theirs)
        here.channel.send(b"x" * 3_000_000)
        here.channel.send(b"last")
        # The other end reads on the same loop, so a blocking flush can only time out: nothing hangs.
        here.channel.flush_blocking(0.05)
        here.channel.close()
        await there.closed.wait()

    asyncio.run(main())


@settings(max_examples=25, deadline=None)
@given(st.lists(st.binary(max_size=2_000), min_size=1, max_size=20), st.integers(min_value=1, max_value=997))
def test_frames_are_found_however_the_bytes_are_cut(frames: list[bytes], step: int) -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        here = End(ours)
        wire = b"".join(len(frame).to_bytes(4, "big") + frame for frame in frames)
        for start in range(0, len(wire), step):
            await asyncio.get_running_loop().sock_sendall(theirs, wire[start : start + step])
        assert await here.wait_frames(len(frames)) == frames
        here.channel.close()
        theirs.close()

    asyncio.run(main())
