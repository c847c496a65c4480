"""Backends of traces that run from PyPI alone: how to start each, where it takes OTLP, and how to read back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import aiohttp

from ..processes import REPOSITORY

Backend: TypeAlias = Literal["phoenix", "mlflow"]
BACKENDS: tuple[Backend, ...] = ("phoenix", "mlflow")
SHADOW_SPAN = "POST next"


class Ports(NamedTuple):
    """Of 127.0.0.1."""

    http: int
    grpc: int  # of OTLP; MLflow has none


class Started(NamedTuple):
    """How a backend is started, and what of it answers 200 when it is there."""

    command: tuple[str, ...]
    environment: Mapping[str, str]
    ready: str


def program(backend: Backend) -> Path:
    """Its command, which `make .venv-phoenix/stamp` or `make .venv-mlflow/stamp` installs."""
    return REPOSITORY / f".venv-{backend}" / "bin" / backend


def start_of(backend: Backend, ports: Ports, folder: Path) -> Started:
    """Whatever it stores is in `folder`; it sends nothing home and asks nobody outside."""
    if backend == "phoenix":
        variables = {
            "PHOENIX_HOST": "127.0.0.1",
            "PHOENIX_PORT": str(ports.http),
            "PHOENIX_GRPC_PORT": str(ports.grpc),
            "PHOENIX_WORKING_DIR": str(folder),
            "PHOENIX_TELEMETRY_ENABLED": "false",
            "PHOENIX_ALLOW_EXTERNAL_RESOURCES": "false",
            "PHOENIX_DISABLE_AGENT_ASSISTANT": "true",
        }
        return Started((str(program(backend)), "serve"), variables, "/healthz")
    stored = ("--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--default-artifact-root", str(folder))
    return Started(
        (str(program(backend)), "server", "--port", str(ports.http), "--workers", "1", *stored),
        {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"},
        "/health",
    )


def exported_to(backend: Backend, ports: Ports) -> Mapping[str, str]:
    """The variables with which Understudy and MLServer send it every trace; it takes no metrics.

    MLServer speaks OTLP over gRPC only, which MLflow does not take.
    """
    variables = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{ports.http}",
        "OTEL_TRACES_SAMPLER": "always_on",
        "OTEL_METRICS_EXPORTER": "none",
    }
    if backend == "phoenix":
        return variables | {"MLSERVER_TRACING_SERVER": f"http://127.0.0.1:{ports.grpc}"}
    return variables | {"OTEL_EXPORTER_OTLP_HEADERS": "x-mlflow-experiment-id=0"}


async def newest_trace(backend: Backend, session: aiohttp.ClientSession, url: str, *, spans: int) -> str | None:
    """The id of the newest trace that holds a shadow's span and so many in all; None as long as there is none."""
    if backend == "mlflow":
        where = [{"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "0"}}]
        asked = {"locations": where, "max_results": 1}
        async with session.post(f"{url}/api/3.0/mlflow/traces/search", json=asked) as answer:
            traces = (await answer.json()).get("traces", ()) if answer.status == 200 else ()
        return next((each["trace_id"] for each in traces), None)
    async with session.get(f"{url}/v1/projects/default/spans", params={"limit": 1000}) as answer:
        found: list[dict[str, Any]] = (await answer.json())["data"] if answer.status == 200 else []
    traces_of = [span["context"]["trace_id"] for span in found]
    newest_first = sorted(found, key=lambda span: str(span["start_time"]), reverse=True)
    return next(
        (
            span["context"]["trace_id"]
            for span in newest_first
            if span["name"] == SHADOW_SPAN and traces_of.count(span["context"]["trace_id"]) >= spans
        ),
        None,
    )
