"""The whole program in a process of its own, for tests that look at it from outside.

    with running(yaml, tmp_path) as program:
        httpx.get(program.url("ingress") + "/v2/health/ready")

Bind to port 0: `address` and `url` give what was really bound, by the listener's name, `admin` and `probes`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

READY = "understudy ready"


class Program:
    """`understudy run -c FILE`, started at once. Mutable state: `lines`, all that it wrote to stderr so far."""

    def __init__(
        self,
        config: str | Path,
        folder: Path,
        *,
        environment: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
        through: Sequence[str] = (),
    ) -> None:
        """`config` is YAML text, written into `folder`, or a file. `folder` becomes the working directory. `through`
        is a command that executes its further words, unshare(1) say."""
        path = config if isinstance(config, Path) else folder / "understudy.yaml"
        if isinstance(config, str):
            path.write_text(config)
        self.lines: list[str] = []
        self.addresses: dict[str, str] = {}
        self._changed = threading.Condition()
        self._ended = False
        self.process = subprocess.Popen(
            [*through, sys.executable, "-m", "understudy.proxy.cli", "run", "-c", str(path)],
            cwd=folder,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            pass_fds=pass_fds,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})},
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Control's process id."""
        return self.process.pid

    @property
    def stderr(self) -> str:
        """All that it wrote to stderr so far."""
        with self._changed:
            return "\n".join(self.lines)

    def url(self, name: str) -> str:
        """`http://host:port` of a listener, `admin` or `probes`."""
        return self.addresses[name]

    def address(self, name: str) -> tuple[str, int]:
        """Host and port of a TCP listener, for `socket.create_connection`."""
        host, _, port = self.addresses[name].removeprefix("http://").rpartition(":")
        return host.strip("[]"), int(port)

    def wait_ready(self, within_s: float = 15.0) -> None:
        """Return when the ready line came; AssertionError with all of stderr when it did not in time."""
        line = self.wait_line(lambda text: text.startswith(READY), within_s)
        pairs = (word.partition("=") for word in line.removeprefix(READY).split())
        self.addresses = {name: address for name, _, address in pairs}

    def wait_line(self, wanted: str | Callable[[str], bool], within_s: float = 10.0) -> str:
        """The first line on stderr that holds the text or satisfies the test, waiting for it if need be."""
        matches = wanted if callable(wanted) else lambda text: wanted in text
        with self._changed:
            self._changed.wait_for(lambda: self._ended or any(map(matches, self.lines)), within_s)
            found = next(filter(matches, self.lines), None)
            assert found is not None, "the line never came:\n" + "\n".join(self.lines)
            return found

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to control."""
        self.process.send_signal(number)

    def wait_exit(self, within_s: float = 10.0) -> int:
        """The exit status, negative for a signal; AssertionError when it does not end in time."""
        try:
            status = self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {within_s} s:\n{self.stderr}") from None
        self._reader.join(within_s)
        return status

    def stop(self, within_s: float = 10.0) -> int:
        """SIGTERM, then the exit status; a program that does not drain within the deadline is an AssertionError."""
        self.signal(signal.SIGTERM)
        return self.wait_exit(within_s)

    def __enter__(self) -> Program:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Kill what is left of it; on a failure say what it wrote."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join(5)
        if self.process.stderr is not None:
            self.process.stderr.close()
        if error is not None:
            error.add_note("stderr of the program:\n" + "\n".join(self.lines))

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._changed:
                self.lines.append(line.decode(errors="replace").rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()


@contextmanager
def running(
    config: str | Path,
    folder: Path,
    *,
    environment: Mapping[str, str] | None = None,
    within_s: float = 15.0,
    pass_fds: Sequence[int] = (),
    through: Sequence[str] = (),
) -> Iterator[Program]:
    """The program, ready; stopped by SIGTERM when the block ends well, killed when it fails.

    The exit status must be 0 unless the block waited for the exit itself.
    """
    with Program(config, folder, environment=environment, pass_fds=pass_fds, through=through) as program:
        program.wait_ready(within_s)
        yield program
        if program.process.poll() is None:
            status = program.stop()
            assert status == 0, f"exit status {status}:\n{program.stderr}"
