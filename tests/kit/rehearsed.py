"""Control without processes: fed by hand with what workers would report, and asked as the admin API asks it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import msgspec
from understudy.config.load import load_bytes
from understudy.proxy.admin.compared import compare_of, moment_of
from understudy.proxy.admin.views import status_of
from understudy.proxy.comparison.view import Compare, Epoch
from understudy.proxy.configuration import Running
from understudy.proxy.control import Control
from understudy.proxy.giving_way import whole
from understudy.proxy.messages import Report
from understudy.proxy.status import Status
from understudy.proxy.telemetry.records import Pair
from understudy.proxy.telemetry.stats import Gauges, Stats

from .pairs import told

BEGUN = "2026-11-21T02:41:07Z"
MIRRORED = """\
listeners: {ingress: {bind: 127.0.0.1:7080}}
backends: {stable: {endpoints: [http://127.0.0.1:9001], version: "7"}, next: {endpoints: [http://127.0.0.1:9002]}}
routes:
  - name: iris
    match: {path_prefix: /}
    backend: stable
    filters: [{type: mirror, to: [{backend: next}]}]
"""


class Rehearsed:
    """One worker's statistics, to be filled and told; mutable as those of a worker are."""

    def __init__(self, control: Control) -> None:
        self.control = control
        self.stats = Stats()

    def serve(self, text: str, version: int = 1) -> None:
        """Take a configuration, as if all workers had built it."""
        loaded = load_bytes(text.encode(), file="understudy.yaml", base="/")
        assert loaded.document is not None, loaded.mistakes
        self.control._on_decided(version, loaded.document)
        self.control.configuration.running = Running(loaded.document, "7c1e9a" * 10, version, BEGUN, ())
        self.begun()

    def begun(self) -> None:
        """Date the running epoch."""
        epoch = self.control.epochs.current
        assert epoch is not None
        self.control.epochs.current = Epoch(epoch.id, BEGUN, epoch.why)

    def tell(self, pairs: Iterable[Pair] = (), gauges: Gauges | None = None, worker: int = 0) -> None:
        """Report everything, and these pairs; over the wire, as what workers count on is no longer control's."""
        report = Report(self.stats.take_changed(), self.stats.counters, gauges or Gauges(), 0.0)
        report.copies, report.keys = self.stats.copies(), self.stats.key_uses()
        self.control.totals.update(worker, msgspec.msgpack.decode(msgspec.msgpack.encode(report), type=Report))
        self.control.epochs.take(told(pairs))

    def compare(self) -> Compare:
        """What GET /compare says."""
        return whole(compare_of(self.control, whole(moment_of(self.control))))

    def status(self) -> Status:
        """What GET /status says, without what no two programs have in common."""
        status, _ = whole(status_of(self.control))
        status.instance, status.generated, status.processes = "iris-6f9c", BEGUN, []
        status.program_version, status.state, status.workers_serving = "0.1.0", "ready", status.workers_wanted
        status.warnings = [each for each in status.warnings if "workers serve" not in each]
        return status


@contextmanager
def rehearsed(text: str) -> Iterator[Rehearsed]:
    """Control of this configuration; nothing is bound, no worker starts."""
    loop = asyncio.new_event_loop()
    try:
        loaded = load_bytes(text.encode(), file="understudy.yaml", base="/")
        assert loaded.document is not None, loaded.mistakes
        each = Rehearsed(Control(loop, loaded))
        each.serve(text)
        yield each
    finally:
        loop.close()
