"""Questions to a running program, and to the machine about it."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

from .program import Program


def get(url: str, headers: dict[str, str] | None = None) -> tuple[int, str]:
    """Status and body of a GET, whatever the status."""
    request = urllib.request.Request(url, headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, refused.read().decode()


def status(program: Program) -> dict[str, Any]:
    """What `GET /status` says now."""
    found: dict[str, Any] = json.loads(get(program.url("admin") + "/status")[1])
    return found


def until(condition: Callable[[], bool], within_s: float = 10.0) -> None:
    """Ask again until it holds; each question is a round trip to the program, which needs no sleep in between."""
    deadline = monotonic() + within_s
    while not condition():
        assert monotonic() < deadline, "it never came true"
        threading.Event().wait(0.01)


def worker_pids(program: Program) -> list[int]:
    """Process ids of the workers that live now."""
    return [each["pid"] for each in status(program)["processes"] if each["name"] != "control"]


def exists(pid: int) -> bool:
    """Whether the process lives; one that nobody has waited for yet does not."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def refused(address: tuple[str, int]) -> bool:
    """Whether nobody listens there."""
    try:
        socket.create_connection(address, timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False


def understudy(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    command = [sys.executable, "-m", "understudy.proxy.cli", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=30, check=False)
