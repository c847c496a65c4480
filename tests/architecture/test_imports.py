"""proxy -> config -> filters, and nothing else; each folder knows the libraries that it may."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.tree import PARTS, imports_of, module_of, sources

# What each folder may know besides the standard library, and what of that it may not.
MAY: dict[str, set[str]] = {
    "filters": {"msgspec", "re2", "xxhash", "understudy.filters"},
    "config": {"msgspec", "re2", "yaml", "watchfiles", "understudy.filters", "understudy.config"},
    "proxy": {
        "aiohttp", "httptools", "librt", "msgspec", "mypy_extensions", "opentelemetry", "redis", "uvloop",
        "watchfiles", "xxhash", "yaml",
        "grpc", "requests", "urllib3",  # what the exporters of OpenTelemetry speak through
        "understudy.filters", "understudy.config", "understudy.proxy",
    },
}  # fmt: skip
NEVER: dict[str, set[str]] = {
    "filters": {"asyncio", "socket", "threading", "multiprocessing", "subprocess", "logging", "time"},
    "config": {"asyncio", "socket", "threading", "multiprocessing", "subprocess"},
    "proxy": {"multiprocessing"},
}
# The data plane holds neither YAML nor an HTTP framework nor a telemetry SDK: they cost memory and the GIL.
NOT_IN_WORKERS = (
    "yaml",
    "aiohttp",
    "opentelemetry",
    "google",
    "grpc",
    "requests",
    "urllib3",
    "multiprocessing",
    "understudy.config.load",
)


def wrong_imports(folder: str, source: str, module: str, is_package: bool = False) -> list[str]:
    """What a module of a folder imports and may not."""
    return [
        name
        for name in imports_of(source, module, is_package)
        if _within(name, NEVER[folder])
        or not (name.split(".")[0] in sys.stdlib_module_names or _within(name, MAY[folder]))
    ]


def _within(name: str, roots: set[str]) -> bool:
    return any(name == root or name.startswith(root + ".") for root in roots)


@pytest.mark.parametrize("path", sources(*PARTS), ids=module_of)
def test_imports_go_one_way(path: Path) -> None:
    module = module_of(path)
    found = wrong_imports(module.split(".")[1], path.read_text(), module, path.name == "__init__.py")
    assert not found, f"{module} imports {', '.join(found)}"


def test_a_wrong_import_is_found() -> None:
    assert wrong_imports("filters", "from ..config import schema", "understudy.filters.x") == [
        "understudy.config.schema"
    ]
    assert wrong_imports("filters", "def f():\n    import yaml", "understudy.filters.x") == ["yaml"]
    assert wrong_imports("filters", "from . import api", "understudy.filters", True) == []
    assert wrong_imports("config", "from ..proxy.plane import DataPlane", "understudy.config.x") == [
        "understudy.proxy.plane.DataPlane"
    ]
    assert wrong_imports("config", "from ..filters.api import Filter\nimport json, socket", "understudy.config.x") == [
        "socket"
    ]
    assert wrong_imports("proxy", "from .. import cli", "understudy.proxy.admin.x") == []
    assert wrong_imports("proxy", "from tests.kit import raw", "understudy.proxy.x") == ["tests.kit.raw"]


def loaded_by(statement: str) -> set[str]:
    """The modules of a fresh interpreter after a statement."""
    script = f"{statement}\nimport sys\nprint(*sys.modules, sep='\\n')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30)
    return set(done.stdout.split())


def test_workers_load_no_yaml_no_http_framework_and_no_telemetry_sdk() -> None:
    loaded = loaded_by("import understudy.proxy.worker")
    assert "understudy.proxy.pipeline" in loaded, "the worker is the data plane's composition root"
    for name in NOT_IN_WORKERS:
        assert not [each for each in loaded if each == name or each.startswith(name + ".")], f"workers load {name}"


def test_filters_load_without_config_and_proxy() -> None:
    loaded = loaded_by("import understudy.filters")
    assert not [name for name in loaded if name.startswith(("understudy.config", "understudy.proxy", "asyncio"))]


def test_control_without_export_loads_nothing_of_telemetrys_sdk() -> None:
    loaded = loaded_by("import understudy.proxy.control")
    assert "understudy.proxy.telemetry.export.export" in loaded
    for name in ("opentelemetry", "google", "grpc", "requests"):
        assert not [each for each in loaded if each == name or each.startswith(name + ".")], f"control loads {name}"


@pytest.mark.parametrize(("protocol", "other"), [("http/protobuf", "grpc"), ("grpc", "requests")])
def test_an_export_loads_its_own_protocol_alone(protocol: str, other: str) -> None:
    loaded = loaded_by(
        "from understudy.proxy.telemetry.export import exporters, plan\n"
        f"values = 'http://127.0.0.1:1', {protocol!r}, (), 'none', 1.0, None, None, None, None\n"
        "exporters.sending(plan.Target('traces', *values))\n"
        "exporters.sending(plan.Target('metrics', *values))"
    )
    assert "opentelemetry" in loaded
    assert other not in loaded
