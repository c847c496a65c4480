"""The lock files agree with each other and with the project."""

from __future__ import annotations

import tomllib
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


def pins(lock: Path) -> dict[str, set[str]]:
    """Name to versions, of which there are several where markers choose."""
    found: dict[str, set[str]] = {}
    for line in lock.read_text().splitlines():
        name, equals, version = line.partition(";")[0].rstrip(" \\").partition("==")
        if equals:
            found.setdefault(name, set()).add(version)
    return found


def test_what_runs_is_what_is_tested() -> None:
    run, dev, bench = (pins(REPOSITORY / f"requirements{part}.lock") for part in ("", "-dev", "-bench"))

    assert run.items() <= dev.items()
    assert run.items() <= bench.items()


def test_every_dependency_is_locked() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]

    def missing(wanted: list[str], lock: str) -> set[str]:
        names = {each.partition(">")[0].partition("=")[0].partition("[")[0].lower() for each in wanted}
        return names - pins(REPOSITORY / lock).keys()

    assert missing(project["dependencies"] + extras["build"], "requirements.lock") == set()
    assert missing(extras["dev"], "requirements-dev.lock") == set()
    assert missing(extras["bench"], "requirements-bench.lock") == set()
