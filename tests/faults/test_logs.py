"""Fault 36: what logs are written to is full, may not be written, or is read by nobody. Serve on; drop and count."""

from __future__ import annotations

import fcntl
import os
import resource
import select
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from tests.kit.ask import status, until
from tests.kit.program import READY, Program

from .logged import ENDS_WITHIN_S, FAT, Logged, config, held_backend, logged, records

LOGS = "disk full, read-only, log pipe blocked"
MIB = 1024 * 1024


@pytest.fixture
def row(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The test's line of the table."""
    return next(value for name, value in request.node.user_properties if name == "fault")


@contextmanager
def unread(path: Path) -> Iterator[int]:
    """A named pipe of one page, held open for reading."""
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 4096)
    try:
        yield reader
    finally:
        os.close(reader)


def drained(reader: int, done: threading.Event, into: bytearray) -> None:
    """Read until told that it is enough."""
    while not done.is_set() or select.select([reader], [], [], 0)[0]:
        if select.select([reader], [], [], 0.01)[0]:
            data = os.read(reader, MIB)
            into += data
            if not data:
                return


def recovers(site: Logged, file: Path, row: dict[str, Any]) -> None:
    """Measure until a line comes again."""
    begun = monotonic()
    before = file.stat().st_size if file.exists() else 0
    site.ask()
    until(lambda: file.exists() and file.stat().st_size > before)
    row["recover_ms"] = round((monotonic() - begun) * 1000, 1)
    row["lost"] = "lines, counted"
    until(lambda: not site.warned())


def anonymous_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon:"))


@pytest.mark.fault(36, LOGS)
@pytest.mark.parametrize(
    ("to", "why"),
    [
        ("/dev/full", {"No space left on device"}),
        ("/sys/kernel/uevent_seqnum", {"Permission denied", "Read-only file system"}),
    ],
    ids=["disk full", "read-only"],
)
def test_what_cannot_be_written_is_dropped_and_counted(
    tmp_path: Path, row: dict[str, Any], to: str, why: set[str]
) -> None:
    with logged(tmp_path, to) as site:
        slowest_s = site.ask(200)
        until(lambda: site.lost() == 200)
        (warned,) = site.warned()
        assert warned.removeprefix("the access log cannot be written: ").partition(":")[0] in why
        assert sum("the access log cannot be written" in line for line in site.program.lines) == 1
        site.writes_to("good.log")
        recovers(site, tmp_path / "good.log", row)
        site.ends()
        assert site.program.lines[-1].endswith("200 lines of the access log were lost")
        row["measured"] = {"slowest request, ms": round(slowest_s * 1000, 1)}


@pytest.mark.fault(36, LOGS)
def test_a_disk_that_fills_up_cuts_a_line_which_is_ended_when_there_is_room_again(
    tmp_path: Path, row: dict[str, Any]
) -> None:
    """The kernel takes a part of a write, then none: the file may grow no further (RLIMIT_FSIZE)."""
    file = tmp_path / "access.log"
    with logged(tmp_path, "access.log", through=("prlimit", "--fsize=20000:unlimited")) as site:
        site.ask(100)
        until(lambda: site.lost() > 0)
        until(lambda: sum(data.endswith(b"}") for data in file.read_bytes().splitlines()) + site.lost() == 100)
        assert file.stat().st_size == 20000
        assert site.warned() == ["the access log cannot be written: File too large"]
        lost = site.lost()
        resource.prlimit(site.program.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        recovers(site, file, row)
        site.ends()
    lines = file.read_bytes().splitlines()
    cut = [line for line in lines if not line.endswith(b"}")]
    assert len(cut) <= 1
    assert len(records(b"\n".join(line for line in lines if line not in cut))) == 101 - lost


@pytest.mark.fault(36, LOGS)
def test_stdout_that_nobody_reads(tmp_path: Path, row: dict[str, Any]) -> None:
    with unread(tmp_path / "out") as reader:
        with logged(tmp_path, "stdout", through=("sh", "-c", 'exec "$@" >out', "sh")) as site:
            site.ask(100)
            before_mib = anonymous_mib(site.program.pid)
            slowest_s = site.ask(4000, FAT)
            until(lambda: site.lost() > 0)
            grown_mib = anonymous_mib(site.program.pid) - before_mib
            assert grown_mib < 32, "8 MiB wait, a batch of records is read meanwhile; all lines would be 33 MiB"
            until(lambda: site.warned() == ["the access log cannot be written: nobody reads it"])
            begun, done, read = monotonic(), threading.Event(), bytearray()
            reading = threading.Thread(target=drained, args=(reader, done, read))
            reading.start()
            until(lambda: not site.warned())
            row["recover_ms"] = round((monotonic() - begun) * 1000, 1)
            row["lost"] = "lines, counted"
            site.ask(10)
            until(lambda: read.count(b"\n") + site.lost() + site.untold() == 4110)
            site.ends()
            done.set()
            reading.join()
    assert len(records(bytes(read))) == read.count(b"\n")
    row["measured"] = {"slowest request, ms": round(slowest_s * 1000, 1), "memory grown, MiB": round(grown_mib, 1)}


@pytest.mark.fault(36, LOGS)
def test_the_end_does_not_wait_for_a_pipe_that_nobody_reads(tmp_path: Path, row: dict[str, Any]) -> None:
    with unread(tmp_path / "out"), logged(tmp_path, "out") as site:
        site.ask(100)
        until(lambda: bool(site.warned()))
        site.ends()
        assert site.program.lines[-1].endswith(" lines of the access log were lost")
        row["lost"] = "lines, counted"


@pytest.mark.fault(36, LOGS)
def test_stderr_that_nobody_reads(tmp_path: Path, row: dict[str, Any]) -> None:
    """The program's own log: lines are lost, and nobody waits for it, not even who reloads or ends it."""
    with unread(tmp_path / "err") as reader, held_backend() as backend:
        text = config(backend.url, "access.log")
        with Program(text, tmp_path, through=("sh", "-c", 'exec "$@" 2>err', "sh")) as program:
            said = bytearray()

            def ready() -> bool:
                if select.select([reader], [], [], 0)[0]:
                    said.extend(os.read(reader, MIB))
                return READY.encode() in said and said.endswith(b"\n")

            until(ready, 15)
            line = next(each for each in said.decode().splitlines() if each.startswith(READY))
            program.addresses = dict(word.split("=") for word in line.split()[2:])
            site = Logged(program, backend, tmp_path)
            for number in range(60):
                program.signal(signal.SIGHUP)
                until(lambda: status(program)["config"]["version"] > number + 1)  # noqa: B023 - it is asked at once
            site.ask(100)
            assert program.stop(ENDS_WITHIN_S) == 0
        until(lambda: len(records((tmp_path / "access.log").read_bytes())) == 100)
        row["lost"] = "lines"
