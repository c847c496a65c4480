"""README and docs/ say what is: links lead somewhere, screens are the program's, tables are complete."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from understudy.filters.mirror import Budget, Shadow
from understudy.proxy.cli import parser
from understudy.proxy.shadow import CENSORING
from understudy.proxy.telemetry.exposition import prometheus_name
from understudy.proxy.telemetry.families import TABLE

from tests.kit.dashboard import selected

from .pages import PAGES, ROOT, Block, all_blocks, anchors, links, prose, questions

SCREENS = [path.read_text() for path in sorted((ROOT / "tests" / "golden" / "screens").glob("*.txt"))]
_FAMILY = re.compile(r"`((?:understudy|http|process|gen_ai)_[a-z_]+[a-z])`")  # noqa: TID251 - over our own sources
_REASON = re.compile(r'return "([a-z_]+)"')  # noqa: TID251 - likewise
EXPLAINED = [
    (block, told.partition("\n"))
    for block in all_blocks("")
    for told in block.text.split("$ understudy ")[1:]
    if told.startswith("explain -c understudy.yaml")
]


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text("utf-8")


@pytest.mark.parametrize("source", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(source: Path) -> None:
    for link in links(source):
        target, _, anchor = link.partition("#")
        if "://" in link:
            continue
        place = (source.parent / target).resolve() if target else source
        assert place.exists(), f"{source.name}: {link}"
        assert not anchor or anchor in anchors(place), f"{source.name}: {link}: {place.name} has no such heading"


def test_every_page_is_linked_from_readme() -> None:
    linked = {link.partition("#")[0] for link in links(ROOT / "README.md")}
    assert {f"docs/{path.name}" for path in PAGES if path.name != "README.md"} <= linked


def test_readme_stays_short() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 350


@pytest.mark.parametrize(
    "block",
    [each for each in all_blocks("") if each.page != "README.md" and each.text.startswith(("understudy 0", "ROUTE "))],
    ids=str,
)
def test_a_screen_is_one_of_the_tested_ones(block: Block) -> None:
    assert any(block.text in screen for screen in SCREENS)


@pytest.mark.parametrize(("block", "told"), EXPLAINED, ids=[str(block) for block, _ in EXPLAINED])
def test_explain_says_so(block: Block, told: tuple[str, str, str], tmp_path: Path) -> None:
    question, _, answer = told
    shutil.copy(ROOT / "config" / "examples" / "understudy.yaml", tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "understudy.proxy.cli", *shlex.split(question)],
        cwd=tmp_path, env=os.environ, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.stdout == answer, done.stderr


def test_pictures_are_small_and_shown() -> None:
    pictures = sorted((ROOT / "docs" / "images").iterdir())
    assert [path.name for path in pictures] == ["mlflow.png", "phoenix.png"]
    for path in pictures:
        data = path.read_bytes()
        assert data.startswith(b"\x89PNG")
        assert int.from_bytes(data[16:20]) == 1280, path.name
        assert len(data) <= 200_000, path.name
        assert f"images/{path.name}" in links(ROOT / "docs" / "see-traces.md")


def test_every_command_is_told() -> None:
    commands = next(action.choices for action in parser()._actions if action.choices)
    assert commands
    for name in commands:
        assert f"| `understudy {name}" in page("operating.md"), name


FAMILIES = {prometheus_name(each.name, each.unit, each.kind): each for each in TABLE}
_OF_ALL = {"route", "backend", "version", "arm"}  # which the page says once for each table of calls


@pytest.mark.parametrize("name", FAMILIES)
def test_every_metric_is_told_with_its_labels(name: str) -> None:
    entry = FAMILIES[name]
    parts = re.split(r"\n(?=\|)|\n\n", page("metrics.md"))
    told = [part for part in parts if f"`{name}`" in part and f"`{entry.name}`" in part]
    labels = set(entry.attributes) - (_OF_ALL if not entry.name.startswith("process.") else set())
    assert any(labels <= set(re.findall(r"`([a-z_]+)`", part)) for part in told), told


def test_every_metric_that_is_told_exists() -> None:
    assert set(_FAMILY.findall(page("metrics.md"))) - FAMILIES.keys() == set()


def test_every_question_to_prometheus_is_about_a_metric_of_ours() -> None:
    assert len(questions()) >= 7
    for expression in questions():
        found = selected(expression, set(FAMILIES))
        assert found
        for metric in found:
            assert metric.labels <= {*FAMILIES[metric.name].attributes}, metric


def test_every_key_of_a_mirror_is_told() -> None:
    text = prose(ROOT / "docs" / "mirroring.md")
    for name in (*Shadow.__struct_fields__, *Budget.__struct_fields__):
        assert f"`{name}`" in text or f"`{name}." in text, name


def test_every_reason_of_a_copy_is_told() -> None:
    reasons = {*CENSORING, *_REASON.findall((ROOT / "proxy" / "lane.py").read_text("utf-8"))}
    assert len(reasons) >= 8
    for reason in reasons:
        assert f"| `{reason}` |" in page("mirroring.md"), reason
