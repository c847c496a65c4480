"""The whole program exports to a real OTLP backend: every field of its spans and metrics, over HTTP and gRPC."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from understudy.proxy.telemetry.families import TABLE

from tests.kit.ask import get, status, until, worker_pids
from tests.kit.delayed import delayed
from tests.kit.held import held_backend
from tests.kit.otlp import OtlpBackend, SeenSpan, as_told, otlp_backend
from tests.kit.program import Program, running

PARENT = "0af7651916cd43dd8448eb211c80319c"
CONFIG = """\
listeners: {ingress: {bind: 127.0.0.1:0, trust: [127.0.0.1/32]}}
admin: {bind: 127.0.0.1:0}
backends:
  stable: {endpoints: [LIVE], version: "7"}
  next: {endpoints: [SHADOW], version: "9"}
routes:
  - name: iris
    match: {path_prefix: /v2}
    backend: stable
    filters:
      - {type: flags, rules: [{flag: dogfood, when: {header: x-employee, equals: "true"}, backend: stable, owner: ml}]}
      - {type: mirror, to: [{backend: next}]}
telemetry:
  otlp: {endpoint: "OTLP", protocol: PROTOCOL, headers: {x-token: {env: TOKEN}}}
  traces: {sample: 1, headers: [x-tenant]}
  metrics: {interval: 1s}
"""
ENVIRONMENT = {
    "POD_NAME": "iris-6f9c", "POD_NAMESPACE": "models", "NODE_NAME": "node-1", "CONTAINER_NAME": "understudy",
    "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test", "OTEL_SERVICE_NAME": "iris-proxy", "TOKEN": "t0k",
}  # fmt: skip


@pytest.fixture
def backend() -> Iterator[OtlpBackend]:
    with otlp_backend() as found:
        yield found


@pytest.fixture
def models() -> Iterator[tuple[str, str]]:
    with delayed(lambda number: 0.005) as live, delayed(lambda number: 0.02) as shadow:
        yield live, shadow


def config(models: tuple[str, str], endpoint: str, protocol: str) -> str:
    places = {"LIVE": models[0], "SHADOW": models[1], "OTLP": endpoint, "PROTOCOL": protocol}
    text = CONFIG.replace('otlp: {endpoint: "OTLP"', "otlp: {endpoint: OTLP")
    for name, place in places.items():
        text = text.replace(f" {name},", f" {place},").replace(f"[{name}]", f"[{place}]")
    return text


def ask(program: Program, trace_id: str) -> httpx.Response:
    headers = {
        "traceparent": f"00-{trace_id}-00f067aa0ba902aa-01", "tracestate": "vendor=1", "x-employee": "true",
        "x-tenant": "blue", "x-secret": "canary", "authorization": "canary",
    }  # fmt: skip
    return httpx.post(f"{program.url('ingress')}/v2/models/iris?q=canary", headers=headers, content=b"canary")


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_every_field(protocol: str, backend: OtlpBackend, models: tuple[str, str], tmp_path: Path) -> None:
    endpoint = backend.grpc if protocol == "grpc" else backend.http
    trace_id = f"{len(protocol):032x}"
    with running(config(models, endpoint, protocol), tmp_path, environment=ENVIRONMENT) as program:
        answer = ask(program, trace_id)
        spans = backend.wait_spans(3)
        metrics = backend.wait_metrics(lambda found: "http.server.request.duration" in names(found))
        port = program.address("ingress")[1]
    by_kind = {(span.said["kind"], span.attributes["understudy.role"]): span for span in spans}
    server, live = by_kind["SPAN_KIND_SERVER", "live"], by_kind["SPAN_KIND_CLIENT", "live"]
    check_server(server, trace_id, port, answer)
    check_live(live, server, models[0])
    check_shadow(by_kind["SPAN_KIND_CLIENT", "shadow"], live, models[1])
    for span in spans:
        check_resource(span.resource)
    check_metrics(metrics)
    assert "canary" not in json.dumps(backend.received)
    kinds = {json.dumps(each.get("headers") or each["metadata"]).count("t0k") for each in backend.requests()}
    assert kinds == {1}


def milliseconds(span: SeenSpan) -> float:
    return (int(span.said["endTimeUnixNano"]) - int(span.said["startTimeUnixNano"])) / 1e6


def names(metrics: list[dict[str, Any]]) -> set[str]:
    return {metric["name"] for metric in metrics}


def check_server(span: SeenSpan, trace_id: str, port: int, answer: httpx.Response) -> None:
    said = span.said
    assert said["name"] == "POST /v2/*"
    assert (said["parentSpanId"], said["traceState"], said["status"]) == ("00f067aa0ba902aa", "vendor=1", {})
    assert int(said["endTimeUnixNano"]) - int(said["startTimeUnixNano"]) >= 5_000_000
    events = ["feature_flag.evaluation", "understudy.first_byte", "understudy.last_byte"]
    assert [event["name"] for event in said["events"]] == events
    assert span.attributes == as_told({
        "http.request.method": "POST", "url.scheme": "http", "url.path": "/v2/models/iris", "http.route": "/v2/*",
        "client.address": "127.0.0.1", "network.local.port": port, "network.protocol.version": "1.1",
        "http.response.status_code": 200, "http.request.body.size": 6, "http.response.body.size": 5,
        "http.request.header.x-tenant": ["blue"], "feature_flag.key": "dogfood",
        "feature_flag.result.variant": "stable", "feature_flag.result.reason": "targeting_match",
        "understudy.flag.owner": "ml",
        "understudy.request_id": answer.headers["x-request-id"], "understudy.route": "iris",
        "understudy.role": "live", "understudy.backend": "stable", "understudy.version": "7",
        "understudy.outcome": "complete", "understudy.sampled": True, "understudy.config.version": 1,
    })  # fmt: skip
    assert span.scope["name"] == "understudy"


def check_live(span: SeenSpan, server: SeenSpan, url: str) -> None:
    said = span.said
    assert said["name"] == "POST stable"
    assert (said["parentSpanId"], said["status"]) == (server.said["spanId"], {})
    assert [event["name"] for event in said["events"]] == ["understudy.first_byte", "understudy.last_byte"]
    host, _, port = url.removeprefix("http://").rpartition(":")
    assert span.attributes == as_told({
        "http.request.method": "POST", "url.full": f"{url}/v2/models/iris", "server.address": host,
        "server.port": int(port), "network.protocol.version": "1.1", "http.response.status_code": 200,
        "http.request.body.size": 6, "http.response.body.size": 5, "understudy.route": "iris",
        "understudy.role": "live", "understudy.backend": "stable", "understudy.version": "7",
        "understudy.outcome": "complete",
    })  # fmt: skip


def check_shadow(span: SeenSpan, live: SeenSpan, url: str) -> None:
    said, attributes = span.said, span.attributes
    assert said["name"] == "POST next"
    assert (said["traceId"], said["parentSpanId"]) == (live.said["traceId"], live.said["parentSpanId"])
    assert (said["status"], said.get("links")) == ({}, None)
    took_ms, live_took_ms = milliseconds(span), milliseconds(live)
    assert attributes.pop("understudy.pair.latency_delta_ms") == pytest.approx(took_ms - live_took_ms, abs=0.01)
    assert attributes.pop("understudy.pair.latency_ratio") == pytest.approx(took_ms / live_took_ms, rel=0.01)
    assert took_ms >= 20
    host, _, port = url.removeprefix("http://").rpartition(":")
    assert attributes == as_told({
        "http.request.method": "POST", "url.full": f"{url}/v2/models/iris", "server.address": host,
        "server.port": int(port), "network.protocol.version": "1.1", "http.response.status_code": 200,
        "http.request.body.size": 6, "http.response.body.size": 5, "understudy.route": "iris",
        "understudy.role": "shadow", "understudy.backend": "next", "understudy.version": "9",
        "understudy.outcome": "complete", "understudy.censored": False, "understudy.pair.status_match": True,
    })  # fmt: skip


def check_resource(resource: dict[str, Any]) -> None:
    attributes = dict(resource["attributes"])
    assert int(attributes.pop("process.pid")) > 1
    for name in ("service.version", "service.instance.id", "host.name", "telemetry.sdk.version"):
        assert attributes.pop(name)
    assert attributes == {
        "service.name": "iris-proxy", "k8s.pod.name": "iris-6f9c", "k8s.namespace.name": "models",
        "k8s.node.name": "node-1", "k8s.container.name": "understudy", "deployment.environment.name": "test",
        "telemetry.sdk.name": "opentelemetry", "telemetry.sdk.language": "python",
    }  # fmt: skip


def check_metrics(metrics: list[dict[str, Any]]) -> None:
    """Kinds, units and attributes of every family that is told; sums begin with the program."""
    table = {entry.name: entry for entry in TABLE}
    assert len(metrics) > 15
    for metric in metrics:
        check_resource(metric["resource"])
        entry = table[metric["name"]]
        assert (metric.get("unit", ""), metric["description"]) == (entry.unit, entry.help)
        kind = {"counter": "sum", "updown": "sum", "gauge": "gauge", "histogram": "histogram"}[entry.kind]
        data = metric[kind]
        if kind == "sum":
            assert bool(data.get("isMonotonic")) is (entry.kind == "counter")
        if kind != "gauge":
            assert data["aggregationTemporality"] == 2  # cumulative
        for point in data["dataPoints"]:
            assert set(point.get("attributes", {})) == set(entry.attributes)
            assert (int(point.get("startTimeUnixNano", 0)) > 0) is (kind != "gauge")
            assert int(point["timeUnixNano"]) > int(point.get("startTimeUnixNano", 0))
    (duration,) = (metric for metric in metrics if metric["name"] == "http.server.request.duration")
    (point,) = duration["histogram"]["dataPoints"]
    assert point["attributes"]["route"] == "iris"
    assert sum(map(int, point["bucketCounts"])) == int(point["count"]) == 1
    assert len(point["bucketCounts"]) == len(point["explicitBounds"]) + 1
    assert 0.005 <= point["sum"] < 5


def test_nothing_is_lost_and_nothing_warned_of_where_all_is_well(
    backend: OtlpBackend, models: tuple[str, str], tmp_path: Path
) -> None:
    with running(config(models, backend.http, "http/protobuf"), tmp_path, environment=ENVIRONMENT) as program:
        for number in range(20):
            assert ask(program, f"{number + 100:032x}").status_code == 200
        backend.wait_spans(60)
        backend.wait_metrics(lambda found: "http.server.request.duration" in names(found))
        page = get(program.url("admin") + "/metrics")[1]
        for kind in ("spans", "spans_beyond_rate", "metrics", "records"):
            assert f'understudy_telemetry_dropped_total{{kind="{kind}"}} 0\n' in page
        assert status(program)["warnings"] == []
        assert "OTLP export: traces to" in program.stderr
        assert program.stop() == 0
        assert "not sent in time" not in program.stderr


def test_a_shadow_that_fails_may_have_a_trace_of_its_own_and_is_no_error(backend: OtlpBackend, tmp_path: Path) -> None:
    with held_backend() as live, held_backend() as shadow:
        text = config((live.url, shadow.url), backend.http, "http/protobuf")
        text = (
            text.replace("path_prefix: /v2", "path_prefix: /")
            .replace("sample: 1,", "sample: 0, shadow: link,")
            .replace("x-token: {env: TOKEN}", "x-token: t0k")
        )
        with running(text, tmp_path) as program:
            assert httpx.get(f"{program.url('ingress')}/status/503").status_code == 503
            spans = {
                span.attributes["understudy.role"] + span.said["kind"][-6:]: span for span in backend.wait_spans(3)
            }
    server, client, copy = spans["liveSERVER"], spans["liveCLIENT"], spans["shadowCLIENT"]
    assert server.attributes["understudy.sampled"] is False, "it is told since it failed"
    for span in (server, client):
        assert span.said["status"]["code"] in ("STATUS_CODE_ERROR", 2)
        assert span.attributes["error.type"] == "503"
    assert copy.said["status"] == {}
    assert "error.type" not in copy.attributes
    assert copy.attributes["http.response.status_code"] == "503"
    (link,) = copy.said["links"]
    assert (link["traceId"], link["spanId"]) == (server.said["traceId"], server.said["spanId"])
    assert copy.said["traceId"] != server.said["traceId"]
    assert "parentSpanId" not in copy.said


def test_sums_never_go_backwards_when_a_worker_dies_beside_grpc(
    backend: OtlpBackend, models: tuple[str, str], tmp_path: Path
) -> None:
    """Nor is a new worker hindered by gRPC's threads in the process that starts it."""

    def answered(metrics: list[dict[str, Any]]) -> list[tuple[int, int]]:
        points = [each["sum"]["dataPoints"] for each in metrics if each["name"] == "understudy.requests"]
        return [(int(point["asInt"]), int(point["startTimeUnixNano"])) for each in points for point in each]

    with running(config(models, backend.grpc, "grpc"), tmp_path, environment=ENVIRONMENT) as program:
        for number in range(5):
            assert ask(program, f"{number + 1:032x}").status_code == 200
        ((before, start_ns),) = answered(backend.wait_metrics(lambda found: [n for n, _ in answered(found)] == [5]))
        (pid,) = worker_pids(program)
        os.kill(pid, signal.SIGKILL)
        until(lambda: worker_pids(program) not in ([pid], []))
        until(lambda: status(program)["workers_serving"] == 1)
        assert ask(program, f"{9:032x}").status_code == 200
        after = answered(backend.wait_metrics(lambda found: [n for n, _ in answered(found)] == [6]))
    assert after == [(before + 1, start_ns)]
