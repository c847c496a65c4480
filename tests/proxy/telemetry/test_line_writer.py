"""Lines reach their destination in order, and whoever hands them over waits for nothing, whatever becomes of them."""

from __future__ import annotations

import fcntl
import os
import select
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import pytest
from understudy.proxy.telemetry.line_writer import MOST_BYTES, MOST_LINES, LineWriter

from tests.kit.ask import until


class Lost:
    """Mutable state: how many lines were lost."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, by: int) -> None:
        self.count += by


@contextmanager
def writing(path: str | int | Path) -> Iterator[tuple[LineWriter, Lost]]:
    """At the end the thread is gone."""
    lost = Lost()
    writer = LineWriter(path if isinstance(path, int) else str(path), lost)
    yield writer, lost
    writer.finish(0)
    writer.join(5)
    assert not writer._thread.is_alive()


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """The ends to read and to write."""
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def numbered(count: int, size: int = 0) -> list[bytes]:
    return [b"%d" % number + b"." * size + b"\n" for number in range(count)]


def ended(writer: LineWriter, within_s: float = 5.0) -> None:
    writer.finish(within_s)
    writer.join(within_s + 1)
    assert not writer._thread.is_alive()


def test_lines_come_in_order_and_are_appended(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_bytes(b"before\n")
    lines = numbered(5000, 100)
    with writing(file) as (writer, lost):
        for at in range(0, 5000, 100):
            writer.offer(lines[at : at + 100])
        ended(writer)
        assert file.read_bytes() == b"before\n" + b"".join(lines)
        assert (lost.count, writer.problem) == (0, "")
        assert file.stat().st_mode & 0o777 == 0o644, "one that was there keeps its mode"


def test_a_new_file_is_not_for_everybody(tmp_path: Path) -> None:
    with writing(tmp_path / "log"):
        until((tmp_path / "log").exists)
        assert (tmp_path / "log").stat().st_mode & 0o777 == 0o640


def test_a_file_that_was_moved_away_is_opened_anew(tmp_path: Path) -> None:
    file, moved = tmp_path / "log", tmp_path / "log.1"
    with writing(file) as (writer, lost):
        writer.offer([b"a\n"])
        until(lambda: file.exists() and file.read_bytes() == b"a\n")
        file.rename(moved)
        writer.offer([b"b\n"])
        until(lambda: moved.read_bytes() == b"a\nb\n")
        writer.reopen()
        until(file.exists)
        writer.offer([b"c\n"])
        ended(writer)
        assert (moved.read_bytes(), file.read_bytes(), lost.count) == (b"a\nb\n", b"c\n", 0)


def test_a_pipe_that_nobody_reads_holds_nobody_up_and_nothing_more_than_the_bounds(pipe: tuple[int, int]) -> None:
    read, write = pipe
    held = fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096)
    with writing(write) as (writer, lost):
        lines, began_s = numbered(3 * MOST_LINES), monotonic()
        for at in range(0, len(lines), 100):
            writer.offer(lines[at : at + 100])
        assert monotonic() - began_s < 1
        assert writer.full
        assert writer._lines <= MOST_LINES
        until(lambda: writer.problem == "nobody reads it")
        assert lost.count >= 2 * MOST_LINES - held // 2
        told = b""
        while select.select([read], [], [], 0.05)[0] or writer._lines:  # somebody reads again
            told += os.read(read, 65536)
        assert writer.problem == ""
        whole = told.splitlines(keepends=True)
        assert len(whole) + lost.count == len(lines)
        kept = set(whole)
        assert whole == [line for line in lines if line in kept], "in order, and none cut"


def test_large_lines_are_bounded_by_their_bytes(pipe: tuple[int, int]) -> None:
    with writing(pipe[1]) as (writer, lost):
        line = b"." * 9999 + b"\n"
        writer.offer([line] * (2 * MOST_BYTES // len(line)))
        assert MOST_BYTES <= writer._bytes < MOST_BYTES + len(line)
        assert lost.count >= MOST_BYTES // len(line) - 1


def test_the_end_comes_in_its_time_and_what_is_left_is_counted(pipe: tuple[int, int]) -> None:
    with writing(pipe[1]) as (writer, lost):
        writer.offer(numbered(MOST_LINES))
        began_s = monotonic()
        writer.finish(0.1)
        writer.join(5)
        assert monotonic() - began_s < 1
        assert not writer._thread.is_alive()
        os.set_blocking(pipe[0], False)
        assert os.read(pipe[0], 1 << 20).count(b"\n") + lost.count == MOST_LINES
        writer.offer([b"late\n"])
        assert writer._lines == 0


def test_a_full_disk_loses_lines_and_says_so() -> None:
    with writing("/dev/full") as (writer, lost):
        writer.offer(numbered(10))
        until(lambda: lost.count == 10)
        assert writer.problem == "No space left on device"


@pytest.mark.parametrize("where", ["", "none/log", "file/log"])
def test_a_place_where_no_file_can_be_is_tried_again(tmp_path: Path, where: str) -> None:
    (tmp_path / "file").touch()
    with writing(tmp_path / where) as (writer, lost):
        writer.offer(numbered(10))
        until(lambda: lost.count == 10)
        why, _, told = writer.problem.partition(": ")
        assert why in ("Is a directory", "No such file or directory", "Not a directory")
        assert told == str(tmp_path / where)
        if where == "none/log":
            (tmp_path / "none").mkdir()
            writer.reopen()  # else within a second
            until((tmp_path / where).exists)
            writer.offer([b"a\n"])
            until(lambda: (tmp_path / where).read_bytes() == b"a\n")
            assert (lost.count, writer.problem) == (10, "")


def test_a_reader_that_has_gone_reads_nothing(pipe: tuple[int, int]) -> None:
    read, write = pipe
    with writing(write) as (writer, lost):
        os.dup2(os.open("/dev/null", os.O_RDONLY), read)
        writer.offer(numbered(3))
        until(lambda: lost.count == 3)
        assert writer.problem == "nobody reads it"
