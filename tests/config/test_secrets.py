"""Secrets by reference: found, read, put in their places; told of, never told."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from understudy.config.secrets import MAX_BYTES, find, read, resolved
from understudy.filters.headers import HeadersConfig
from understudy.filters.units import SecretRef


def test_a_variable_and_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL_TOKEN", "from the environment")
    (tmp_path / "token").write_bytes(b"from a file\r\n")
    assert read(SecretRef(env="MODEL_TOKEN"), str(tmp_path)) == "from the environment"
    assert read(SecretRef(file="token"), str(tmp_path)) == "from a file"
    assert read(SecretRef(file=str(tmp_path / "token")), "/") == "from a file"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "empty"),
        (b"\n", "empty"),
        (b"\xff", "no UTF-8"),
        (b"s3cret" * MAX_BYTES, "larger than 64 KiB"),
        (None, "No such file"),
    ],
)
def test_a_file_that_gives_no_secret(tmp_path: Path, content: bytes | None, text: str) -> None:
    if content is not None:
        (tmp_path / "token").write_bytes(content)
    with pytest.raises(ValueError, match=text) as caught:
        read(SecretRef(file="token"), str(tmp_path))
    assert "s3cret" not in str(caught.value)


def test_a_variable_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MODEL_TOKEN", raising=False)
    with pytest.raises(ValueError, match="no variable MODEL_TOKEN"):
        read(SecretRef(env="MODEL_TOKEN"), "/")


def test_a_filter_finds_text_where_the_yaml_held_a_reference(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cret")
    written = {
        "type": "headers",
        "request": {"set": {"authorization": {"file": "token"}, "x-a": "b"}, "remove": ["x-c"]},
    }
    config = msgspec.convert(written, HeadersConfig)
    assert list(find(config)) == [(("request", "set", "authorization"), SecretRef(file="token"))]
    built = resolved(config, str(tmp_path))
    assert built.request.set == {"authorization": "s3cret", "x-a": "b"}
    assert built.request.remove == ("x-c",)
    assert config.request.set["authorization"] == SecretRef(file="token")


def test_what_holds_no_reference_is_left_alone() -> None:
    config = msgspec.convert({"type": "headers", "request": {"set": {"x-a": "b"}}}, HeadersConfig)
    assert resolved(config, "/") is config
