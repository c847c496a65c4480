"""One program for each module of wire tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .harness import Harness, harness


@pytest.fixture(scope="module")
def wire(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    """The whole program between a raw client and a raw backend; its log must stay free of alarms."""
    with harness(tmp_path_factory.mktemp("wire")) as running:
        yield running
        assert running.alarms() == []
