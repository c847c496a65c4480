"""How moments are told, and by one module alone."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from understudy.proxy.iso_time import now_text, time_text

from tests.architecture.tree import PARTS, sources


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0.0, "1970-01-01T00:00:00.000Z"),
        (1_767_225_599.9995, "2025-12-31T23:59:59.999Z"),
        (0.25, "1970-01-01T00:00:00.250Z"),
    ],
)
def test_a_moment_is_told_to_the_millisecond_in_utc(seconds: float, told: str) -> None:
    assert time_text(seconds) == told


def test_now_is_told_to_the_second() -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    told = now_text()
    assert told.endswith("Z") and "." not in told
    assert before <= datetime.fromisoformat(told) <= datetime.now(UTC)


def test_no_other_module_has_a_form_of_its_own() -> None:
    own = [path.name for path in sources(*PARTS) if any(each in path.read_text() for each in ("timespec", "strftime"))]
    assert own == ["iso_time.py"]
