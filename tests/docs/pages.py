"""README and the pages in docs/ as the tests of them read them: fenced blocks, headings and links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)  # noqa: TID251 - over our own pages
_INLINE = re.compile(r"^cat >\S+ <<'YAML'\n(.*?)^YAML$", re.MULTILINE | re.DOTALL)  # noqa: TID251 - likewise
_LINK = re.compile(r"\]\(([^)\s]+)\)")  # noqa: TID251 - likewise
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)  # noqa: TID251 - likewise
_QUESTION = re.compile(r"\| `([^`]*(?:\(|\{)[^`]*)` \|")  # noqa: TID251 - likewise
_NOT_IN_ANCHORS = re.compile(r"[^\w\- ]")  # noqa: TID251 - likewise


class Block(NamedTuple):
    """A fenced block: its page, line, language and text."""

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    """Every fenced block, and files that a block of commands writes."""
    text = page.read_text("utf-8")
    for found in _FENCED.finditer(text):
        line = text.count("\n", 0, found.start()) + 2
        yield Block(page.name, line, found[1], found[2])
        for inner in _INLINE.finditer(found[2]):
            yield Block(page.name, line + found[2].count("\n", 0, inner.start()) + 1, "yaml", inner[1])


def all_blocks(language: str) -> list[Block]:
    """Those of every page in one language; "" are those without one."""
    return [block for page in PAGES for block in blocks(page) if block.language == language]


def prose(page: Path) -> str:
    """The page without its fenced blocks."""
    return _FENCED.sub("", page.read_text("utf-8"))


def links(page: Path) -> list[str]:
    """The targets of its links."""
    return _LINK.findall(prose(page))


def anchors(page: Path) -> set[str]:
    """What a link into it may name, as GitHub makes it of a heading."""
    return {_NOT_IN_ANCHORS.sub("", heading.lower()).replace(" ", "-") for heading in _HEADING.findall(prose(page))}


def questions() -> list[str]:
    """What docs/metrics.md asks Prometheus."""
    return _QUESTION.findall((ROOT / "docs" / "metrics.md").read_text("utf-8"))
