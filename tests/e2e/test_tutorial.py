"""The README's tutorial, every command as it stands there, in one shell."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

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
            output, _ = shell.communicate(commands(), timeout=90)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGKILL)

    assert shell.returncode == 0, output
    said = [
        '{"name":"iris","ready":true}',
        "valid: 1 listener, 2 backends, 1 route",
        "x-understudy-backend: stable",
        '"model_version":"7"',
        '"model_version":"8"',
        "flag dogfood: backend canary",
        "600 answers to 200 users: stable 600",
        "-> slower by",
        "stable@7  canary@8.1",
        "split iris-8: arm canary",
        "\n0\n",
        "200 answers to 200 users: canary 200",
    ]
    positions = [output.find(each) for each in said]
    assert -1 not in positions, output
    assert positions == sorted(positions), output
    assert output.count("users who met more than one backend: 0") == 5, output
