"""Two MLServers that trace, one live and one a shadow: their spans stand under our CLIENT spans, each under its own, in
what a backend of OTLP received, and in what a person reads in Phoenix, as docs/see-traces.md says."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pytest

from demo.traces.backends import Ports, program, start_of
from tests.e2e.conftest import free_port, model_server, serving
from tests.e2e.exchange import ask
from tests.e2e.test_v2 import ROWS, infer
from tests.kit.ask import get, until
from tests.kit.otlp import OtlpBackend, otlp_backend
from tests.kit.program import running

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

Found = TypeVar("Found")
WITHIN_S = 30.0
CONFIG = """
listeners: {{ingress: {{bind: 127.0.0.1:0}}}}
admin: {{bind: 127.0.0.1:0}}
backends:
  stable: {{endpoints: ["http://127.0.0.1:{stable}"], version: "7"}}
  next: {{endpoints: ["http://127.0.0.1:{next}"], version: "9"}}
routes:
  - name: iris
    match: {{path_prefix: /v2/models/iris}}
    backend: next
    filters:
      - type: flags
        rules: [{{flag: proven, when: {{header: x-risk, equals: low}}, backend: stable}}]
      - {{type: mirror, to: [{{backend: next}}]}}
telemetry:
  otlp: {{endpoint: "{otlp}"}}
  traces: {{sample: 1.0, shadow: {shadow}}}
  metrics: off
"""
ASKED = infer("traced", ROWS[:1])._replace(headers={"content-type": "application/json", "x-risk": "low"})


class Span(NamedTuple):
    """What both backends tell of a span."""

    trace_id: str
    span_id: str
    parent_id: str  # "" where there is none
    name: str
    attributes: Mapping[str, Any]


@contextmanager
def mlservers(folder: Path, grpc: str) -> Iterator[Mapping[str, int]]:
    """Both, with their spans sent there; their ports by our backends' names."""
    environment = {"MLSERVER_TRACING_SERVER": grpc, "OTEL_BSP_SCHEDULE_DELAY": "200"}
    with ExitStack() as stack:
        ports = {}
        for at, name in ((0, "stable"), (2, "next")):
            (folder / name).mkdir()
            ports[name] = stack.enter_context(model_server("mlserver", folder / name, at, environment))
        yield ports


@pytest.fixture(scope="module")
def sink(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[OtlpBackend, Mapping[str, int]]]:
    """What all spans are sent to, and the ports of the MLServers that send theirs to it."""
    with otlp_backend() as backend, mlservers(tmp_path_factory.mktemp("mlservers"), backend.grpc) as ports:
        yield backend, ports


def config(ports: Mapping[str, int], otlp: str, shadow: str = "child") -> str:
    """Of the program in front of both."""
    return CONFIG.format(**ports, otlp=otlp, shadow=shadow)


def once(found: Callable[[], Found | None]) -> Found:
    """What is found, as soon as it is."""
    until(lambda: found() is not None, WITHIN_S)
    result = found()
    assert result is not None
    return result


def by_role(spans: list[Span]) -> dict[str, Span] | None:
    """Our three spans: `server`, `live` and `shadow`; and what MLServer made of `live` and `shadow`: `stable`, `next`.

    None as long as one is missing.
    """
    ours = {each.attributes["understudy.role"]: each for each in spans if "url.full" in each.attributes}
    server = next((each for each in spans if "understudy.request_id" in each.attributes), None)
    theirs = {
        name: each
        for each in spans
        for name, call in (("stable", ours.get("live")), ("next", ours.get("shadow")))
        if call is not None and each.parent_id == call.span_id
    }
    found = {**ours, **theirs} if server is None else {**ours, **theirs, "server": server}
    return found if found.keys() == {"server", "live", "shadow", "stable", "next"} else None


def check(spans: dict[str, Span], ports: Mapping[str, int]) -> None:
    """What the page says of one trace."""
    server, live, shadow = (spans[name] for name in ("server", "live", "shadow"))
    assert server.parent_id == ""
    assert (live.parent_id, shadow.parent_id) == (server.span_id, server.span_id)
    assert len({each.trace_id for each in spans.values()}) == 1
    assert len({each.span_id for each in spans.values()}) == 5
    for name in ("stable", "next"):
        assert int(spans[name].attributes["net.host.port"]) == ports[name]
        assert spans[name].attributes["http.target"] == "/v2/models/iris/infer"
    assert (server.name, live.name, shadow.name) == ("POST /v2/models/iris/*", "POST stable", "POST next")
    told = [(each.attributes["understudy.backend"], each.attributes["understudy.version"]) for each in (live, shadow)]
    assert told == [("stable", "7"), ("next", "9")]
    assert (live.attributes["understudy.role"], shadow.attributes["understudy.role"]) == ("live", "shadow")
    assert server.attributes["feature_flag.key"] == "proven"
    assert server.attributes["feature_flag.result.variant"] == "stable"
    assert shadow.attributes["understudy.pair.latency_ratio"] > 0
    assert shadow.attributes["understudy.pair.status_match"] is True
    assert not [name for name in live.attributes if name.startswith("understudy.pair")]


def test_mlserver_continues_our_spans_live_and_shadow_apart(
    sink: tuple[OtlpBackend, Mapping[str, int]], tmp_path: Path
) -> None:
    """The kinds, which Phoenix loses, are here: SERVER, CLIENT, and below each CLIENT span MLServer's SERVER span."""
    backend, ports = sink

    def spans() -> list[Span]:
        return [
            Span(said["traceId"], said["spanId"], said.get("parentSpanId") or "", said["name"], each.attributes)
            for each in backend.spans()
            for said in [each.said]
        ]

    with running(config(ports, backend.http), tmp_path) as run:
        assert ask(run.address("ingress"), ASKED).status == 200
        found = once(lambda: by_role(spans()))
    check(found, ports)
    kinds = {each.said["spanId"]: each.said["kind"] for each in backend.spans()}
    assert [kinds[found[name].span_id] for name in ("server", "live", "shadow", "stable", "next")] == [
        "SPAN_KIND_SERVER", "SPAN_KIND_CLIENT", "SPAN_KIND_CLIENT", "SPAN_KIND_SERVER", "SPAN_KIND_SERVER",
    ]  # fmt: skip


def test_a_linked_shadow_has_its_servers_spans_in_its_own_trace(
    sink: tuple[OtlpBackend, Mapping[str, int]], tmp_path: Path
) -> None:
    backend, ports = sink

    def found() -> tuple[dict[str, Any], dict[str, Any]] | None:
        told = [each.said for each in backend.spans()]
        shadow = next((each for each in told if each["name"] == "POST next" and each.get("links")), None)
        below = [each for each in told if shadow is not None and each.get("parentSpanId") == shadow["spanId"]]
        return (shadow, below[0]) if shadow is not None and below else None

    with running(config(ports, backend.http, "link"), tmp_path) as run:
        assert ask(run.address("ingress"), ASKED).status == 200
        shadow, below = once(found)
    (link,) = shadow["links"]
    server = next(each.said for each in backend.spans() if each.said["spanId"] == link["spanId"])
    assert (server["name"], server["traceId"]) == ("POST /v2/models/iris/*", link["traceId"])
    assert below["traceId"] == shadow["traceId"] != server["traceId"]


def test_phoenix_shows_one_trace_of_live_shadow_and_both_servers(tmp_path: Path) -> None:
    assert program("phoenix").exists(), "make .venv-phoenix/stamp"
    ports = Ports(free_port(), free_port())
    phoenix = start_of("phoenix", ports, tmp_path)
    url = f"http://127.0.0.1:{ports.http}"

    def told() -> list[dict[str, Any]]:
        status, body = get(f"{url}/v1/projects/default/spans?limit=1000")
        data: list[dict[str, Any]] = json.loads(body)["data"] if status == 200 else []
        return data

    def spans() -> list[Span]:
        return [
            Span(each["context"]["trace_id"], each["context"]["span_id"], each["parent_id"] or "", each["name"],
                 each["attributes"])
            for each in told()
        ]  # fmt: skip

    with serving(phoenix.command, url + phoenix.ready, tmp_path / "phoenix.log", phoenix.environment):
        with mlservers(tmp_path, f"http://127.0.0.1:{ports.grpc}") as at, running(config(at, url), tmp_path) as run:
            assert ask(run.address("ingress"), ASKED).status == 200
            check(once(lambda: by_role(spans())), at)
        assert {each["span_kind"] for each in told()} == {"UNKNOWN"}
        server = next(each for each in told() if "understudy.request_id" in each["attributes"])
    assert [each["name"] for each in server["events"]] == [
        "feature_flag.evaluation", "understudy.first_byte", "understudy.last_byte",
    ]  # fmt: skip
