"""What the configurations of Understudy and of Envoy are made of, each as its own users write it.

Fair to Envoy: one worker thread, no access log, no tracing, generous circuit breakers, no route timeout where none is
given, and none of the hardening that Understudy always does (path normalisation, forwarding headers).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .wire import HOST

PLENTY = 20_000
FILTERS = "type.googleapis.com/envoy.extensions.filters"


def understudy_document(
    port: int, admin: int, backends: Mapping[str, dict[str, Any]], routes: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """One worker and control, admin API included: the product as it is run."""
    return {
        "listeners": {"ingress": {"bind": f"{HOST}:{port}"}},
        "admin": {"bind": f"{HOST}:{admin}"},
        "workers": 1,
        "drain": {"delay": "0s", "grace": "1s"},
        "backends": dict(backends),
        "routes": list(routes),
    }


def backend(port: int, **more: object) -> dict[str, Any]:
    """One endpoint of Understudy's, without a limit that the load could reach."""
    return {"endpoints": [f"http://{HOST}:{port}"], "max_in_flight": PLENTY, **more}


def envoy_document(
    port: int, clusters: Iterable[dict[str, Any]], routes: Sequence[dict[str, Any]], admin: int | None = None
) -> dict[str, Any]:
    """Envoy's bootstrap: one listener, these routes and clusters with keep-alive; `admin` tells what was dropped."""
    manager = {
        "@type": f"{FILTERS}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bench",
        "stream_idle_timeout": "0s",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": list(routes)}]},
        "http_filters": [
            {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{FILTERS}.http.router.v3.Router"}}
        ],
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    listener = {"name": "ingress", "address": _address(port), "filter_chains": [chain]}
    document: dict[str, Any] = {"static_resources": {"listeners": [listener], "clusters": list(clusters)}}
    return document if admin is None else document | {"admin": {"address": _address(admin)}}


def traced_understudy(document: dict[str, Any], collector: int, sample: float) -> dict[str, Any]:
    """The document with traces by protobuf over HTTP to this port, of a share of the exchanges; no metrics."""
    otlp = {"endpoint": f"http://{HOST}:{collector}", "protocol": "http/protobuf"}
    return document | {"telemetry": {"otlp": otlp, "traces": {"sample": sample}, "metrics": "off"}}


def traced_envoy(document: dict[str, Any], collector: int, sample: float) -> dict[str, Any]:
    """The bootstrap with its own OpenTelemetry tracer, as `traced_understudy`."""
    uri = {"uri": f"http://{HOST}:{collector}/v1/traces", "cluster": "collector", "timeout": "5s"}
    provider = {
        "name": "envoy.tracers.opentelemetry",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig",
            "http_service": {"http_uri": uri},
            "service_name": "envoy",
        },
    }
    tracing = {"random_sampling": {"value": 100 * sample}, "spawn_upstream_span": True, "provider": provider}
    resources = document["static_resources"]
    [listener] = resources["listeners"]
    [chain] = listener["filter_chains"]
    [manager] = chain["filters"]
    manager = manager | {"typed_config": manager["typed_config"] | {"tracing": tracing}}
    listener = listener | {"filter_chains": [chain | {"filters": [manager]}]}
    clusters = [*resources["clusters"], cluster("collector", collector)]
    return document | {"static_resources": {"listeners": [listener], "clusters": clusters}}


def cluster(name: str, port: int, requests: int = PLENTY, connect_timeout: str = "1s") -> dict[str, Any]:
    """One endpoint of Envoy's and how many requests it may have at a time."""
    limits = {f"max_{what}": requests for what in ("connections", "pending_requests", "requests")}
    endpoint = {"lb_endpoints": [{"endpoint": {"address": _address(port)}}]}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": connect_timeout,
        "circuit_breakers": {"thresholds": [limits]},
        "load_assignment": {"cluster_name": name, "endpoints": [endpoint]},
    }


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": HOST, "port_value": port}}
