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
    version: str  # as the configuration names it
    what: str
    command: tuple[str, ...]  # without the port
    ready: str  # the path that answers 200 when the model is loaded


class Lineup(NamedTuple):
    """The models of one kind of server, stable, canary and the shadow in this order, and what may be asked of them."""

    title: str
    models: tuple[Model, ...]
    protocols: tuple[Protocol, ...]
    slower: str  # why the shadow is
    rate_per_s: int  # requests, few enough for two CPUs


def _python(server: str) -> str:
    return str(REPOSITORY / f".venv-{server}" / "bin" / "python")


def _classifiers(python: str, module: str, *slower: str) -> tuple[Model, ...]:
    """`slower` are the shadow's options."""
    lines: tuple[tuple[str, str, str, str, tuple[str, ...]], ...] = (
        ("stable", "7", "logistic", "logistic regression", ()),
        ("canary", "8", "bayes", "naive Bayes", ()),
        ("next", "9", "bayes", "naive Bayes, made slower", slower),
    )
    return tuple(
        Model(backend, version, what, (python, "-m", module, "--model", kind, "--version", version, *options), READY)
        for backend, version, kind, what, options in lines
    )


READY = "/v2/models/iris/ready"
LAYERS = {"stable": 2, "canary": 2, "next": 16}
SLOWNESS = 1.3
WAIT_MS = 1
WAITS = f"waits {WAIT_MS} ms before each prediction, as for a feature store"


def _language_models() -> tuple[Model, ...]:
    command = (_python("llama"), "-m", "demo.servers.on_llama")
    return tuple(
        Model(
            backend,
            seed,
            f"random weights, seed {seed}, {layers} layers",
            (*command, "--seed", seed, "--layers", str(layers)),
            "/health",
        )
        for seed, (backend, layers) in zip("789", LAYERS.items(), strict=True)
    )


LINEUPS: Mapping[Server, Lineup] = {
    "builtin": Lineup(
        "three classifiers of Fisher's irises, trained just now",
        _classifiers(sys.executable, "demo.model_server", "--slowness", str(SLOWNESS)),
        ("v2", "chat"),
        f"was made to take {SLOWNESS} times as long",
        200,
    ),
    "kserve": Lineup(
        "three classifiers of Fisher's irises behind KServe",
        _classifiers(_python("kserve"), "demo.servers.on_kserve", "--wait-ms", str(WAIT_MS)),
        ("v2",),
        WAITS,
        120,
    ),
    "mlserver": Lineup(
        "three scikit-learn classifiers of Fisher's irises behind MLServer",
        _classifiers(_python("mlserver"), "demo.servers.on_mlserver", "--wait-ms", str(WAIT_MS)),
        ("v2",),
        WAITS,
        100,
    ),
    "llama": Lineup(
        "three tiny language models behind llama.cpp",
        _language_models(),
        ("chat",),
        f"computes {LAYERS['next']} layers where the others compute {LAYERS['stable']}",
        40,
    ),
}
