"""Frames between control and a worker over a Unix stream socket, with file descriptors riding along.

A frame is four bytes of length, big-endian, and a msgpack payload (messages.py). Neither side ever waits for the other:
what the socket does not take now is kept, and what may be dropped is dropped once too much is kept.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import os
import socket
from collections import deque
from collections.abc import Callable

MAX_FRAME_BYTES = 64 * 1024 * 1024
DROP_ABOVE_BYTES = 1024 * 1024
READ_BYTES = 256 * 1024
READS_PER_TURN = 8  # then the loop has its turn again
ANCILLARY_BYTES = socket.CMSG_SPACE(64 * array.array("i").itemsize)


class Channel:
    """One end. Mutable state: frames not yet taken by the socket, bytes received that are not yet a whole frame, how
    many are missing for it, descriptors received.

    `on_frame` is called with each payload, which it must not keep, and `on_close` once: the peer has gone, or broke the
    framing.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        on_frame: Callable[[memoryview], None],
        on_close: Callable[[], None],
    ) -> None:
        """Takes the socket over; it is non-blocking from now on."""
        sock.setblocking(False)
        self._loop = loop
        self._sock = sock
        self._on_frame = on_frame
        self._on_close = on_close
        self._unsent: deque[tuple[memoryview, int | None]] = deque()  # with descriptors of our own
        self._unsent_bytes = 0
        self._buffer = bytearray(READ_BYTES)
        self._received: list[bytes] = []
        self._missing = 4  # bytes, of the head of a frame or of all of it
        self._descriptors: deque[int] = deque()
        self._open = True
        loop.add_reader(sock, self._readable)

    def send(self, payload: bytes | bytearray, descriptor: int | None = None) -> bool:
        """Send a frame, now or as soon as the peer reads. Payload and descriptor may be used again when this returns.

        Returns False when the channel is closed; a peer that leaves 64 MiB unread is taken for dead.
        """
        if not self._open:
            return False
        head = len(payload).to_bytes(4, "big")
        sent = 0
        if not self._unsent and descriptor is None:
            with contextlib.suppress(OSError):  # which the next attempt meets too
                sent = self._sock.sendmsg((head, payload))
            if sent == 4 + len(payload):
                return True
        frame = memoryview(head + payload)[sent:]
        self._unsent.append((frame, None if descriptor is None else os.dup(descriptor)))
        self._unsent_bytes += len(frame)
        if len(self._unsent) == 1:
            self._writable()
        elif self._unsent_bytes > MAX_FRAME_BYTES:
            self.close()
        return self._open

    @property
    def congested(self) -> bool:
        """The peer reads too slowly: what may be lost or sent later should be."""
        return self._unsent_bytes > DROP_ABOVE_BYTES

    def offer(self, payload: bytes | bytearray) -> bool:
        """Send a frame that may be lost; False when it was, because the peer reads too slowly."""
        return not self.congested and self.send(payload)

    def take_descriptor(self) -> int:
        """The oldest descriptor received and not yet taken; the caller owns it. IndexError when there is none."""
        return self._descriptors.popleft()

    def flush_blocking(self, within_s: float) -> None:
        """Before exit: hand over what is unsent, for at most this time. Blocks the loop."""
        if not self._open:
            return
        self._loop.remove_writer(self._sock)
        self._sock.settimeout(within_s)
        try:
            for view, _ in self._unsent:
                self._sock.sendall(view)
        except OSError:
            pass
        self._forget()

    def close(self) -> None:
        """Close at once and say so to `on_close`; descriptors not taken are closed too."""
        if not self._open:
            return
        self._open = False
        self._loop.remove_reader(self._sock)
        self._loop.remove_writer(self._sock)
        self._sock.close()
        self._forget()
        while self._descriptors:
            os.close(self._descriptors.popleft())
        self._on_close()

    def _forget(self) -> None:
        for _, descriptor in self._unsent:
            if descriptor is not None:
                os.close(descriptor)
        self._unsent.clear()
        self._unsent_bytes = 0

    def _writable(self) -> None:
        try:
            while self._unsent:
                view, descriptor = self._unsent[0]
                sent = self._send_some(view, descriptor)
                self._unsent_bytes -= sent
                if descriptor is not None:
                    os.close(descriptor)
                if sent < len(view):
                    self._unsent[0] = (view[sent:], None)
                else:
                    self._unsent.popleft()
        except (BlockingIOError, InterruptedError):
            self._loop.add_writer(self._sock, self._writable)
        except OSError:
            self.close()
        else:
            self._loop.remove_writer(self._sock)

    def _send_some(self, view: memoryview, descriptor: int | None) -> int:
        if descriptor is None:
            return self._sock.send(view)
        rights = array.array("i", [descriptor])
        return self._sock.sendmsg([view], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])

    def _readable(self) -> None:
        for _ in range(READS_PER_TURN):
            try:
                size, ancillary, _, _ = self._sock.recvmsg_into(
                    [self._buffer], ANCILLARY_BYTES, socket.MSG_CMSG_CLOEXEC
                )
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                size, ancillary = 0, []
            for level, kind, rights in ancillary:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                    self._descriptors.extend(array.array("i", rights))
            if not size:
                self.close()
                return
            self._deliver(memoryview(self._buffer)[:size])
            if not self._open or size < READ_BYTES:  # if more has come meanwhile, the loop says so
                return

    def _deliver(self, data: memoryview) -> None:
        """Hand the payloads of whole frames over, as views of what is read into again: a copy is new memory, whose
        pages cost more than it."""
        self._missing -= len(data)
        if self._missing > 0:
            self._received.append(bytes(data))
            return
        received = memoryview(b"".join((*self._received, data))) if self._received else data
        start, self._missing = 0, 4
        try:
            while self._open and len(received) - start >= 4:
                size = 4 + int.from_bytes(received[start : start + 4], "big")
                if size > 4 + MAX_FRAME_BYTES:
                    self.close()
                    return
                if len(received) - start < size:
                    self._missing = size
                    break
                payload, start = received[start + 4 : start + size], start + size
                self._on_frame(payload)
        finally:  # a frame over which `on_frame` stumbles must not come again
            rest = bytes(received[start:])
            self._received = [rest] if rest else []
            self._missing -= len(rest)
