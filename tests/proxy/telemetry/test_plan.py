"""Where telemetry goes, as whom, and who wins: the file, the signal's own variable, that of all signals."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest
from understudy.config.schema import OtlpPart, TelemetryPart
from understudy.proxy.telemetry.export.plan import Target, plan_of, resource_of

from tests.config.test_environment import document

BASE = "OTEL_EXPORTER_OTLP_"


def target(otlp: dict[str, Any] | None, environ: dict[str, str], signal: str = "traces", base: str = "/etc") -> Target:
    found = plan_of(document({"otlp": otlp} if otlp is not None else None), environ, base)
    return next(each for each in found.targets if each.signal == signal)


def test_nothing_to_export_is_an_empty_plan() -> None:
    assert plan_of(document(), {}, "/").targets == ()
    assert plan_of(document({"otlp": {}}), {"OTEL_SDK_DISABLED": "true"}, "/").targets == ()
    off = {"otlp": {}, "traces": "off", "metrics": "off"}
    assert plan_of(document(off), {}, "/").targets == ()


@pytest.mark.parametrize(
    ("otlp", "environ", "endpoint"),
    [
        ({}, {}, "http://localhost:4318/v1/traces"),
        ({"protocol": "grpc"}, {}, "http://localhost:4317"),
        ({"endpoint": "http://a:1"}, {}, "http://a:1/v1/traces"),
        ({"endpoint": "http://a:1/otlp/"}, {BASE + "ENDPOINT": "http://b:1"}, "http://a:1/otlp/v1/traces"),
        ({"endpoint": "http://a:1"}, {BASE + "TRACES_ENDPOINT": "http://b:1/x"}, "http://a:1/v1/traces"),
        (None, {BASE + "ENDPOINT": "http://b:1/"}, "http://b:1/v1/traces"),
        (None, {BASE + "ENDPOINT": "http://b:1/x/?key=1"}, "http://b:1/x/v1/traces?key=1"),
        (None, {BASE + "ENDPOINT": "http://b:1", BASE + "TRACES_ENDPOINT": "http://c:1/x"}, "http://c:1/x"),
        ({"endpoint": "https://a:4317", "protocol": "grpc"}, {}, "https://a:4317"),
        (None, {BASE + "ENDPOINT": "http://b:1", BASE + "PROTOCOL": "grpc"}, "http://b:1"),
    ],
)
def test_the_signals_path_is_added_to_what_all_signals_share(
    otlp: dict[str, Any] | None, environ: dict[str, str], endpoint: str
) -> None:
    assert target(otlp, environ).endpoint == endpoint


def test_signals_may_go_to_different_places_in_different_ways() -> None:
    environ = {
        BASE + "ENDPOINT": "http://a:4318", BASE + "METRICS_ENDPOINT": "http://b:4317",
        BASE + "METRICS_PROTOCOL": "grpc", BASE + "METRICS_TIMEOUT": "2500", BASE + "TIMEOUT": "1500",
        BASE + "TRACES_COMPRESSION": "gzip",
    }  # fmt: skip
    traces, metrics = target(None, environ), target(None, environ, "metrics")
    assert (traces.protocol, traces.timeout_s, traces.compression) == ("http/protobuf", 1.5, "gzip")
    assert (metrics.protocol, metrics.timeout_s, metrics.compression) == ("grpc", 2.5, "none")
    assert metrics.endpoint == "http://b:4317"


def test_the_file_wins_over_the_environment() -> None:
    environ = {
        BASE + "PROTOCOL": "grpc", BASE + "COMPRESSION": "gzip", BASE + "TIMEOUT": "1", BASE + "CERTIFICATE": "/e.pem",
        BASE + "HEADERS": "a=1,B=2", BASE + "CLIENT_CERTIFICATE": "/c.pem", BASE + "CLIENT_KEY": "/k.pem",
    }  # fmt: skip
    written = {
        "endpoint": "https://a:1", "protocol": "http/protobuf", "compression": "none", "timeout": "3s",
        "headers": {"b": "3"}, "tls": {"ca": "ca.pem", "certificate": "own.pem", "server_name": "x"},
    }  # fmt: skip
    found = target(written, environ)
    assert (found.protocol, found.compression, found.timeout_s) == ("http/protobuf", "none", 3.0)
    assert dict(found.headers) == {"a": "1", "b": "3"}
    assert (found.ca, found.certificate, found.server_name) == ("/etc/ca.pem", "/etc/own.pem", "x")
    found = target({"endpoint": "https://a:1"}, environ)
    assert (found.protocol, found.compression, found.timeout_s) == ("grpc", "gzip", 0.001)
    assert (found.ca, found.certificate, found.key) == ("/e.pem", "/c.pem", "/k.pem")
    assert dict(found.headers) == {"a": "1", "b": "2"}


def test_what_is_not_understood_is_taken_for_absent() -> None:
    environ = {
        BASE + "PROTOCOL": "http/json",
        BASE + "COMPRESSION": "zstd",
        BASE + "TIMEOUT": "soon",
        BASE + "HEADERS": "x",
    }
    found = target({}, environ)
    assert (found.protocol, found.compression, found.timeout_s, found.headers) == ("http/protobuf", "none", 10.0, ())


def test_secrets_are_read_and_never_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text("canary-a\n")
    monkeypatch.setenv("TOKEN", "canary-b")
    otlp = {"headers": {"x-a": {"file": "token"}, "X-B": {"env": "TOKEN"}}}
    found = target(otlp, {}, base=str(tmp_path))
    assert dict(found.headers) == {"x-a": "canary-a", "x-b": "canary-b"}
    assert "canary" not in repr(found)
    assert target({"headers": {"x-c": {"env": "GONE"}}}, {}).problem.endswith("no variable GONE")


@pytest.mark.parametrize("value", ["s3cret\nline", "s3cret\x00", "s3cr\u00e9t"])
def test_a_secret_that_is_no_header_value_is_a_problem_and_not_told(value: str) -> None:
    problem = target({"headers": {"Authorization": value}}, {}).problem
    assert problem.startswith("the header authorization has a ")
    assert "s3c" not in problem
    found = target({"headers": {"a": " token\n"}}, {})
    assert (found.headers, found.problem) == ((("a", "token"),), "")


def test_a_name_that_only_http_sends_is_a_problem_where_a_variable_asks_for_grpc() -> None:
    assert target({"headers": {"x!": "a"}}, {}).problem == ""
    assert "no name that gRPC sends" in target({"headers": {"x!": "a"}}, {BASE + "PROTOCOL": "grpc"}).problem


def test_a_variable_that_cannot_be_sent_leaves_the_rest_of_the_export_as_it_is() -> None:
    environ = {
        BASE + "HEADERS": "authorization=Bearer%0As3cret", BASE + "ENDPOINT": "http://user:s3cret@host:4317",
        BASE + "TIMEOUT": "1500",
    }  # fmt: skip
    found = target({"headers": {"a": "1"}}, environ)
    assert (found.endpoint, found.headers) == ("http://localhost:4318/v1/traces", (("a", "1"),))
    assert (found.timeout_s, found.problem) == (1.5, "")
    found = target({}, {BASE + "METRICS_HEADERS": "x=%C3%A9", BASE + "HEADERS": "b=2"}, "metrics")
    assert found.headers == (("b", "2"),)


def test_another_certificate_in_the_same_file_is_another_target(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("one")
    otlp = {"endpoint": "https://a:1", "tls": {"ca": str(file)}}
    before = target(otlp, {})
    assert target(otlp, {}) == before
    file.touch()
    assert target(otlp, {}) != before


def test_the_resource_says_who_tells() -> None:
    found = resource_of("iris", {
        "POD_NAME": "iris-6f9c", "POD_NAMESPACE": "models", "NODE_NAME": "n1", "CONTAINER_NAME": "understudy",
        "POD_UID": "u", "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=pro%20d,k8s.node.name=n2",
    })  # fmt: skip
    assert found["service.name"] == "iris"
    assert found["k8s.pod.name"] == "iris-6f9c"
    assert found["k8s.namespace.name"] == "models"
    assert found["k8s.node.name"] == "n2"
    assert found["k8s.pod.uid"] == "u"
    assert found["deployment.environment.name"] == "pro d"
    assert {"host.name", "process.pid", "service.version", "telemetry.sdk.version"} <= set(found)


def test_elsewhere_than_in_kubernetes_such_names_mean_anything() -> None:
    environ = {"CONTAINER_NAME": "dev", "NODE_NAME": "mine"}
    assert not [name for name in resource_of("x", environ) if name.startswith("k8s.")]
    inside = resource_of("x", {**environ, "KUBERNETES_SERVICE_HOST": "10.0.0.1"})
    assert inside["k8s.container.name"] == "dev"


def test_an_instance_has_an_id_that_a_restart_keeps_where_kubernetes_names_it() -> None:
    named = {"POD_NAME": "a", "POD_NAMESPACE": "b"}
    ids = {resource_of("x", environ)["service.instance.id"] for environ in (named, named)}
    assert len(ids) == 1
    assert uuid.UUID(str(ids.pop())).version == 5
    assert resource_of("x", {**named, "POD_NAME": "c"}) != resource_of("x", named)
    assert uuid.UUID(str(resource_of("x", {})["service.instance.id"])).version == 4


def test_metrics_leave_at_their_interval() -> None:
    assert plan_of(document({"otlp": {}, "metrics": {"interval": "30s"}}), {}, "/").interval_s == 30
    assert plan_of(document({"otlp": {}}), {}, "/").interval_s == 10
    environ = {"OTEL_METRIC_EXPORT_INTERVAL": "2500"}
    assert plan_of(document({"otlp": {}, "metrics": {"interval": "30s"}}), environ, "/").interval_s == 30
    assert plan_of(document({"otlp": {}, "metrics": {"buckets": [1]}}), environ, "/").interval_s == 2.5
    assert plan_of(document({"otlp": {}}), {"OTEL_METRIC_EXPORT_INTERVAL": "soon"}, "/").interval_s == 10
    assert TelemetryPart(otlp=OtlpPart()).metrics != "off"


def test_a_signal_may_go_without_tls_where_no_scheme_says() -> None:
    environ = {
        BASE + "ENDPOINT": "host:4317", BASE + "PROTOCOL": "grpc", BASE + "INSECURE": "True",
        BASE + "METRICS_INSECURE": "false",
    }  # fmt: skip
    assert [(each.endpoint, each.insecure) for each in plan_of(document(), environ, "/").targets] == [
        ("host:4317", True), ("host:4317", False),
    ]  # fmt: skip
