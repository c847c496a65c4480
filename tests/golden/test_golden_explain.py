"""What `understudy explain` says: every transcript in `explain/`, its questions asked of `explain/site.yaml`.

After a deliberate change of wording: `GOLDEN=write pytest tests/golden`, then read the difference.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from understudy.config.explanation import Explanation
from understudy.proxy.cli import parser
from understudy.proxy.commands import explain

FOLDER = Path(__file__).parent / "explain"


def questions(transcript: str) -> Iterator[str]:
    return (line.removeprefix("$ ") for line in transcript.splitlines() if line.startswith("$ "))


def asked(question: str, *more: str) -> int:
    return explain(parser().parse_args(["explain", "-c", str(FOLDER / "site.yaml"), *shlex.split(question), *more]))


@pytest.mark.parametrize("transcript", sorted(FOLDER.glob("*.txt")), ids=lambda path: path.stem)
def test_the_operator_reads(transcript: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = ""
    for question in questions(transcript.read_text()):
        status = asked(question)
        text += f"$ {question}\n{capsys.readouterr().out}= {status}\n\n"
    if os.environ.get("GOLDEN") == "write":
        transcript.write_text(text)
    assert text == transcript.read_text()


def test_the_json_holds_what_the_words_say(capsys: pytest.CaptureFixture[str]) -> None:
    for transcript in FOLDER.glob("*.txt"):
        for question in questions(transcript.read_text()):
            asked(question)
            words = capsys.readouterr().out
            asked(question, "--json")
            assert msgspec.json.decode(capsys.readouterr().out, type=Explanation).words() + "\n" == words
