"""Lock files hold names, versions and hashes, and nothing of the place where they were made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.architecture.tree import ROOT

LOCKS = sorted([*ROOT.glob("*.lock"), *ROOT.glob("demo/*/*.lock")])


NPM = sorted(ROOT.glob("tests/**/package-lock.json"))


def foreign(lines: list[str]) -> list[str]:
    """Lines that name an index, a link or a path."""
    return [
        line
        for line in lines
        if "://" in line or " @ " in line or (line.strip().startswith(("-", "/", ".")) and "--hash=" not in line)
    ]


def test_there_are_lock_files() -> None:
    assert [path.name for path in LOCKS if path.name == "requirements.lock"]


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.name)
def test_a_lock_file_holds_no_urls(path: Path) -> None:
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    assert not foreign(lines)
    assert "://" not in path.read_text()


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.name)
def test_every_requirement_is_pinned_and_hashed(path: Path) -> None:
    text = path.read_text().replace("\\\n", " ")
    pins = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    assert pins
    assert not [line.split()[0] for line in pins if "==" not in line or "--hash=sha256:" not in line]


@pytest.mark.parametrize("path", NPM, ids=lambda path: path.parent.name)
def test_a_lock_file_of_npm_holds_hashes_and_no_urls(path: Path) -> None:
    assert "://" not in path.read_text()
    packages = json.loads(path.read_text())["packages"]
    assert len(packages) > 1
    for name, package in packages.items():
        assert "resolved" not in package
        assert not name or package["integrity"].startswith("sha512-"), name


def test_a_url_is_found() -> None:
    assert foreign(["--index-url https://example.test", "-e .", "a @ file", "b==1 \\", "    --hash=sha256:0"]) == [
        "--index-url https://example.test",
        "-e .",
        "a @ file",
    ]
