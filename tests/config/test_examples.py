"""The files that ship as examples: valid, without a warning, and doing what their comments say."""

from __future__ import annotations

from importlib import resources
from typing import Any

import pytest
from understudy.config.compile import compile_snapshot
from understudy.config.load import Loaded, load_bytes
from understudy.config.schema import decode
from understudy.filters.api import Headers, Request

from tests.kit.services import FakeServices

FOLDER = resources.files("understudy.config.examples")
NAMES = sorted(each.name for each in FOLDER.iterdir() if each.name.endswith(".yaml"))


def loaded(name: str) -> Loaded:
    return load_bytes(FOLDER.joinpath(name).read_bytes(), file=name, base="/")


def taken(name: str, method: str, target: str, headers: Headers) -> Any:
    snapshot = compile_snapshot(decode(loaded(name).wire), FakeServices(), version=1, workers=2, base="/")
    return snapshot.match(Request(method.encode(), target.encode(), b"localhost", headers))


def test_none_is_forgotten() -> None:
    assert NAMES == ["sidecar.yaml", "smallest.yaml", "two-models-one-server.yaml", "understudy.yaml"]


@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_valid_and_compiles(name: str) -> None:
    result = loaded(name)
    assert [str(mistake) for mistake in result.mistakes] == []
    assert compile_snapshot(decode(result.wire), FakeServices(), version=1, workers=4, base="/").hash == result.hash


@pytest.mark.parametrize("name", [name for name in NAMES if name != "understudy.yaml"])
def test_an_example_of_what_works_now_warns_of_nothing(name: str) -> None:
    assert [str(warning) for warning in loaded(name).warnings] == []


def test_two_models_one_server() -> None:
    name = "two-models-one-server.yaml"
    ours = taken(name, "POST", "/v1/chat/completions", [(b"x-employee", b"true")])
    theirs = taken(name, "POST", "/v1/chat/completions", [])
    assert (ours.backend.json_rewrite, theirs.backend.json_rewrite) == (
        {"model": "assistant-2"},
        {"model": "assistant-1"},
    )
    assert taken(name, "GET", "/metrics", []).backend.json_rewrite is None
    assert taken(name, "POST", "/metrics", []) is None


def test_sidecar() -> None:
    assert taken("sidecar.yaml", "GET", "/v2/health/ready", []).name == "health"
    assert (
        taken("sidecar.yaml", "POST", "/v2/models/iris/infer", []).backend.endpoints[0].label
        == "unix:/run/model/model.sock"
    )
