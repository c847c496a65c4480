"""The demo's classifier behind KServe's own model server: V1 and V2, JSON and binary tensors.

Run by the environment of kserve.lock: `python -m demo.servers.on_kserve --model logistic --version 7 --port 9001`.
"""

from __future__ import annotations

import argparse
import asyncio
from typing import Any

import kserve
import numpy as np

from ..classifiers import flowers, most_probable, split, train


class Iris(kserve.Model):  # type: ignore[misc]  # KServe is not installed where types are checked
    """Answers with the species (INT64, an index) and the probabilities (FP64) of each flower."""

    def __init__(self, kind: Any, version: str, wait_s: float) -> None:
        super().__init__("iris")
        training, _ = split(flowers())
        self._classifier = train(kind, training)
        self._version = version
        self._wait_s = wait_s
        self.ready = True

    async def predict(
        self, payload: kserve.InferRequest, headers: Any = None, response_headers: Any = None
    ) -> kserve.InferResponse:
        if self._wait_s:
            await asyncio.sleep(self._wait_s)  # noqa: TID251  # as for a feature store
        rows = payload.inputs[0].as_numpy().reshape(-1, 4)
        probabilities = np.array([self._classifier.probabilities(row.tolist()) for row in rows])
        species = np.array([most_probable(row) for row in probabilities.tolist()], dtype=np.int64)
        outputs = []
        for name, datatype, values in (("species", "INT64", species), ("probabilities", "FP64", probabilities)):
            output = kserve.InferOutput(name=name, shape=list(values.shape), datatype=datatype)
            output.set_data_from_numpy(values, binary_data=False)
            outputs.append(output)
        return kserve.InferResponse(
            payload.id,
            self.name,
            outputs,
            model_version=self._version,
            use_binary_outputs=payload.use_binary_outputs,
            requested_outputs=payload.request_outputs,
        )


def main() -> None:
    """Train, then serve until a signal."""
    parser = argparse.ArgumentParser(prog="python -m demo.servers.on_kserve")
    parser.add_argument("--model", choices=["logistic", "bayes"], required=True)
    parser.add_argument("--version", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--wait-ms", type=float, default=0.0, help="before each prediction")
    options = parser.parse_args()
    server = kserve.ModelServer(http_port=options.port, enable_grpc=False, workers=1)
    server.start([Iris(options.model, options.version, options.wait_ms / 1000)])


if __name__ == "__main__":
    main()
