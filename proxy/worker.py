"""The data-plane process: `python -m understudy.proxy.worker FD`, FD being its end of the channel to control.

Obeys control alone: signals are ignored, and when control has gone it finishes what is in flight and exits.
Must not import yaml, aiohttp or opentelemetry; tests/architecture checks it.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import sys
import time
from functools import partial
from typing import Any, assert_never, cast

import uvloop

from ..config.compile import compiling
from ..config.schema import decode
from ..config.snapshot import Snapshot
from . import messages
from .channel import Channel
from .dns import THREADS
from .log import logger, set_up
from .plane import DataPlane
from .telemetry.count import CallTally
from .telemetry.pairs import count_of
from .telemetry.stats import CallStats, Gauges, Stats, told

REPORT_EVERY_S = 1.0
CALLS_PER_REPORT = 64  # about 100 KiB and 0.3 ms of the loop; the rest follows in turns of its own
FLUSH_S = 2.0


class Worker:
    """Mutable state: the orders not yet carried out, the sockets that came for the next swap, and its snapshot."""

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
        self._loop = loop
        self._stats = Stats()
        self._plane = DataPlane(loop, self._stats)
        self._orders: asyncio.Queue[messages.Order | None] = asyncio.Queue()
        self._sockets: dict[str, socket.socket] = {}
        self._next: Snapshot | None = None
        self._dropped_told = 0
        self._frame = bytearray()  # used again and again: the pages of new memory cost more than what is put there
        self._stats.records.soon = loop.call_soon
        self._stats.records.full = partial(loop.call_soon, self._offer_records)  # a hand-over is no request's turn
        self._stats.pairs.full = self._offer_records
        self._grace_s = 25.0
        self._listening: dict[str, socket.socket] = {}
        self._due = 0.0
        self._channel = Channel(loop, sock, self._on_frame, lambda: self._orders.put_nowait(None))

    async def run(self) -> None:
        """Carry out control's orders one after the other until it says drain, or has gone."""
        self._due = time.monotonic() + REPORT_EVERY_S
        self._loop.call_later(REPORT_EVERY_S, self._tick)
        while True:
            order = await self._orders.get()
            match order:
                case messages.Socket():
                    self._keep(order.listener, socket.socket(fileno=self._channel.take_descriptor()))
                case messages.Build():
                    await self._build(order)
                case messages.Discard():
                    self._discard()
                case messages.Swap():
                    await self._swap(order)
                case messages.Drain():
                    await self._finish(order.grace_s)
                    return
                case None:
                    logger.error("control has gone: finishing what is in flight, then exiting")
                    await self._finish(self._grace_s)
                    return
                case _:
                    assert_never(order)

    def _on_frame(self, payload: memoryview) -> None:
        self._orders.put_nowait(messages.decode_order(payload))

    def _keep(self, listener: str, sock: socket.socket) -> None:
        former = self._sockets.pop(listener, None)
        if former is not None:
            former.close()
        self._sockets[listener] = sock

    async def _build(self, order: messages.Build) -> None:
        error: str | None = None
        try:
            snapshot = await self._compiled(order)
            for _ in self._plane.preparing(snapshot):
                await self._turn()
            self._next = snapshot
        except Exception as problem:
            logger.exception("cannot build configuration v%d", order.version)
            error = f"{type(problem).__name__}: {problem}"
        else:
            if self._listening:  # so that an epoch which begins with this version counts nothing of the one before
                self._send_report(self._stats.take_changed(), self._plane.gauges(), 0.0)
        self._channel.send(messages.encode(messages.Built(order.version, error)))

    async def _compiled(self, order: messages.Build) -> Snapshot:
        """Build in slices: between two of them, requests are served."""
        self._plane.secret = order.secret
        steps = compiling(
            decode(order.document), self._plane.services, version=order.version, workers=order.workers, base=order.base
        )
        while True:
            try:
                next(steps)
            except StopIteration as built:
                return cast(Snapshot, built.value)
            await self._turn()

    async def _turn(self) -> None:
        turn = self._loop.create_future()
        self._loop.call_soon(turn.set_result, None)
        await turn

    def _discard(self) -> None:
        self._next = None
        for sock in self._sockets.values():
            sock.close()
        self._sockets.clear()

    async def _swap(self, order: messages.Swap) -> None:
        snapshot = self._next
        if snapshot is None or snapshot.version != order.version:
            return
        self._next = None
        self._grace_s = snapshot.drain_grace
        self._plane.apply(snapshot)
        for name in [name for name in self._listening if name not in order.listeners or name in self._sockets]:
            self._plane.unlisten(name)
            self._listening.pop(name).close()
        for name, sock in self._sockets.items():
            await self._plane.listen(name, sock)
        self._listening |= self._sockets
        self._sockets = {}
        if not gc.get_freeze_count():
            gc.collect()
            gc.freeze()  # what lives as long as the process is not looked at again by any collection
        self._channel.send(messages.encode(messages.Serving(order.version)))

    async def _finish(self, grace_s: float) -> None:
        await self._plane.drain(grace_s)
        self._send_report(self._stats.take_changed(), self._plane.gauges(), 0.0)
        self._offer_records()
        self._channel.send(messages.encode(messages.Drained()))
        self._channel.flush_blocking(FLUSH_S)

    def _tick(self) -> None:
        now = time.monotonic()
        lag_s, self._due = max(0.0, now - self._due), now + REPORT_EVERY_S
        self._loop.call_later(REPORT_EVERY_S, self._tick)
        self._offer_records()
        if not self._channel.congested:
            self._send_in_turns(self._stats.changed(), self._plane.gauges(), lag_s)

    def _offer_records(self) -> None:
        """Every second, and a few at a time as they come about: no hand-over holds this loop or control's for long."""
        records, sheet = self._stats.records, self._stats.pairs
        waiting, pairs = len(records), sheet.take()
        told = records.take()
        dropped = records.dropped + sheet.dropped
        if not waiting and not pairs and dropped == self._dropped_told:
            return
        messages.encode_into(messages.Records(*told, pairs, dropped), self._frame)
        if self._channel.offer(self._frame):
            self._dropped_told = dropped
        else:
            records.dropped += waiting
            sheet.dropped += sum(map(count_of, pairs))

    def _send_in_turns(self, calls: list[CallTally], gauges: Gauges | None, lag_s: float) -> None:
        """What is told of a tally is of the turn in which it is sent."""
        self._send_report([told(call) for call in calls[:CALLS_PER_REPORT]], gauges, lag_s)
        if len(calls) > CALLS_PER_REPORT:
            self._loop.call_soon(self._send_in_turns, calls[CALLS_PER_REPORT:], None, lag_s)

    def _send_report(self, calls: list[CallStats], gauges: Gauges | None, lag_s: float) -> None:
        report = messages.Report(calls, self._stats.counters, gauges, lag_s)
        if gauges is not None:
            report.copies, report.keys = self._stats.copies(), self._stats.key_uses()
        self._channel.send(messages.encode(report))


def _on_loop_exception(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    logger.error("%s", context.get("message", "unhandled"), exc_info=context.get("exception"))


def main() -> None:
    """Run one worker over the inherited descriptor that is the first argument."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    set_up(sys.argv[2])
    os.environ["UV_THREADPOOL_SIZE"] = str(THREADS)
    loop = uvloop.new_event_loop()
    loop.set_exception_handler(_on_loop_exception)
    worker = Worker(loop, socket.socket(fileno=int(sys.argv[1])))
    status = 0
    try:
        loop.run_until_complete(worker.run())
    except Exception:
        logger.exception("this worker dies of a bug")
        status = 1
    os._exit(status)  # at once: libuv would wait for names that nobody answers for


if __name__ == "__main__":
    main()
