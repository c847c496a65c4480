"""Which model servers the demo can start: small ones of its own, or KServe, MLServer and llama.cpp."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Literal, NamedTuple, TypeAlias

from .processes import REPOSITORY

Server: TypeAlias = Literal["builtin", "kserve", "mlserver", "llama"]
Protocol: TypeAlias = Literal["v2", "chat"]


class Model(NamedTuple):
    """One model behind one backend of demo/understudy.yaml."""

    backend: str
    what: str
    command: tuple[str, ...]  # without the port
    ready: str  # the path that answers 200 when the model is loaded


class Lineup(NamedTuple):
    """The models of one kind of server, and what may be asked of them."""

    title: str
    models: tuple[Model, ...]
    protocols: tuple[Protocol, ...]


def _python(server: str) -> str:
    return str(REPOSITORY / f".venv-{server}" / "bin" / "python")


def _classifiers(python: str, module: str) -> tuple[Model, ...]:
    def model(backend: str, what: str, kind: str, version: str) -> Model:
        command = (python, "-m", module, "--model", kind, "--version", version)
        return Model(backend, what, command, "/v2/models/iris/ready")

    return model("stable", "logistic regression", "logistic", "7"), model("canary", "naive Bayes", "bayes", "8")


def _language_models() -> tuple[Model, ...]:
    def model(backend: str, seed: str) -> Model:
        command = (_python("llama"), "-m", "demo.servers.on_llama", "--seed", seed)
        return Model(backend, f"random weights, seed {seed}", command, "/health")

    return model("stable", "7"), model("canary", "8")


LINEUPS: Mapping[Server, Lineup] = {
    "builtin": Lineup(
        "two classifiers of Fisher's irises, trained just now",
        _classifiers(sys.executable, "demo.model_server"),
        ("v2", "chat"),
    ),
    "kserve": Lineup(
        "two classifiers of Fisher's irises behind KServe",
        _classifiers(_python("kserve"), "demo.servers.on_kserve"),
        ("v2",),
    ),
    "mlserver": Lineup(
        "two scikit-learn classifiers of Fisher's irises behind MLServer",
        _classifiers(_python("mlserver"), "demo.servers.on_mlserver"),
        ("v2",),
    ),
    "llama": Lineup("two tiny language models behind llama.cpp", _language_models(), ("chat",)),
}
