"""What the standard OTEL_* variables add to a document, and who wins."""

from __future__ import annotations

from typing import Any

import pytest
from understudy.config.environment import environment_warnings, of_signal, pairs, resolved, signals, timeout_s
from understudy.config.schema import Document, OtlpPart, TelemetryPart, TracesPart, convert, decode, encode

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}


def document(telemetry: dict[str, Any] | None = None) -> Document:
    return convert({
        "listeners": {"ingress": {"bind": "127.0.0.1:0"}},
        "backends": {"model": {"endpoints": ["http://127.0.0.1:9"]}},
        "routes": [{"name": "any", "match": {"path_prefix": "/"}, "backend": "model"}],
        **({} if telemetry is None else {"telemetry": telemetry}),
    })  # fmt: skip


def telemetry_of(telemetry: dict[str, Any] | None, environ: dict[str, str]) -> TelemetryPart:
    part = resolved(document(telemetry), environ).telemetry
    assert part is not None
    return part


def traces_of(telemetry: dict[str, Any] | None, environ: dict[str, str]) -> TracesPart:
    traces = telemetry_of(telemetry, environ).traces
    assert isinstance(traces, TracesPart)
    return traces


def test_nothing_is_exported_where_nothing_says_where_to() -> None:
    plain = document()
    assert resolved(plain, {"OTEL_SERVICE_NAME": "a", "OTEL_TRACES_SAMPLER": "always_on"}) is plain
    part = telemetry_of({"traces": {"sample": 1}, "access_log": "off"}, {})
    assert (part.otlp, part.traces) == (None, "off")
    assert part.access_log == "off"


def test_an_endpoint_in_the_environment_turns_export_on() -> None:
    part = telemetry_of(None, ENDPOINT)
    assert part.otlp is not None
    assert isinstance(part.traces, TracesPart)
    assert signals(None, ENDPOINT) == {"traces", "metrics"}


@pytest.mark.parametrize(("signal", "other"), [("traces", "metrics"), ("metrics", "traces")])
def test_an_endpoint_of_one_signal_turns_on_that_one(signal: str, other: str) -> None:
    environ = {f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT": "http://collector:4318/x"}
    assert signals(None, environ) == {signal}
    assert signals(TelemetryPart(**{signal: "off"}), environ) == set()
    part = telemetry_of(None, environ)
    assert part.otlp is not None
    assert (part.traces == "off") is (signal == "metrics")


def test_buckets_stay_where_metrics_are_not_exported() -> None:
    part = telemetry_of({"otlp": {}, "metrics": {"buckets": [1, 2]}}, {"OTEL_METRICS_EXPORTER": "none"})
    assert part.metrics != "off"
    assert part.metrics.buckets == (1, 2)
    assert signals(part, {"OTEL_METRICS_EXPORTER": "none"}) == {"traces"}


@pytest.mark.parametrize(
    "environ", [{"OTEL_SDK_DISABLED": "True"}, {"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none"}]
)
def test_what_turns_off_wins_over_the_file(environ: dict[str, str]) -> None:
    part = telemetry_of({"otlp": {"endpoint": "http://collector:4318"}}, {**ENDPOINT, **environ})
    assert (part.otlp, part.traces) == (None, "off")


@pytest.mark.parametrize(
    ("telemetry", "environ", "name"),
    [
        ({"otlp": {}}, {}, "understudy"),
        ({"otlp": {}}, {"OTEL_RESOURCE_ATTRIBUTES": "service.name=a%20b,x=y"}, "a b"),
        ({"otlp": {}}, {"OTEL_RESOURCE_ATTRIBUTES": "service.name=a", "OTEL_SERVICE_NAME": "b"}, "b"),
        ({"otlp": {}, "service_name": "c"}, {"OTEL_SERVICE_NAME": "b"}, "c"),
    ],
)
def test_the_service_has_one_name(telemetry: dict[str, Any], environ: dict[str, str], name: str) -> None:
    assert telemetry_of(telemetry, environ).service_name == name


@pytest.mark.parametrize(
    ("sampler", "arg", "share"),
    [
        ("", "0.5", 0.05), ("always_on", "", 1), ("parentbased_always_off", "1", 0), ("traceidratio", "0.25", 0.25),
        ("parentbased_traceidratio", "", 1), ("parentbased_traceidratio", "7", 0.05), ("jaeger_remote", "", 0.05),
    ],
)  # fmt: skip
def test_a_sampler_is_taken_where_the_file_says_nothing(sampler: str, arg: str, share: float) -> None:
    environ = {**ENDPOINT, "OTEL_TRACES_SAMPLER": sampler, "OTEL_TRACES_SAMPLER_ARG": arg}
    assert traces_of(None, environ).share == share
    assert traces_of({"traces": {"sample": 0.05}}, environ).sample == 0.05
    assert traces_of({"traces": {"sample": 0.75}}, environ).share == 0.75


def test_workers_get_no_address_and_no_header_of_the_environment() -> None:
    environ = {**ENDPOINT, "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20canary"}
    wire = encode(resolved(document(), environ))
    assert b"canary" not in wire
    assert b"collector" not in wire
    assert decode(wire) == resolved(document(), environ)


def test_what_is_not_understood_is_told_and_never_its_value() -> None:
    names = {
        "OTEL_TRACES_EXPORTER": "canary", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json",
        "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION": "canary", "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT": "0",
        "OTEL_EXPORTER_OTLP_INSECURE": "canary",
        "OTEL_EXPORTER_OTLP_HEADERS": "canary", "OTEL_RESOURCE_ATTRIBUTES": "=",
        "OTEL_METRIC_EXPORT_INTERVAL": "canary", "OTEL_TRACES_SAMPLER": "xray",
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "delta",
    }  # fmt: skip
    told = list(environment_warnings(names))
    assert [each.split()[0] for each in told] == [name for name in told_order(names)]
    assert "canary" not in "".join(told)
    argued = {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "many"}
    assert [each.split()[0] for each in environment_warnings(argued)] == ["OTEL_TRACES_SAMPLER_ARG"]
    assert (
        list(environment_warnings({**ENDPOINT, "OTEL_EXPORTER_OTLP_TIMEOUT": "2500", "OTEL_TRACES_EXPORTER": ""})) == []
    )


@pytest.mark.parametrize(
    ("what", "text", "protocol"),
    [
        ("ENDPOINT", "collector:4318", "http/protobuf"),
        ("ENDPOINT", "http://user:canary@collector:4318", "http/protobuf"),
        ("ENDPOINT", "http://user:canary@collector:4317", "grpc"), ("ENDPOINT", "user:canary@collector", "grpc"),
        ("ENDPOINT", "collector:4317?key=canary", "grpc"), ("ENDPOINT", "http://collector:4317#canary", "grpc"),
        ("ENDPOINT", "collector:4318?key=canary", "http/protobuf"),
        ("ENDPOINT", "http://:4318", "http/protobuf"), ("ENDPOINT", "http://collector:canary", "http/protobuf"),
        ("ENDPOINT", "http://coll\u00e9ctor:4318", "http/protobuf"), ("ENDPOINT", "http://a b:4318", "http/protobuf"),
        ("HEADERS", "x-a=1,authorization=Bearer%0Acanary", "http/protobuf"), ("HEADERS", "x=can%C3%A9ry", "grpc"),
        ("HEADERS", "a b=canary", "http/protobuf"), ("HEADERS", "content-length=canary", "http/protobuf"),
        ("HEADERS", "key-bin=canary", "grpc"), ("HEADERS", "x!=canary", "grpc"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_or_sent_is_told_by_name_and_ignored_alone(what: str, text: str, protocol: str) -> None:
    """The signal's own variable is; that of all signals is taken, as if it were not there."""
    own, shared = f"OTEL_EXPORTER_OTLP_TRACES_{what}", f"OTEL_EXPORTER_OTLP_{what}"
    good = {"ENDPOINT": "http://collector:4318", "HEADERS": "x-good=1"}[what]
    environ = {own: text, shared: good}
    part = TelemetryPart(otlp=OtlpPart(protocol="grpc" if protocol == "grpc" else "http/protobuf"))
    (told,) = environment_warnings(environ, part)
    assert told.startswith(f"{own} is ignored; allowed: ")
    assert "canary" not in told
    assert of_signal(environ, "traces", what, protocol) == good
    assert [each.split()[0] for each in environment_warnings({shared: text}, part)] == [shared]
    assert of_signal({shared: text}, "traces", what, protocol) == ""
    if what == "ENDPOINT":
        assert signals(None, {shared: text, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}) == set()


@pytest.mark.parametrize(
    ("endpoint", "protocol"),
    [
        ("https://collector", "http/protobuf"), ("http://[::1]:4318/x?key=1", "http/protobuf"),
        ("collector:4317", "grpc"), ("unix:///run/otlp.sock", "grpc"), ("https://collector:4317", "grpc"),
    ],
)  # fmt: skip
def test_what_can_be_asked_is_nothing_to_tell_of(endpoint: str, protocol: str) -> None:
    environ = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20canary%20,x_y=",
    }  # fmt: skip
    assert list(environment_warnings(environ)) == []
    assert signals(None, environ) == {"traces", "metrics"}


def told_order(names: dict[str, str]) -> list[str]:
    last = ["OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "OTEL_TRACES_SAMPLER"]
    return [name for name in names if name not in last] + last


def test_forms() -> None:
    assert pairs("a=1, b = 2%2C3 ,") == {"a": "1", "b": "2,3"}
    assert pairs("a=b=c") == {"a": "b=c"}
    assert pairs("a") is None
    assert timeout_s("2500") == 2.5
    assert timeout_s("nan") is None
