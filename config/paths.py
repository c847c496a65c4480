"""Where in a document something stands."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import TypeAlias

Path: TypeAlias = tuple[str | int, ...]
"""Keys of maps and positions in lists, from the top."""

Found: TypeAlias = Iterator[tuple[Path, str]]
"""What there is to say of a document, and where."""

_PLAIN_STEP = re.compile(r"[A-Za-z0-9_-]+")  # noqa: TID251 - a constant pattern
_LONGEST_STEP = 80


def path_text(path: Path) -> str:
    """`routes[0].match.path_prefix`; the document itself where the path is empty."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif len(step) > _LONGEST_STEP:
            text += f"[{json.dumps(step[:_LONGEST_STEP] + '…', ensure_ascii=False)}]"
        elif _PLAIN_STEP.fullmatch(step):
            text += f".{step}" if text else step
        else:
            text += f"[{json.dumps(step)}]"
    return text or "document"
