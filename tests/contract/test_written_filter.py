"""docs/write-a-filter.md, tried as written: its files, its lines in the table, its test and the contract suite."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "write-a-filter.md"
_FILE = re.compile(r"`([a-z_/]+\.py)`:\n\n```python\n(.*?)```", re.DOTALL)  # noqa: TID251 - over our own page
_TABLE = re.compile(r"`(filters/__init__\.py)`[^\n]*\n\n```diff\n(.*?)```", re.DOTALL)  # noqa: TID251 - likewise


def with_additions(source: str, diff: str) -> str:
    """Insert the added lines of a diff: an import among the imports, any other right after the context before it."""
    anchor = "\nFILTERS"
    for line in diff.splitlines():
        if line.startswith("+from "):
            at = source.rindex("\nfrom ") + 1
            source = source[:at] + line[1:] + "\n" + source[at:]
        elif line.startswith("+"):
            at = source.index("\n", source.index(anchor) + 1) + 1
            source = source[:at] + line[1:] + "\n" + source[at:]
        else:
            assert line[1:] in source, f"the diff's context is stale: {line[1:]}"
            anchor = line[1:]
    return source


def test_the_filter_of_the_page_works_as_written(tmp_path: Path) -> None:
    text = PAGE.read_text()
    (tmp_path / "understudy").mkdir()
    for part in ("filters", "config", "proxy"):
        shutil.copytree(ROOT / part, tmp_path / "understudy" / part)
    shutil.copytree(ROOT / "tests", tmp_path / "tests", ignore=shutil.ignore_patterns("proxy", "e2e", "wire", "fuzz"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    files = dict(_FILE.findall(text))
    assert sorted(path.split("/")[0] for path in files) == ["filters", "tests"]
    for path, code in files.items():
        place = tmp_path / path if path.startswith("tests/") else tmp_path / "understudy" / path
        place.write_text(code)
    ((table, diff),) = _TABLE.findall(text)
    place = tmp_path / "understudy" / table
    place.write_text(with_additions(place.read_text(), diff))

    own = [path for path in files if path.startswith("tests/")]
    suite = ["tests/contract/test_schemas.py", "tests/contract/test_filters.py"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", *own, *suite],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    tag = Path(own[0]).stem.removeprefix("test_")
    assert f"test_every_life_of_an_exchange_passes_through_it[{tag}-" in done.stdout, (
        "the contract suite did not see it"
    )
