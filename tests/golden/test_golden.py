"""What the operator reads: every file in `cases/`, and the exact text beside it.

After a deliberate change of wording: `GOLDEN=write pytest tests/golden`, then read the difference.
"""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path

import pytest
from understudy.config.load import load_bytes

CASES = Path(__file__).parent / "cases"


@pytest.mark.parametrize("case", sorted(CASES.glob("*.yaml")), ids=lambda case: case.stem)
def test_the_operator_reads(case: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [each for each in os.environ if each.startswith("OTEL_")]:
        monkeypatch.delenv(name)
    loaded = load_bytes(case.read_bytes(), file=case.name, base=str(CASES), today=date(2030, 1, 1))
    said = [*map(str, loaded.mistakes), *(f"{warning} (warning)" for warning in loaded.warnings)]
    assert (loaded.document is None) == bool(loaded.mistakes)
    assert all(mistake.line is not None for mistake in loaded.mistakes + loaded.warnings)
    text = "".join(f"{line}\n" for line in said)
    expected = case.with_suffix(".txt")
    if os.environ.get("GOLDEN") == "write":
        expected.write_text(text)
    assert text == expected.read_text()
    assert "hunter" not in text  # what stands where a secret may stand
