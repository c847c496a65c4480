"""A file to a `Document`, or to every mistake in it at once.

The good way is short: read the YAML, let msgspec convert it, check its meaning. Lines and wordings are worked out only
when there is something to say.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from itertools import islice
from typing import Any, NamedTuple

import msgspec

from .check import check
from .collector import paused
from .paths import Path, path_text
from .places import places
from .schema import Document, convert, digest, encode
from .walk import walk
from .warnings import warnings
from .wording import printable
from .yaml12 import Flaw, read

MAX_BYTES = 16 * 1024 * 1024
"""The largest file that is read."""


MAX_MISTAKES = 1_000
"""More are not worked out: one slip in a generator makes them all."""


class Mistake(NamedTuple):
    """One thing to say about a file. `line` counts from 1; None where it stands nowhere in the file: what is said of
    the whole of it (`path` is empty then), or of a key that nobody wrote."""

    file: str
    line: int | None
    path: str
    text: str

    def __str__(self) -> str:
        """`FILE:LINE: path: what is wrong, what is allowed`."""
        if self.line is None:
            return f"{self.file}: {self.path}: {self.text}" if self.path else f"{self.file}: {self.text}"
        return f"{self.file}:{self.line}: {self.path}: {self.text}"


@dataclass(frozen=True, slots=True)
class Loaded:
    """What became of a file: a document and perhaps warnings, or mistakes."""

    file: str
    base: str  # the folder that its relative paths start from
    document: Document | None = None
    mistakes: list[Mistake] = field(default_factory=list)
    warnings: list[Mistake] = field(default_factory=list)
    hash: str = ""  # of the document; empty where there is none
    wire: bytes = b""  # the document as it travels to a worker: schema.decode reads it
    text: str = field(default="", repr=False)  # as it was read, to find lines in

    def at(self, path: Path, said: str) -> Mistake:
        """What turned out wrong with a key of a valid document only when the program was to do what it says."""
        place = places(self.text)
        if place.holds(path):
            return Mistake(self.file, place.find(path), path_text(path), said)
        return Mistake(self.file, None, path_text(path), f"{said} (the file does not say it: this is the default)")


def load(path: str | os.PathLike[str]) -> Loaded:
    """Read and check a file. Never raises for what the file says, or for its absence."""
    path = os.fspath(path)
    base = os.path.dirname(os.path.abspath(path))
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no path can hold NUL"
        return Loaded(path, base, mistakes=[Mistake(path, None, "", f"cannot be read: {reason}")])
    return load_bytes(data, file=path, base=base)


def load_bytes(data: bytes, *, file: str, base: str, today: date | None = None) -> Loaded:
    """Check the bytes of a file. `file` is what messages call it; relative paths in it start from `base`."""
    with paused():
        return _load_bytes(data, file, base, today or date.today())


def _load_bytes(data: bytes, file: str, base: str, today: date) -> Loaded:
    if len(data) > MAX_BYTES:
        return Loaded(file, base, mistakes=[Mistake(file, None, "", f"is larger than {MAX_BYTES >> 20} MiB")])
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        return Loaded(file, base, mistakes=[Mistake(file, line, "document", "is no UTF-8 text")])
    content = read(text)
    raw = content.value
    if not isinstance(raw, dict):
        flaws = content.flaws or [Flaw(1, (), "is no map; at least listeners, backends and routes are needed")]
        return Loaded(file, base, mistakes=_at_lines(file, flaws))
    raw = {key: value for key, value in raw.items() if not key.startswith("x-")}
    found, document = _examine(raw, content.flaws, base)
    if found or content.flaws or document is None:
        mistakes = _located(file, text, found[:MAX_MISTAKES], content.flaws)
        if len(found) > MAX_MISTAKES:
            mistakes.append(Mistake(file, None, "", f"has more mistakes than these first {MAX_MISTAKES:,}"))
        return Loaded(file, base, mistakes=mistakes)
    said = list(warnings(document, raw, today, base, os.environ))
    return Loaded(
        file,
        base,
        document=document,
        warnings=_located(file, text, said, []) if said else [],
        hash=digest(document),
        wire=encode(document),
        text=text,
    )


def _examine(raw: dict[str, Any], flaws: list[Flaw], base: str) -> tuple[list[tuple[Path, str]], Document | None]:
    """Mistakes of form, and of meaning where the form allows to ask."""
    spoiled = {flaw.path for flaw in flaws if flaw.path and flaw.spoils}
    broken = {flaw.path for flaw in flaws if flaw.path}
    found: list[tuple[Path, str]] = []
    try:
        document = convert(raw)
    except msgspec.ValidationError as error:
        walked = walk(raw, Document)
        found = [each for each in walked.mistakes if not _is_within(each[0], spoiled)]
        if not walked.mistakes:
            found = [((), f"is no valid configuration: {error}")]
        try:
            document = convert(walked.repaired)
        except msgspec.ValidationError:
            return found, None
        broken |= walked.made_up | {path for path, _ in found}
    around = {path[:-1] for path in broken}
    meant = (each for each in check(document, base) if not _is_hearsay(each[0], broken, around))
    return found + list(islice(meant, MAX_MISTAKES + 1)), document


def _is_hearsay(path: Path, broken: set[Path], around: set[Path]) -> bool:
    """Whether a mistake of meaning may come from a wrong form: a value, what is around it, or what it refers to."""
    return path in around or _is_within(path, broken)


def _is_within(path: Path, some: set[Path]) -> bool:
    return bool(some) and any(path[:end] in some for end in range(len(path) + 1))


def _located(file: str, text: str, found: Iterable[tuple[Path, str]], flaws: list[Flaw]) -> list[Mistake]:
    place = places(text)
    return _at_lines(file, [*flaws, *(Flaw(place.find(path), path, said) for path, said in found)])


def _at_lines(file: str, flaws: Iterable[Flaw]) -> list[Mistake]:
    """In the order of lines; what is said of one line through several aliases is said once."""
    grouped: dict[tuple[int, str, str | int], list[Path]] = {}
    for flaw in sorted(flaws, key=lambda each: each.line):
        last = next((step for step in reversed(flaw.path) if isinstance(step, str)), "")
        grouped.setdefault((flaw.line, flaw.text, last), []).append(flaw.path)
    mistakes = []
    for (line, text, _), paths in grouped.items():
        also = f" (also as {path_text(paths[1])})" if len(paths) == 2 else f" (also in {len(paths) - 1} other places)"
        said = printable(text + also * (len(paths) > 1))
        mistakes.append(Mistake(file, line, path_text(paths[0]), said))
    return mistakes
