"""A configuration that all workers have built is served, whatever its telemetry meets with in control."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.kit.rehearsed import rehearsed

CONFIG = """
listeners: {ingress: {bind: 127.0.0.1:0}}
admin: {bind: 127.0.0.1:0}
backends: {stable: {endpoints: [http://127.0.0.1:9]}}
routes: [{name: all, match: {path_prefix: /}, backend: stable}]
"""


def test_no_thread_is_to_be_had(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    def none_left(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with rehearsed(CONFIG) as fed:
        monkeypatch.setattr(threading.Thread, "start", none_left)
        told = (
            f"telemetry: {{access_log: {{to: {tmp_path}/log}}, otlp: {{endpoint: 'http://127.0.0.1:9'}}, traces: {{}}}}"
        )
        fed.serve(CONFIG + told, version=2)
        status = fed.status()
        assert status.config.version == 2
        assert sum("fails: can't start new thread" in each for each in status.warnings) == 2
    assert caplog.messages.count("telemetry does not follow configuration v2") == 1
