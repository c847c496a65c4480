"""What an operator should hear of valid telemetry: traces that go nowhere, a log that cannot be written."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from understudy.config.schema import convert
from understudy.config.warnings import warnings

NOBODY = 65_534
OTLP = {"endpoint": "http://127.0.0.1:4318"}


def warned(telemetry: dict[str, Any], *, base: str = "/", **environ: str) -> list[tuple[str, str]]:
    raw = {
        "listeners": {"ingress": {"bind": "127.0.0.1:7080"}},
        "backends": {"model": {"endpoints": ["http://127.0.0.1:9001"]}},
        "routes": [{"name": "everything", "match": {"path_prefix": "/"}, "backend": "model"}],
        "telemetry": telemetry,
    }
    found = warnings(convert(raw), raw, date(2030, 6, 15), base, environ)
    return [(".".join(map(str, path)), text) for path, text in found]


@pytest.mark.parametrize(
    "traces",
    [{"sample": 0.1}, {"sample": 0, "errors": True}, {"slow": "2s"}, {"over_p99": True}, {"headers": ["x-tenant"]}],
)
def test_traces_that_somebody_wrote_and_nobody_gets(traces: dict[str, Any]) -> None:
    ((path, text),) = warned({"traces": traces})
    assert path == "telemetry.traces"
    assert "telemetry.otlp.endpoint" in text
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in text
    assert warned({"traces": traces}, OTEL_EXPORTER_OTLP_METRICS_ENDPOINT="http://127.0.0.1:4318/v1/metrics") != []


@pytest.mark.parametrize(
    "telemetry", [{}, {"service_name": "me"}, {"traces": "off"}, {"traces": {}}, {"traces": {"sample": 0.0}},
                  {"traces": {"sample": 0, "errors": False, "over_p99": False}}],
)  # fmt: skip
def test_traces_that_nobody_asked_for(telemetry: dict[str, Any]) -> None:
    assert warned(telemetry) == []


@pytest.mark.parametrize("name", ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"])
def test_traces_that_have_somewhere_to_go(name: str) -> None:
    assert warned({"traces": {"sample": 0.1}}, **{name: "http://127.0.0.1:4318"}) == []
    assert warned({"traces": {"sample": 0.1}, "otlp": OTLP}) == []
    assert warned({"traces": {"sample": 0.1}, "otlp": {"protocol": "grpc"}}) == []


def logged(to: str, base: Path) -> list[str]:
    found = warned({"access_log": {"to": to}}, base=str(base))
    assert {path for path, _ in found} <= {"telemetry.access_log.to"}
    return [text for _, text in found]


@pytest.mark.parametrize("to", ["stdout", "stderr", "access.log", "made.log", "logs/access.log"])
def test_a_log_that_can_be_written(to: str, tmp_path: Path) -> None:
    (tmp_path / "made.log").touch()
    (tmp_path / "logs").mkdir()
    assert logged(to, tmp_path) == []


@pytest.mark.parametrize(
    ("to", "reason"),
    [
        ("missing/access.log", "its folder is missing"),
        ("file/access.log", "its folder is missing"),
        ("logs", "it is a folder"),
    ],
)
def test_a_log_that_cannot_be_written(to: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "logs").mkdir()
    (text,) = logged(to, tmp_path)
    assert text.startswith(f"the file {to} cannot be written here: {reason}; ")


@contextmanager
def bound_by_permissions() -> Iterator[Path]:
    """A folder that everybody may enter and nobody may write, nor the file in it: as a user whom that binds."""
    user, folder = os.geteuid(), Path(tempfile.mkdtemp(dir="/tmp"))
    (folder / "theirs.log").touch(mode=0o444)
    folder.chmod(0o555)
    try:
        if user == 0:
            os.seteuid(NOBODY)
        yield folder
    finally:
        os.seteuid(user)
        folder.chmod(0o755)
        shutil.rmtree(folder)


def test_a_log_that_belongs_to_somebody_else() -> None:
    with bound_by_permissions() as folder:
        (made,), (missing,) = logged("theirs.log", folder), logged("ours.log", folder)
    assert ": it is not ours to write; " in made
    assert ": its folder is not ours to write; " in missing
