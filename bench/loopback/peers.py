"""The backends, and the shadows that answer, all on the core that the proxies under test do not have."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .processes import free_port, python, running
from .wire import ANSWER_BODY, HOST, BenchError, ask, connect, request

NGINX = """
daemon off;
master_process off;
pid {folder}/{name}.pid;
error_log stderr error;
events {{ worker_connections 20000; }}
http {{
    access_log off;
    client_body_temp_path {folder};
    proxy_temp_path {folder};
    fastcgi_temp_path {folder};
    uwsgi_temp_path {folder};
    scgi_temp_path {folder};
    keepalive_timeout 300s;
    keepalive_requests 1000000000;
    default_type application/json;
    server {{
        {listen}
        location = /count {{ stub_status; }}
        location /varied {{ add_header x-request-id $request_id; return {status} '{answer}'; }}
        location / {{ return {status} '{answer}'; }}
    }}
}}
"""


@dataclass(frozen=True)
class Variants:
    """Where the plain backends of a whole chain are reached. Their requests are counted by `plain_count`."""

    stable: int
    canary: int  # the same server as `stable`: both are counted together
    shadow: int  # a server of its own


@dataclass(frozen=True)
class Ports:
    """Where the three backends are reached: directly, or through a proxy."""

    plain: int  # answers 1 KiB to 1 KiB
    bulk: int  # reads and sends large bodies
    events: int  # server-sent events


def tool(name: str, package: str) -> str:
    """The path of an installed program. Raises BenchError that says which package carries it."""
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if path is None:
        raise BenchError(f"{name} is not installed; Debian: apt-get install {package}")
    return path


def start_peers(stack: contextlib.ExitStack, core: int, folder: Path, *, status: int = 200) -> Ports:
    """Start all three and wait until they listen. `status` is what the plain one answers: tests make it fail."""
    ports = Ports(free_port(), free_port(), free_port())
    start_plain(stack, "nginx", [ports.plain], core, folder, status=status)
    for name, port in (("sink", ports.bulk), ("events", ports.events)):
        stack.enter_context(running(name, python(f"bench.loopback.{name}", port), core, folder)).listens(port)
    return ports


def start_variants(stack: contextlib.ExitStack, core: int, folder: Path) -> Variants:
    """Start two servers: one for both live backends, one for the shadow."""
    variants = Variants(free_port(), free_port(), free_port())
    start_plain(stack, "nginx-live", [variants.stable, variants.canary], core, folder)
    start_plain(stack, "nginx-shadow", [variants.shadow], core, folder)
    return variants


def start_plain(
    stack: contextlib.ExitStack,
    name: str,
    ports: list[int],
    core: int,
    folder: Path,
    *,
    status: int = 200,
    before: Sequence[str] = (),
) -> None:
    """A server that answers 1 KiB to anything; wait until it listens. `before` stands before its command."""
    config = folder / f"{name}.conf"
    listen = " ".join(f"listen {HOST}:{port} backlog=4096;" for port in ports)
    config.write_text(NGINX.format(folder=folder, name=name, listen=listen, status=status, answer=ANSWER_BODY.decode()))
    argv = [*before, tool("nginx", "nginx-light"), "-p", str(folder), "-c", str(config)]
    child = stack.enter_context(running(name, argv, core, folder))
    for port in ports:
        child.listens(port)


def plain_count(port: int) -> int:
    """How many requests the plain backend has been asked, this one included. Raises BenchError."""
    with connect(port) as sock:
        sock.sendall(request("/count", method="GET").replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"))
        text = b""
        while more := sock.recv(65536):
            text += more
    return int(text.split(b"requests\n")[1].split()[2])


def bulk_count(port: int) -> int:
    """How many requests the bulk backend has been asked, this one included. Raises BenchError."""
    with connect(port) as sock:
        return int(ask(sock, request("/count", method="GET"))[1])
