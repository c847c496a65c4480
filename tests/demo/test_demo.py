"""`make demo`'s program, run as a newcomer runs it, and run where something is broken."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from demo import __main__, lineup

REPOSITORY = Path(__file__).parents[2]


@contextmanager
def demo(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The demo as a process of its own, killed if it is still there in the end."""
    command = [sys.executable, "-m", "demo", *arguments]
    with subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def pids(output: str) -> list[int]:
    return [int(number) for number in re.findall(r"pid (\d+)", output)]


def test_it_shows_everything_and_leaves_nothing_running() -> None:
    with demo("--seconds", "2") as process:
        output, _ = process.communicate(timeout=50)

    assert process.returncode == 0, output
    in_order = [
        "\n  stable  version 7",
        "\n  canary  version 8",
        "\n  next    version 9",
        "x-understudy-backend: stable",
        "x-understudy-backend: canary",
        "set-cookie: arm=",
        "Most· likely· Iris· virginica",
        "$ understudy explain --running POST /v2/models/iris/infer -H 'x-user-id: ada'",
        "split iris-8: arm stable",
        "mirrored  changed arm",
        "users belong to stable and",
        "400 answers, compared with what their models say without the proxy; wrong: 0",
        "$ understudy status",
        "PAIRS",
        "\nnext@9 is ",
        "while it heard nothing.",
        "Stopping:",
        "Everything answered",
    ]
    positions = [output.find(each) for each in in_order]
    assert -1 not in positions, output
    assert positions == sorted(positions), output
    assert len(set(pids(output))) == 4
    assert [pid for pid in pids(output) if Path(f"/proc/{pid}").exists()] == []


def test_ports_in_use_are_exchanged() -> None:
    with socket.socket() as busy:
        busy.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            busy.bind(("127.0.0.1", 7080))
            busy.listen()
        except OSError:
            pass  # somebody else has it, which is the same to the demo
        with demo("--seconds", "1") as process:
            output, _ = process.communicate(timeout=50)

    assert process.returncode == 0, output
    assert "ingress http://127.0.0.1:7080" not in output


def test_a_signal_stops_everything() -> None:
    with demo("--seconds", "30") as process:
        assert process.stdout is not None
        output = ""
        for line in process.stdout:
            output += line
            if "Load:" in line:
                break
        process.send_signal(signal.SIGTERM)
        rest, _ = process.communicate(timeout=40)

    assert process.returncode == 130, output + rest
    assert len(set(pids(output))) == 4
    assert [pid for pid in pids(output) if Path(f"/proc/{pid}").exists()] == []


def test_it_stays_and_says_what_to_try() -> None:
    with demo("--seconds", "0.5", "--stay") as process:
        assert process.stdout is not None
        output = ""
        for line in process.stdout:
            output += line
            if "/compare" in line:
                break
        commands = re.findall(r"^  \$ (.*)$", output, re.MULTILINE)
        tried = subprocess.run(
            ["bash", "-ec", "\n".join(each for each in commands if "--watch" not in each)],
            cwd=REPOSITORY,
            check=False,
            capture_output=True,
            text=True,
            timeout=30,
            env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        )
        process.send_signal(signal.SIGTERM)
        rest, _ = process.communicate(timeout=40)

    assert tried.returncode == 0, tried.stdout + tried.stderr
    assert "split iris-8: arm" in tried.stdout
    assert '"schema":"understudy.compare/1"' in tried.stdout
    assert process.returncode == 0, output + rest


def test_a_model_that_dies_fails_the_demo(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    stable, canary, shadow = lineup.LINEUPS["builtin"].models
    broken = shadow._replace(command=(sys.executable, "-c", "raise SystemExit('no memory for the model')"))
    scene = lineup.LINEUPS["builtin"]._replace(models=(stable, canary, broken))
    monkeypatch.setattr(__main__, "LINEUPS", {"builtin": scene})

    status = __main__.main([])

    assert status == 1
    assert "no memory for the model" in capfd.readouterr().err
