"""A whole program with an access log and a healthy backend, for faults of what the log is written to."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

from tests.kit.ask import get, status, understudy
from tests.kit.held import HeldBackend, held_backend
from tests.kit.program import Program, running

CONFIG = """
listeners: {{ingress: {{bind: 127.0.0.1:0}}}}
admin: {{bind: 127.0.0.1:0}}
drain: {{grace: 1s}}
backends: {{stable: {{endpoints: ["{url}"], first_byte_timeout: {timeout}, keep_alive: 60s}}}}
routes: [{{name: all, match: {{path_prefix: /}}, backend: stable}}]
telemetry: {{access_log: {{to: "{to}", headers: [x-a, x-b, x-c, x-d, x-e, x-f, x-g, x-h]}}}}
"""
FAT = {f"x-{letter}": "." * 1000 for letter in "abcdefgh"}
"""Fields that make a line of 8 KiB, so that every bound is reached soon."""
AT_ONCE_S = 1.0
"""No request may take longer; on a busy machine some take half of it."""
ENDS_WITHIN_S = 6.0
"""The grace period, two seconds for the access log, and a busy machine."""


@dataclass
class Logged:
    """The program and what it was configured with."""

    program: Program
    backend: HeldBackend
    folder: Path

    def ask(self, count: int = 1, headers: Mapping[str, str] = {}) -> float:
        """So many requests on one connection, all answered well; the slowest one's seconds."""
        connection = http.client.HTTPConnection(*self.program.address("ingress"), timeout=20)
        slowest_s = 0.0
        for _ in range(count):
            begun = monotonic()
            connection.request("GET", "/", headers=dict(headers))
            answer = connection.getresponse()
            assert (answer.status, answer.read()) == (200, b"done\n")
            slowest_s = max(slowest_s, monotonic() - begun)
        connection.close()
        assert slowest_s < AT_ONCE_S
        return slowest_s

    def lost(self) -> int:
        """Lines that were dropped, as everybody who may ask is told."""
        now = status(self.program)
        count: int = now["lost"]["logs"]
        page = get(self.program.url("admin") + "/metrics")[1]
        told = next(line for line in page.splitlines() if line.startswith('understudy_telemetry_dropped_total{kind="l'))
        assert int(told.rpartition(" ")[2]) >= count
        return count

    def untold(self) -> int:
        """Records that a worker dropped, because control did not read them in time."""
        count: int = status(self.program)["records_dropped"]
        return count

    def warned(self) -> list[str]:
        """What `understudy status` warns of."""
        found: list[str] = status(self.program)["warnings"]
        return found

    def writes_to(self, to: str, url: str = "") -> None:
        """Reload with another destination."""
        (self.folder / "understudy.yaml").write_text(config(url or self.backend.url, to))
        done = understudy("reload", "--admin", self.program.url("admin"), folder=self.folder)
        assert done.returncode == 0, done.stderr

    def ends(self) -> None:
        """The drain takes no longer for the log's sake."""
        assert self.program.stop(ENDS_WITHIN_S) == 0


def config(url: str, to: str, timeout: str = "5s") -> str:
    """The YAML."""
    return CONFIG.format(url=url, to=to, timeout=timeout)


@contextmanager
def logged(
    folder: Path, to: str, *, through: Sequence[str] = (), environment: Mapping[str, str] | None = None,
    timeout: str = "5s",
) -> Iterator[Logged]:  # fmt: skip
    """The program writes its access log to `to`. It must end well, and its own log be free of tracebacks."""
    with held_backend() as backend:
        text = config(backend.url, to, timeout)
        with running(text, folder, through=through, environment=environment) as program:
            yield Logged(program, backend, folder)
        assert "Traceback" not in program.stderr


def records(data: bytes) -> list[dict[str, Any]]:
    """Whole lines, each of which must be one exchange."""
    return [json.loads(line) for line in data.splitlines()]
