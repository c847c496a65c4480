"""One program for all faults, a scene for each test, and the table at the end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from .site import Scene, Site, site
from .table import rows_of, text_of, write_json

FULL = os.environ.get("LENGTH") == "full"
_FOLDER = Path(__file__).parent
_RESULTS = _FOLDER.parent.parent / "bench" / "results" / "faults.json"


def pytest_configure(config: pytest.Config) -> None:
    """The marker that makes a test a line of the table."""
    config.addinivalue_line(
        "markers", "fault(number, title, backend={}, route={}, endpoints=1, listen=True): provokes one fault"
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that fails before it begins is a line of the table too."""
    for item in items:
        mark = item.get_closest_marker("fault")
        if mark is not None:
            item.user_properties.append(("fault", {"number": mark.args[0], "title": mark.args[1], "test": item.name}))


@pytest.fixture(scope="session")
def faults_site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The whole program with a route for every fault."""
    with site(request.session.items, tmp_path_factory.mktemp("faults")) as running:
        yield running


@pytest.fixture
def scene(request: pytest.FixtureRequest, faults_site: Site) -> Iterator[Scene]:
    """The test's own backend and route; the program's log must stay free of alarms."""
    row = next(value for name, value in request.node.user_properties if name == "fault")
    alarms = len(faults_site.alarms())
    scene = Scene(faults_site, faults_site.parts[request.node.nodeid], row)
    try:
        yield scene
    finally:
        scene.close()
    assert faults_site.alarms()[alarms:] == []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The table, on screen and, for the full length, as JSON."""
    rows = rows_of(terminalreporter.stats)
    if rows:
        terminalreporter.section("faults")
        terminalreporter.write(text_of(rows))
        if FULL:
            write_json(rows, _RESULTS)
