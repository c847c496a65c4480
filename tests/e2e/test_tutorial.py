"""The README's tutorial, every command as it stands there, in one shell."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e

REPOSITORY = Path(__file__).parents[2]


def commands() -> str:
    """The `sh` blocks of the section, in order."""
    readme = (REPOSITORY / "README.md").read_text()
    section = re.search(r"^## Tutorial.*?(?=^## |\Z)", readme, re.MULTILINE | re.DOTALL)
    assert section is not None, "README.md has no section that begins with Tutorial"
    return "\n".join(re.findall(r"^```sh\n(.*?)^```", section.group(), re.MULTILINE | re.DOTALL))


def test_the_tutorial_does_what_it_says() -> None:
    # A group of its own: whatever the tutorial started ends with it, even when it broke off.
    with subprocess.Popen(
        ["bash", "-e"],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as shell:
        try:
            output, _ = shell.communicate(commands(), timeout=50)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGKILL)

    assert shell.returncode == 0, output
    said = [
        '{"name":"iris","ready":true}',
        "valid: 1 listener, 2 backends, 2 routes",
        "backend canary version 8: 127.0.0.1:9002",
        '"model_version":"7"',
        '"model_version":"8"',
        '"reason":"connect_failed"',
        "\n200\n",
        "ROUTE",
    ]
    positions = [output.find(each) for each in said]
    assert -1 not in positions, output
    assert positions == sorted(positions), output
