"""The program's own secret: where it is kept, how it is made, and what is no secret."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import Any

import msgspec
import pytest
from understudy.config.load import Loaded, load_bytes
from understudy.config.own_secret import known, read, resolve
from understudy.config.schema import Document, convert
from understudy.filters.units import SecretRef

SMALLEST: dict[str, Any] = {
    "listeners": {"ingress": {"bind": "127.0.0.1:7080"}},
    "backends": {"model": {"endpoints": ["http://127.0.0.1:9001"]}},
    "routes": [{"name": "everything", "match": {"path_prefix": "/"}, "backend": "model"}],
}


def document(**changes: Any) -> Document:
    return convert(SMALLEST | changes)


def loaded(base: Path, **changes: Any) -> Loaded:
    return load_bytes(msgspec.json.encode(SMALLEST | changes), file="u.yaml", base=str(base))


def test_nowhere_kept() -> None:
    assert resolve(document(), "/") is None
    assert resolve(document(stores={"ledger": "memory://"}), "/") is None


def test_a_missing_file_is_made_for_its_owner_alone_and_found_again(tmp_path: Path) -> None:
    kept = document(secret={"file": "own.secret"})
    assert known(kept, str(tmp_path)) is None
    first = resolve(kept, str(tmp_path))
    assert first is not None
    assert len(first) == 32
    file = tmp_path / "own.secret"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(bytes.fromhex(file.read_text())) == 32
    assert resolve(kept, str(tmp_path)) == known(kept, str(tmp_path)) == first
    assert os.listdir(tmp_path) == ["own.secret"]
    assert resolve(document(secret={"file": "other"}), str(tmp_path)) != first


def test_beside_the_ledger_of_sqlite(tmp_path: Path) -> None:
    kept = document(stores={"ledger": f"sqlite://{tmp_path}/ledger.db"})
    first = resolve(kept, "/nowhere")
    assert (tmp_path / "ledger.db.secret").exists()
    assert resolve(kept, "/elsewhere") == first


def test_validate_makes_nothing(tmp_path: Path) -> None:
    assert loaded(tmp_path, secret={"file": "own.secret"}).mistakes == []
    assert os.listdir(tmp_path) == []


def test_32_bytes_are_taken_as_they_are_and_others_are_digested(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = bytes(range(224, 255)) + b"\n"
    (tmp_path / "raw").write_bytes(raw)
    (tmp_path / "text").write_bytes(b"sixteen letters!\r\n")
    monkeypatch.setenv("OWN_SECRET", "sixteen letters!")
    digested = hashlib.sha256(b"sixteen letters!").digest()
    assert read(SecretRef(file="raw"), str(tmp_path)) == raw
    assert read(SecretRef(file="text"), str(tmp_path)) == digested == read(SecretRef(env="OWN_SECRET"), "/")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "has 0 bytes; allowed: 16 or more"),
        (b"hunter2 hunter2\n", "has 15 bytes; allowed: 16 or more"),
        (b"hunter2 " * 8193, "is larger than 64 KiB"),
    ],
)
def test_what_is_no_secret(tmp_path: Path, content: bytes, text: str) -> None:
    (tmp_path / "own.secret").write_bytes(content)
    (mistake,) = loaded(tmp_path, secret={"file": "own.secret"}).mistakes
    assert (mistake.path, mistake.line) == ("secret", 1)
    assert text in mistake.text
    assert "hunter" not in mistake.text
    with pytest.raises(ValueError, match=text):
        resolve(document(secret={"file": "own.secret"}), str(tmp_path))


def test_a_variable_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("OWN_SECRET", raising=False)
    (mistake,) = loaded(tmp_path, secret={"env": "OWN_SECRET"}).mistakes
    assert mistake.text == "the environment has no variable OWN_SECRET"


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    (mistake,) = loaded(tmp_path, secret={"file": "nowhere/own.secret"}).mistakes
    assert mistake.text == "the file nowhere/own.secret cannot be made: its folder is missing"
    with pytest.raises(ValueError, match=r"nowhere/own\.secret cannot be made: No such file or directory"):
        resolve(document(secret={"file": "nowhere/own.secret"}), str(tmp_path))


def test_no_folder_for_the_ledger_and_its_secret(tmp_path: Path) -> None:
    (mistake,) = loaded(tmp_path, stores={"ledger": f"sqlite://{tmp_path}/nowhere/ledger.db"}).mistakes
    assert (mistake.path, "cannot be made: its folder is missing" in mistake.text) == ("stores.ledger", True)


@pytest.mark.parametrize(("mode", "count"), [(0o600, 0), (0o400, 0), (0o640, 1), (0o604, 1), (0o620, 1)])
def test_a_file_that_others_may_read(tmp_path: Path, mode: int, count: int) -> None:
    file = tmp_path / "own.secret"
    file.write_text("sixteen letters!")
    file.chmod(mode)
    told = loaded(tmp_path, secret={"file": "own.secret"}).warnings
    assert [(each.path, f"mode {mode:04o}" in each.text) for each in told] == [("secret", True)] * count
