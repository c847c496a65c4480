"""What the rate of spans has no room for is counted as lost, once."""

from __future__ import annotations

import pytest

from tests.kit.conversation import on_the_loop
from tests.kit.hearing import Told, traces
from tests.kit.shadows import mirroring, ok, post

FAILED = b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize("first", ["live", "copies"])
@on_the_loop
async def test_what_the_rate_has_no_room_for_is_lost_once_however_many_copies_disagree(first: str) -> None:
    room = traces(sample=0.0, rate=0.001)  # a burst is of two spans
    async with mirroring({}, {}, telemetry=room) as stage:
        told, counters = Told(stage.proxy), stage.proxy.plane.stats.counters
        for _ in range(2):  # the first one takes all the room there is
            client, live, _, shadow, _ = await stage.asked(post(b"abc"))
            other, _ = await stage.shadows[1].call()
            live.send(FAILED if first == "live" else ok())
            await client.message()
            for copier in (shadow, other):
                copier.send(ok() if first == "live" else FAILED)
            await stage.over()
        assert len([each for each in told.take() if each.live_told]) == 1
        assert counters["spans_beyond_rate"] == 4
