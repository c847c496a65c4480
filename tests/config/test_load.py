"""A file becomes a document, or every mistake in it; nothing in between, whatever the file says."""

from __future__ import annotations

import copy
import random
import time
from datetime import date
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from understudy.config.load import MAX_BYTES, MAX_MISTAKES, Loaded, load, load_bytes
from understudy.config.schema import Document, convert, decode, digest, encode
from understudy.config.walk import walk
from understudy.config.yaml12 import read

EXAMPLES = resources.files("understudy.config.examples")
UNDERSTUDY = EXAMPLES.joinpath("understudy.yaml").read_text()
SMALLEST = EXAMPLES.joinpath("smallest.yaml").read_text()


def loaded(text: str | bytes) -> Loaded:
    data = text.encode() if isinstance(text, str) else text
    return load_bytes(data, file="u.yaml", base="/nonexistent", today=date(2030, 1, 1))


def document_of(text: str) -> Document:
    result = loaded(text)
    assert result.mistakes == []
    assert result.document is not None
    return result.document


def test_the_contracts_file_loads_and_every_key_without_machinery_is_named() -> None:
    result = loaded(UNDERSTUDY)
    assert result.mistakes == []
    quiet = {"stores.ledger", "egress"}
    quiet |= {"routes[0].filters[1]", "routes[1].filters[0]"}
    told = {warning.path: warning for warning in result.warnings if "not active yet" in warning.text}
    assert set(told) == quiet
    lines = UNDERSTUDY.splitlines()
    assert lines[(told["egress"].line or 0) - 1].startswith("egress:")
    assert "*once" in lines[(told["routes[1].filters[0]"].line or 0) - 1]


def test_what_the_contracts_file_writes_beside_its_comments_are_the_defaults() -> None:
    written, smallest = document_of(UNDERSTUDY), document_of(SMALLEST)
    stable, model = written.backends["stable"], smallest.backends["model"]
    assert msgspec.structs.replace(stable, endpoints=model.endpoints, version="") == model
    assert msgspec.structs.replace(smallest.listeners["ingress"]) == written.listeners["ingress"]
    assert written.drain == smallest.drain
    assert written.admin.bind == smallest.admin.bind == "127.0.0.1:7081"
    assert written.workers == smallest.workers == 1
    defaults = msgspec.convert({"type": "dedup"}, type(written.routes[0].filters[1]))
    assert written.routes[0].filters[1] == defaults


def test_the_way_to_a_worker_changes_nothing() -> None:
    for text in (UNDERSTUDY, SMALLEST):
        document = document_of(text)
        assert decode(encode(document)) == document
        assert decode(loaded(text).wire) == document


def test_the_hash_speaks_of_the_document_alone() -> None:
    same = SMALLEST.replace("match: {path_prefix: /}, backend: model", "backend: &b model, match: {path_prefix: /}")
    same = f"x-piece: 1\n{same}# comment\n"
    other = SMALLEST.replace("7080", "7079")
    assert loaded(SMALLEST).hash == loaded(same).hash == digest(document_of(SMALLEST))
    assert loaded(SMALLEST).hash != loaded(other).hash


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_lines_are_counted_alike_whatever_ends_them(ending: str) -> None:
    text = SMALLEST.replace("backend: model", "backend: other").replace("\n", ending)
    assert [(each.line, each.path) for each in loaded(text).mistakes] == [(7, "routes[0].backend")]


def test_a_byte_order_mark_is_no_mistake() -> None:
    assert loaded(b"\xef\xbb\xbf" + SMALLEST.encode()).mistakes == []


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_another_encoding_is_one_mistake(encoding: str) -> None:
    (mistake,) = loaded(("# gr\N{LATIN SMALL LETTER O WITH DIAERESIS}sse\n" + SMALLEST).encode(encoding)).mistakes
    assert str(mistake) == "u.yaml:1: document: is no UTF-8 text"


def test_a_file_that_is_too_large_is_not_read_on(tmp_path: Path) -> None:
    path = tmp_path / "large.yaml"
    path.write_bytes(b"#" * (MAX_BYTES + 1))
    assert [str(each) for each in load(path).mistakes] == [f"{path}: is larger than 16 MiB"]


def test_a_file_that_is_not_there_or_no_file(tmp_path: Path) -> None:
    assert "No such file or directory" in str(load(tmp_path / "nowhere.yaml").mistakes[0])
    assert "Is a directory" in str(load(tmp_path).mistakes[0])


def test_relative_paths_start_from_the_files_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text("s3cret\n")
    (tmp_path / "u.yaml").write_text(SMALLEST + "admin: {token: {file: token}}\n")
    monkeypatch.chdir("/")
    assert load(tmp_path / "u.yaml").mistakes == []


def test_mistakes_of_form_and_of_meaning_come_out_together() -> None:
    text = SMALLEST.replace("bind: 127.0.0.1:7080", "bind: nowhere, trust: 5").replace(
        "backend: model", "backend: other, timeout: 5"
    )
    assert [each.path for each in loaded(text).mistakes] == [
        "listeners.ingress.trust",
        "listeners.ingress.bind",
        "routes[0].timeout",
        "routes[0].backend",
    ]


def test_a_generators_slip_is_told_a_thousand_times_and_no_more() -> None:
    routes = "".join(f"  - {{name: r{at}, match: {{path: /{at}}}, backend: b{at}}}\n" for at in range(3_000))
    began = time.process_time()
    mistakes = loaded(SMALLEST + routes).mistakes
    assert len(mistakes) == MAX_MISTAKES + 1
    assert str(mistakes[-1]) == "u.yaml: has more mistakes than these first 1,000"
    assert time.process_time() - began < 5


def test_a_word_without_end_is_cut() -> None:
    word = "k" * 1_000_000
    (mistake,) = loaded(SMALLEST + f"{word}: 1\n").mistakes
    assert len(str(mistake)) < 300


def test_nothing_is_said_of_what_a_stand_in_says() -> None:
    text = SMALLEST.replace("[http://127.0.0.1:9001]", "[5]").replace("127.0.0.1:7080", "5")
    assert [each.path for each in loaded(text).mistakes] == ["listeners.ingress.bind", "backends.model.endpoints[0]"]


def test_no_file_moves_the_operators_cursor() -> None:
    text = (
        SMALLEST.replace("backend: model", 'backend: "a\\x9b2J\\n"')
        + "admin: {token: {env: 'A\x85B'}}\nx-a: !a%0Ab c\n"
    )
    said = [str(mistake) for mistake in loaded(text).mistakes]
    assert len(said) == 3
    assert all(line.isprintable() for line in said)


_words: Any = st.sampled_from(
    ["", "a", "x\n", "x\x1b[2J", "stable", "10s", "8MiB", "/", "-", "\0", "{", "memory://", "fd:3", "random"]
)
_values: Any = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 200_000) | st.floats(-1, 1000) | _words,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_words, inner, max_size=2),
    max_leaves=4,
)


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) inside a value."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    found = [(value, key) for key in keys]
    return found + [inner for key in keys for inner in _places(value[key])]


@given(st.integers(0, 2**32), st.lists(_values, min_size=1, max_size=4), st.booleans())
@settings(max_examples=300, deadline=None)
def test_a_changed_value_makes_a_document_or_mistakes_with_lines(seed: int, values: list[Any], rename: bool) -> None:
    rng = random.Random(seed)
    raw = copy.deepcopy(read(UNDERSTUDY).value)
    for value in values:
        container, key = rng.choice(_places(raw))
        if rename and isinstance(container, dict):
            container[str(key)[:-1]] = container.pop(key)
        else:
            container[key] = value
    _check(yaml.safe_dump(raw, sort_keys=False))
    _check_walk({key: value for key, value in raw.items() if not key.startswith("x-")})


def _check_walk(raw: Any) -> None:
    """The walk finds something exactly where msgspec does, and what it repairs converts."""
    try:
        convert(raw)
        is_valid = True
    except msgspec.ValidationError:
        is_valid = False
    walked = walk(raw, Document)
    assert is_valid == (walked.mistakes == [])
    convert(walked.repaired)


@given(st.integers(0, 2**32), st.integers(1, 6), st.sampled_from("\n :{}[]&*!|>'\"#,-?\t0ax\0"))
@settings(max_examples=200, deadline=None)
def test_changed_bytes_make_a_document_or_mistakes_with_lines(seed: int, times: int, character: str) -> None:
    rng = random.Random(seed)
    text = UNDERSTUDY
    for _ in range(times):
        at = rng.randrange(len(text))
        text = text[:at] + character + text[at + rng.choice((0, 1, 30)) :]
    _check(text)


def _check(text: str) -> None:
    result = loaded(text)
    assert (result.document is None) == bool(result.mistakes)
    for mistake in result.mistakes + result.warnings:
        assert mistake.line is not None and 1 <= mistake.line <= text.count("\n") + 2
        assert str(mistake).startswith(f"u.yaml:{mistake.line}: ")
        assert str(mistake).isprintable()
    if result.document is not None:
        assert decode(result.wire) == result.document


@pytest.mark.parametrize(("bounds", "said"), [(100, []), (101, ["has 101 bounds; allowed: at most 100"])])
def test_the_buckets_of_metrics_are_so_many(bounds: int, said: list[str]) -> None:
    mistakes = loaded(f"{SMALLEST}telemetry: {{metrics: {{buckets: {list(range(1, bounds + 1))}}}}}\n").mistakes
    assert [each.text for each in mistakes] == said


def test_what_turns_out_wrong_later_is_said_at_the_line_of_its_key() -> None:
    found = loaded(SMALLEST)
    assert str(found.at(("listeners", "ingress", "bind"), "is taken")) == "u.yaml:3: listeners.ingress.bind: is taken"
    said = "u.yaml: admin.bind: is taken (the file does not say it: this is the default)"
    assert str(found.at(("admin", "bind"), "is taken")) == said
