"""A real Prometheus that scrapes a running program, and what it answers."""

from __future__ import annotations

import json
import re
import subprocess
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .ask import get, until

EVERY = "250ms"
_LISTENS = re.compile(r'msg="Listening on" address=(\S+)')  # noqa: TID251 - over Prometheus' own log
_CONFIG = """\
global: {scrape_interval: %s, scrape_timeout: %s, evaluation_interval: %s}
rule_files: [%s]
scrape_configs:
  - {job_name: understudy, static_configs: [{targets: [%s]}]}
"""


class Prometheus:
    """Mutable state: its log, read by a thread of its own until it ends."""

    def __init__(self, folder: Path, target: str, rules: Path | None) -> None:
        config = folder / "prometheus.yml"
        host = target.removeprefix("http://")
        config.write_text(_CONFIG % (EVERY, EVERY, EVERY, json.dumps(str(rules)) if rules else "", host))
        self.process = subprocess.Popen(
            ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'tsdb'}",
             "--web.listen-address=127.0.0.1:0"],
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.process.stderr is not None
        self._log: list[str] = []
        listens = (found for line in self.process.stderr if (found := self._listens(line)))
        address = next(listens, None)
        assert address, "".join(self._log)
        self.url = f"http://{address}"
        self._reader = threading.Thread(target=self._log.extend, args=(self.process.stderr,), daemon=True)
        self._reader.start()

    def _listens(self, line: str) -> str | None:
        self._log.append(line)
        found = _LISTENS.search(line)
        return found[1] if found else None

    def ask(self, path: str, **words: str) -> Any:
        """What its API answers under /api/v1/."""
        code, text = get(f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(words)}")
        answer = json.loads(text)
        assert (code, answer["status"]) == (200, "success"), f"{words}: {text}"
        return answer["data"]

    def query(self, expression: str) -> dict[tuple[tuple[str, str], ...], float]:
        """An instant vector: values by labels, without those that every series of the target has."""
        found = self.ask("query", query=expression)
        assert found["resultType"] == "vector", expression
        return {
            tuple(sorted((name, value) for name, value in each["metric"].items() if name not in ("instance", "job"))):
            float(each["value"][1])
            for each in found["result"]
        }  # fmt: skip

    def value(self, expression: str) -> float | None:
        """The only value; None while there is none."""
        found = list(self.query(expression).values())
        assert len(found) <= 1, expression
        return found[0] if found else None

    def firing(self) -> set[str]:
        """Names of the alerts that fire."""
        return {each["labels"]["alertname"] for each in self.ask("alerts")["alerts"] if each["state"] == "firing"}

    def end(self) -> None:
        """Kill it: nothing of it is wanted any more."""
        self.process.kill()
        self.process.wait()
        self._reader.join(5)
        assert self.process.stderr is not None
        self.process.stderr.close()


@contextmanager
def prometheus(folder: Path, target: str, rules: Path | None = None) -> Iterator[Prometheus]:
    """Prometheus, scraping this URL's host every `EVERY`; it has scraped it once."""
    each = Prometheus(folder, target, rules)
    try:
        until(lambda: get(f"{each.url}/-/ready")[0] == 200)
        until(lambda: each.value("up") == 1)
        yield each
    finally:
        each.end()
