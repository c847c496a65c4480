"""A scikit-learn model behind MLServer, in the way MLServer's users do it: a joblib file and two JSON files.

Run by the environment of mlserver.lock: `python -m demo.servers.on_mlserver --model logistic --version 7 --port 9001`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import joblib
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB

from ..classifiers import flowers, split

MODELS: dict[str, Any] = {
    "logistic": lambda: LogisticRegression(max_iter=1000),
    "bayes": GaussianNB,
    "forest": lambda: RandomForestClassifier(n_estimators=TREES, random_state=9),
}
TREES = 20
"""In the forest: what makes it slower than the other two."""


def write_folder(folder: Path, *, kind: str, version: str, port: int) -> None:
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
        "implementation": "mlserver_sklearn.SKLearnModel",
        "parameters": {"uri": "./model.joblib", "version": version},
    }
    (folder / "model-settings.json").write_text(json.dumps(settings))


def main() -> None:
    """Train, then become `mlserver start`."""
    parser = argparse.ArgumentParser(prog="python -m demo.servers.on_mlserver")
    parser.add_argument("--model", choices=sorted(MODELS), required=True)
    parser.add_argument("--version", required=True)
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="understudy-mlserver-"))
    write_folder(folder, kind=options.model, version=options.version, port=options.port)
    os.execv(sys.executable, [sys.executable, "-m", "mlserver.cli.main", "start", str(folder)])


if __name__ == "__main__":
    main()
