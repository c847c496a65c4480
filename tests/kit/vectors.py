"""The test vectors of sticky draws, and the table of them that a page for users may show.

`python -m tests.kit.vectors` prints the table.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

VECTORS: dict[str, list[dict[str, Any]]] = json.loads(
    (Path(__file__).parents[1] / "filters" / "vectors.json").read_text("utf-8")
)
HEADING = "| salt | key | arm: weight | seed | hash | u | score | takes it |"
_SHOWN = 6
"""So many of the draws stand in the table: whole draws, from the first on."""


def table() -> str:
    """Markdown, one line for each arm of the first draws."""
    lines = [HEADING, "| --- | --- | --- | --- | --- | --- | --- | --- |"]
    return "\n".join([*lines, *(row for each in VECTORS["draws"][:_SHOWN] for row in _rows(each))])


def _rows(draw: dict[str, Any]) -> Iterator[str]:
    for arm, told in draw["arms"].items():
        cells = [draw["salt"], draw["key"], f"{arm}: {draw['weights'][arm]}", told["seed"], told["hash"]]
        cells += [f"{told['u']:.12f}", f"{told['score']:.9g}", "yes" if arm == draw["winner"] else ""]
        shortened = [cell if len(cell) <= 40 else f"{len(cell)} times {cell[0]}" for cell in cells]
        yield f"| {' | '.join(shortened)} |"


if __name__ == "__main__":
    print(table())
