"""A name server that says what the test wants, and a way to make one program ask it (Linux, as root).

The program gets a mount namespace of its own, in which its resolv.conf names this server; nothing else is touched.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

ADDRESS = "127.0.0.153"
_SCRIPT = """
mount --bind "$1" "$(readlink -f /etc/resolv.conf)" && mount --bind "$2" /etc/nsswitch.conf && shift 2 && exec "$@"
"""
_NXDOMAIN = 3
_A = 1


class NameServer:
    """Answers every name alike. Mutable state: `addresses` it gives (none: NXDOMAIN), or None to say nothing at all;
    `asked`, set at each question."""

    def __init__(self, sock: socket.socket) -> None:
        self.addresses: tuple[str, ...] | None = ()
        self.asked = threading.Event()
        self._sock = sock

    def serve(self) -> None:
        """Until the socket is shut."""
        while True:
            try:
                question, peer = self._sock.recvfrom(2048)
            except OSError:
                return
            if not question:
                return
            self.asked.set()
            addresses = self.addresses
            if addresses is not None:
                self._sock.sendto(_answer(question, addresses), peer)


def _answer(question: bytes, addresses: tuple[str, ...]) -> bytes:
    """RFC 1035: the question repeated, and one A record for each address with a TTL of 0."""
    end = question.index(b"\0", 12) + 5
    (kind,) = struct.unpack("!H", question[end - 4 : end - 2])
    found = addresses if kind == _A else ()
    flags = 0x8180 | (0 if addresses else _NXDOMAIN)
    head = question[:2] + struct.pack("!HHHHH", flags, 1, len(found), 0, 0)
    records = [b"\xc0\x0c" + struct.pack("!HHIH", _A, 1, 0, 4) + socket.inet_aton(each) for each in found]
    return head + question[12:end] + b"".join(records)


@contextlib.contextmanager
def name_server() -> Iterator[NameServer]:
    """The server, running. Raises OSError where port 53 may not be bound."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((ADDRESS, 53))
        server = NameServer(sock)
        thread = threading.Thread(target=server.serve, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waking:
                waking.sendto(b"", (ADDRESS, 53))
            thread.join(5)


def asking_it(folder: Path) -> tuple[str, ...]:
    """The command through which a program asks this server."""
    resolv, nsswitch = folder / "resolv.conf", folder / "nsswitch.conf"
    resolv.write_text(f"nameserver {ADDRESS}\noptions timeout:2 attempts:1\n")
    nsswitch.write_text("hosts: files dns\n")
    return ("unshare", "--mount", "sh", "-c", _SCRIPT, "sh", str(resolv), str(nsswitch))


def why_not(folder: Path) -> str | None:
    """Why names cannot be tested here; None when they can."""
    if shutil.which("unshare") is None:
        return "unshare(1) is not installed"
    try:
        with name_server():
            done = subprocess.run([*asking_it(folder), "true"], capture_output=True, text=True, check=False, timeout=10)
    except OSError as error:
        return f"port 53 cannot be bound: {error}"
    return None if done.returncode == 0 else f"no mount namespace: {done.stderr.strip()}"
