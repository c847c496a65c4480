"""Size budgets, with no exemption list: a function that needs two screens hides two functions."""

from __future__ import annotations

from statistics import median

from tests.architecture.tree import PARTS, ROOT, Function, functions_of, sources

FUNCTION_LINES = 60
MOST_FUNCTION_LINES = 35  # for nine of ten
FILE_LINES = 400
MEDIAN_FILE_LINES = 150
FOLDERS = (*PARTS, "bench", "demo")


def too_long(source: str) -> list[Function]:
    """The functions past the budget."""
    return [each for each in functions_of(source) if each.lines > FUNCTION_LINES]


def test_no_function_is_longer_than_its_budget() -> None:
    found = [f"{path.relative_to(ROOT)}: {each}" for path in sources(*FOLDERS) for each in too_long(path.read_text())]
    assert not found, "\n".join(found)


def test_nine_of_ten_functions_are_short() -> None:
    lengths = [each.lines for path in sources(*FOLDERS) for each in functions_of(path.read_text())]
    short = sum(lines <= MOST_FUNCTION_LINES for lines in lengths)
    assert short >= 0.9 * len(lengths), f"{short} of {len(lengths)}"


def test_no_file_is_longer_than_its_budget() -> None:
    lengths = {path.relative_to(ROOT): len(path.read_text().splitlines()) for path in sources(*FOLDERS, "tests")}
    found = {path: lines for path, lines in lengths.items() if lines > FILE_LINES}
    assert not found, found


def test_the_median_file_is_small() -> None:
    lengths = [len(path.read_text().splitlines()) for path in sources(*FOLDERS) if path.name != "__init__.py"]
    assert median(lengths) < MEDIAN_FILE_LINES


def test_a_long_function_is_found_wherever_it_hides() -> None:
    body = "\n".join(["        x = 1"] * FUNCTION_LINES)
    assert too_long(f"class A:\n    async def long(self):\n{body}") == [Function("long", FUNCTION_LINES + 1)]
    assert not too_long("def short():\n" + "    x = 1\n" * (FUNCTION_LINES - 1))
