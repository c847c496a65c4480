"""The files that ship as examples: valid, without a warning, and doing what their comments say."""

from __future__ import annotations

from importlib import resources
from typing import Any

import pytest
from understudy.config.compile import compile_snapshot
from understudy.config.explain import explain
from understudy.config.explanation import Explanation
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
    assert NAMES == [
        "calibration.yaml", "flags-rollout.yaml", "mirror-two-versions.yaml", "sidecar.yaml", "smallest.yaml",
        "split-ab.yaml", "two-models-one-server.yaml", "understudy.yaml",
    ]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_valid_and_compiles(name: str) -> None:
    result = loaded(name)
    assert [str(mistake) for mistake in result.mistakes] == []
    assert compile_snapshot(decode(result.wire), FakeServices(), version=1, workers=4, base="/").hash == result.hash


def explained(name: str, method: str, target: str, headers: Headers, **more: Any) -> Explanation:
    snapshot = compile_snapshot(decode(loaded(name).wire), FakeServices(), version=1, workers=1, base="/")
    return explain(snapshot, Request(method.encode(), target.encode(), b"localhost", headers), **more)


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


def test_flags_rollout() -> None:
    def answers(*headers: tuple[bytes, bytes], trusted: bool = False) -> tuple[str, tuple[str, ...]]:
        found = explained("flags-rollout.yaml", "POST", "/v2/models/iris/infer", list(headers), trusted=trusted)
        assert found.call is not None
        return found.call.backend, found.flags

    employee, european = (b"x-employee", b"true"), (b"x-region", b"eu-1")
    assert answers() == ("stable", ())
    assert answers((b"x-model", b"canary")) == ("canary", ("pin",))
    assert answers((b"x-model", b"nonsense")) == ("stable", ())
    assert answers(employee) == ("stable", ())
    assert answers(employee, trusted=True) == ("canary", ("dogfood",))
    users = [answers(european, (b"x-user-id", b"%d" % number)) for number in range(400)]
    assert {flags for _, flags in users} == {(), ("europe",)}
    assert 5 <= users.count(("canary", ("europe",))) <= 40


def test_split_ab() -> None:
    users = [explained("split-ab.yaml", "GET", "/v1/rank", [(b"x-user-id", b"%d" % number)]) for number in range(200)]
    answered = {(found.arm, found.call.backend) for found in users if found.call is not None}
    assert answered == {("control", "control"), ("candidate", "candidate"), ("placebo", "control")}
    stranger = explained("split-ab.yaml", "GET", "/v1/rank", [])
    assert stranger.steps[0].facts["cookie_issued"]
    again = explained("split-ab.yaml", "GET", "/v1/rank", [(b"x-user-id", b"7")])
    assert again.arm == users[7].arm


def test_mirror_two_versions() -> None:
    target = "/v2/models/iris/infer"
    ids = [b"%d" % number for number in range(100)]
    copied = [explained("mirror-two-versions.yaml", "POST", target, [], id=id).copies for id in ids]
    assert 10 <= sum(map(bool, copied)) <= 40
    (copy,) = next(filter(None, copied))
    assert (copy.call.backend, copy.call.target, copy.refused) == ("rehearsal", "/v2/models/iris-8/infer", None)
    assert not any(explained("mirror-two-versions.yaml", "GET", target, [], id=id).copies for id in ids)


def test_calibration() -> None:
    found = [explained("calibration.yaml", "GET", "/", [], id=b"%d" % number) for number in range(100)]
    copies = [copy for each in found for copy in each.copies]
    assert 3 <= len(copies) <= 25
    assert {(copy.call.backend, copy.refused) for copy in copies} == {("model", None)}
