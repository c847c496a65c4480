"""What `understudy diff` says: every file in `diff/` against `diff/old.yaml`, and the exact text beside it.

After a deliberate change of wording: `GOLDEN=write pytest tests/golden`, then read the difference.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest
from understudy.config.difference import Difference
from understudy.proxy.cli import parser
from understudy.proxy.commands import diff

FOLDER = Path(__file__).parent / "diff"
OLD = FOLDER / "old.yaml"
CASES = sorted(path for path in FOLDER.glob("*.yaml") if path != OLD)


def differs(old: Path, new: Path, *more: str) -> int:
    return diff(parser().parse_args(["diff", str(old), str(new), *more]))


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNDERSTUDY_GOLDEN_SECRET", "sixteen letters and more")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_the_operator_reads(case: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = differs(OLD, case)
    text = f"{capsys.readouterr().out}= {status}\n"
    expected = case.with_suffix(".txt")
    if os.environ.get("GOLDEN") == "write":
        expected.write_text(text)
    assert text == expected.read_text()
    assert "hunter" not in text
    assert status == (0 if case.stem == "same" else 1)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_the_json_holds_what_the_words_say(case: Path, capsys: pytest.CaptureFixture[str]) -> None:
    differs(OLD, case)
    words = capsys.readouterr().out
    differs(OLD, case, "--json")
    told = capsys.readouterr().out
    assert msgspec.json.decode(told, type=Difference).words() + "\n" == words
    assert "hunter" not in told


def test_an_invalid_file_is_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text(OLD.read_text().replace("canary: 10", "cannary: 10"))
    assert differs(OLD, bad) == differs(bad, OLD) == differs(OLD, tmp_path / "absent.yaml") == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count('"cannary" is no backend') == 2
