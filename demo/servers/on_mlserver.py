"""A scikit-learn model behind MLServer, in the way MLServer's users do it: a joblib file and two JSON files.

Run by the environment of mlserver.lock: `python -m demo.servers.on_mlserver --model logistic --version 7 --port 9001`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
from pathlib import Path
from typing import Any

import joblib
import mlserver_sklearn
from mlserver.cli.main import root
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB

from ..classifiers import flowers, split

MODELS: dict[str, Any] = {"logistic": lambda: LogisticRegression(max_iter=1000), "bayes": GaussianNB}


class Waiting(mlserver_sklearn.SKLearnModel):  # type: ignore[misc]  # MLServer is not installed where types are checked
    """The same model, after a wait as for a feature store: `wait_ms` of its settings' `extra`."""

    async def predict(self, payload: Any) -> Any:
        await asyncio.sleep(self.settings.parameters.extra["wait_ms"] / 1000)  # noqa: TID251
        return await super().predict(payload)


def write_folder(folder: Path, *, kind: str, version: str, port: int, wait_ms: float) -> None:
    """Train the model and write what `mlserver start` reads; the port of gRPC, which is not used here, is any."""
    training, _ = split(flowers())
    model = MODELS[kind]().fit([row.features for row in training], [row.species for row in training])
    joblib.dump(model, folder / "model.joblib")
    server = {
        "host": "127.0.0.1",
        "http_port": port,
        "grpc_port": 0,
        "metrics_endpoint": None,
        "parallel_workers": 0,
    }
    (folder / "settings.json").write_text(json.dumps(server))
    settings = {
        "name": "iris",
        "implementation": "demo.servers.on_mlserver.Waiting" if wait_ms else "mlserver_sklearn.SKLearnModel",
        "parameters": {"uri": "./model.joblib", "version": version, "extra": {"wait_ms": wait_ms}},
    }
    (folder / "model-settings.json").write_text(json.dumps(settings))


def main() -> None:
    """Train, then do what `mlserver start` does, here: to import scikit-learn a second time would take two seconds."""
    parser = argparse.ArgumentParser(prog="python -m demo.servers.on_mlserver")
    parser.add_argument("--model", choices=sorted(MODELS), required=True)
    parser.add_argument("--version", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--wait-ms", type=float, default=0.0, help="before each prediction")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="understudy-mlserver-"))
    write_folder(folder, kind=options.model, version=options.version, port=options.port, wait_ms=options.wait_ms)
    root(["start", str(folder)])


if __name__ == "__main__":
    main()
