"""What README.md says of the code is true: every file and function on its list of a request's life exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.architecture.tree import PARTS, ROOT, defined_in, sources

HEADING = "The life of a request"
_QUOTED = re.compile(r"`([^`]+)`")  # noqa: TID251 - a constant pattern over our own page
_ITEM = re.compile(r"^\d+\. ", re.MULTILINE)  # noqa: TID251 - likewise
_NAME = re.compile(r"([A-Za-z_][A-Za-z0-9_]*\.)*[A-Za-z_][A-Za-z0-9_]*(\(\))?")  # noqa: TID251 - likewise


def items_of(page: str) -> list[str]:
    """The numbered items of the section."""
    _, found, rest = page.partition(f"# {HEADING}\n")
    assert found, f"README.md has no section {HEADING!r}"
    section = re.split(r"^#+ ", rest, maxsplit=1, flags=re.MULTILINE)[0]
    return _ITEM.split(section)[1:]


def untrue(item: str, root: Path = ROOT) -> list[str]:
    """What an item names in backticks that does not exist: files of the tree, and functions and classes.

    A lower-case name must be defined in a file that the item names; a CamelCase one may be anywhere in the tree.
    """
    words = _QUOTED.findall(item)
    paths = [root / word for word in words if word.endswith(".py")]
    missing = [str(path.relative_to(root)) for path in paths if not path.is_file()]
    here = set().union(*(defined_in(path.read_text()) for path in paths if path.is_file()))
    anywhere = set().union(*(defined_in(path.read_text()) for path in sources(*PARTS)))
    for word in words:
        if word.endswith(".py") or not _NAME.fullmatch(word):
            continue
        for name in word.removesuffix("()").split("."):
            if name not in here and not (name[0].isupper() and name in anywhere):
                missing.append(name)
    return missing


def test_the_life_of_a_request_is_told_as_it_is() -> None:
    items = items_of((ROOT / "README.md").read_text())
    assert len(items) >= 8
    for number, item in enumerate(items, 1):
        assert ".py`" in item, f"item {number} names no file"
        assert not untrue(item), f"item {number} names what does not exist: {', '.join(untrue(item))}"


@pytest.mark.parametrize(
    ("item", "missing"),
    [
        ("`config/routes.py` `match` finds the `Route`", []),
        ("`config/routes.py` `Router.match` finds it", []),
        ("`config/routes.py` `find` finds it", ["find"]),
        ("`config/roads.py`", ["config/roads.py"]),
        ("`filters/api.py` `Exchanges`", ["Exchanges"]),
        ("`filters/api.py` `match`", ["match"]),
    ],
)
def test_an_item_that_went_stale_is_found(item: str, missing: list[str]) -> None:
    assert untrue(item) == missing


def test_items_end_with_their_section() -> None:
    page = f"# A\n1. `x.py`\n## {HEADING}\nIntro.\n\n1. one\n   more\n2. two\n\n## Next\n3. three\n"
    assert items_of(page) == ["one\n   more\n", "two\n\n"]
