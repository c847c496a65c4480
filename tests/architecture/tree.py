"""The tree as the architecture tests read it: files, what they import, and how long their functions are."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PARTS = ("filters", "config", "proxy")


class Function(NamedTuple):
    """A function or method, and how many lines it spans."""

    name: str
    lines: int


def sources(*folders: str) -> list[Path]:
    """Every Python file of these folders of the tree."""
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def module_of(path: Path) -> str:
    """`filters/api.py` is `understudy.filters.api`."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(("understudy", *(parts[:-1] if parts[-1] == "__init__" else parts)))


def imports_of(source: str, module: str, is_package: bool = False) -> Iterator[str]:
    """The full names that a module imports anywhere in it, also inside functions; types alone do not count."""
    package = module if is_package else module.rpartition(".")[0]
    tree = ast.parse(source)
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for statement in node.body
        for inner in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - (node.level - 1)] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def functions_of(source: str) -> list[Function]:
    """Every function, method and nested function, from its `def` to its last line."""
    return [
        Function(node.name, (node.end_lineno or node.lineno) - node.lineno + 1)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def defined_in(source: str) -> set[str]:
    """The names of all functions and classes."""
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    return {node.name for node in ast.walk(ast.parse(source)) if isinstance(node, kinds)}
