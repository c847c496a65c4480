"""A whole program that mirrors: live is well, S does what a test says, and both are looked at from outside."""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

from tests.kit.ask import status, until, worker_pids
from tests.kit.program import Program
from tests.kit.rehearsing import rehearsing
from tests.kit.serving import Handler, serving
from tests.kit.strict import Request, Response, read_request, whole_requests

from .peers import Client

MIB = 1024 * 1024
WITHIN_S = 10.0
HASTY = {"first_byte_timeout": "400ms", "idle_timeout": "400ms", "total_timeout": "2s"}
PATIENT = {"first_byte_timeout": "5s", "idle_timeout": "5s", "total_timeout": "8s"}
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
Answers = Callable[[socket.socket], None]


class Shadow:
    """S. Mutable state: `answers`, what it does with a connection that carried a whole request; `reads`, whether it
    reads at all; every byte that it read, by connection."""

    def __init__(self, *, listens: bool = True) -> None:
        self.sock = socket.socket()
        self.sock.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.sock.getsockname()[1]}"
        self.answers: Answers = healthy
        self.reads = threading.Event()
        self.reads.set()
        self.received: list[bytearray] = []
        self.ends: list[str] = []
        self._open: list[socket.socket] = []
        if listens:
            self.listen()

    def listen(self) -> None:
        """Begin to accept."""
        self.sock.listen(256)
        threading.Thread(target=self._accept, daemon=True).start()

    def whole(self) -> list[Request]:
        """Every whole request."""
        return whole_requests(list(self.received))

    def close(self) -> None:
        """Everything."""
        self.reads.set()
        for sock in [self.sock, *self._open]:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                accepted, _ = self.sock.accept()
                self._open.append(accepted)
                received = bytearray()
                self.received.append(received)
                threading.Thread(target=self._serve, args=(accepted, received), daemon=True).start()

    def _serve(self, sock: socket.socket, received: bytearray) -> None:
        at = 0
        with suppress(OSError):
            while True:
                self.reads.wait()
                if not (data := sock.recv(256 * 1024)):
                    self.ends.append("end")
                    return
                received += data
                read = read_request(bytes(received), at)
                if isinstance(read, Request):
                    at = read.end
                    self.answers(sock)
        self.ends.append("reset")


def healthy(sock: socket.socket) -> None:
    """A whole, good answer."""
    sock.sendall(OK)


def says(answer: bytes) -> Answers:
    """These bytes, and nothing else."""
    return lambda sock: sock.sendall(answer)


class _Live(Handler):
    def do_POST(self) -> None:
        size = self.headers["content-length"]
        content = expected(self.rfile.read(int(size) if size else -1))
        self.send_response(200)
        self.send_header("Set-Cookie", "of=live")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def expected(body: bytes) -> bytes:
    """What live says of a body."""
    return hashlib.sha256(body).hexdigest().encode() * 3


@dataclass
class Rehearsal:
    """Mutable state: the clients."""

    program: Program
    shadow: Shadow
    clients: list[Client] = field(default_factory=list)

    def client(self) -> Client:
        """A new connection, for the length of the block."""
        client = Client(self.program.address("ingress"))
        self.clients.append(client)
        return client

    def ask(self, client: Client, body: bytes) -> Response:
        """One exchange; the answer must be live's, byte for byte."""
        client.send(b"POST /infer HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        answer = client.answer(b"POST")
        assert (answer.status, answer.body) == (200, expected(body))
        assert answer.all(b"set-cookie") == [b"of=live"]
        assert sorted({name for name, _ in answer.fields}) == [
            b"content-length", b"date", b"server", b"set-cookie", b"x-request-id",
        ]  # fmt: skip
        return answer

    def load(self, clients: int = 4, requests: int = 10) -> int:
        """Small and large bodies from several clients at once; how many there were."""
        failed: list[BaseException] = []

        def asks(number: int) -> None:
            try:
                client = self.client()
                for at in range(requests):
                    self.ask(client, bytes([number, at]) * (MIB // 2 if at % 5 == 4 else 100))
            except BaseException as error:
                failed.append(error)

        threads = [threading.Thread(target=asks, args=(number,)) for number in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failed:
            raise failed[0]
        return clients * requests

    def resident_mib(self) -> float:
        """Anonymous memory of the worker."""
        (pid,) = worker_pids(self.program)
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon:"))

    def copies(self) -> dict[str, Any]:
        """The row of the shadow in `GET /status`."""
        return next((dict(each) for each in status(self.program)["copies"]), {"selected": 0})

    def all_over(self, selected: int) -> dict[str, Any]:
        """The row, when so many copies have ended, one way or another."""
        until(lambda: self.copies()["selected"] >= selected, WITHIN_S)
        row = self.copies()
        assert row["selected"] == selected == row["sent"] + sum(row["dropped"].values())
        return row

    def recovers(self) -> float:
        """S is well now: milliseconds until copies are answered and the breaker is closed, as told once a second."""
        begun, client, before = monotonic(), self.client(), self.copies()["complete"]

        def well() -> bool:
            self.ask(client, b"recovered?")
            row = self.copies()
            return bool(row["breaker"] == "closed" and row["complete"] > before + 1)

        until(well, WITHIN_S)
        return round((monotonic() - begun) * 1000, 1)


@contextmanager
def provoked(
    folder: Path, *, listens: bool = True, url: str = "", timeouts: Mapping[str, str] = HASTY
) -> Iterator[Rehearsal]:
    """The program, its live backend and S; `url`: where S is to be found instead; `timeouts`: of copies. At the end
    nothing is in flight and the log is free of alarms."""
    shadow = Shadow(listens=listens)
    try:
        with serving(_Live) as live, rehearsing(
            folder, live, url or shadow.url, of_live={"keep_alive": "60s"},
            of_shadow={"connect_timeout": "200ms", "keep_alive": "60s"},
            of_copies=timeouts,
            of_mirror={"budget": {"requests": 4, "bytes": "4MiB"}}, drain={"grace": "1s"},
        ) as program:  # fmt: skip
            rehearsal = Rehearsal(program, shadow)
            try:
                yield rehearsal
            finally:
                for client in rehearsal.clients:
                    client.close()
            until(lambda: not any(each["in_flight"] for each in status(program)["calls"]), WITHIN_S)
            assert not any(each["held_bytes"] for each in status(program)["copies"])
            assert "Traceback" not in program.stderr and "failed in the proxy" not in program.stderr
    finally:
        shadow.close()
