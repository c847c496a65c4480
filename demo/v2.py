"""The few messages of the V2 (Open Inference) protocol's JSON form that the demo's models speak."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from .classifiers import SPECIES, Classifier, most_probable

Json: TypeAlias = dict[str, Any]

FEATURES = 4
LONGEST_CM = 1000
SERVER = {"name": "understudy-demo", "version": "1", "extensions": []}


class BadRequest(Exception):
    """The caller's message is not what the protocol allows; the text is for the caller."""


def infer_request(id: str, rows: Sequence[Sequence[float]]) -> Json:
    """An inference request for these flowers, lengths in centimetres."""
    return {
        "id": id,
        "inputs": [{"name": "flowers", "shape": [len(rows), FEATURES], "datatype": "FP64", "data": _flat(rows)}],
    }


def metadata(name: str, version: str) -> Json:
    """What `GET /v2/models/NAME` answers."""
    return {
        "name": name,
        "versions": [version],
        "platform": "understudy-demo",
        "inputs": [{"name": "flowers", "datatype": "FP64", "shape": [-1, FEATURES]}],
        "outputs": [
            {"name": "species", "datatype": "BYTES", "shape": [-1]},
            {"name": "probabilities", "datatype": "FP64", "shape": [-1, len(SPECIES)]},
        ],
    }


def infer(model: Classifier, name: str, version: str, request: object) -> Json:
    """Answer an inference request. Raises BadRequest."""
    rows = _rows(request)
    probabilities = [model.probabilities(row) for row in rows]
    answer: Json = {
        "model_name": name,
        "model_version": version,
        "outputs": [
            {
                "name": "species",
                "shape": [len(rows)],
                "datatype": "BYTES",
                "data": [SPECIES[most_probable(row)] for row in probabilities],
            },
            {
                "name": "probabilities",
                "shape": [len(rows), len(SPECIES)],
                "datatype": "FP64",
                "data": [round(p, 6) for p in _flat(probabilities)],
            },
        ],
    }
    if isinstance(request, dict) and "id" in request:
        answer["id"] = request["id"]
    return answer


def _rows(request: object) -> list[list[float]]:
    match request:
        case {"inputs": [{"shape": [int() as count, 4], "datatype": str() as kind, "data": list() as data}]} if (
            kind in ("FP64", "FP32", "INT64")
        ):
            values = _flat(data) if all(isinstance(row, list) for row in data) else data
        case _:
            raise BadRequest("expected one input: shape [n, 4], datatype FP64, FP32 or INT64, data a list")
    if len(values) != count * FEATURES:
        raise BadRequest(f"shape [{count}, {FEATURES}] needs {count * FEATURES} numbers, got {len(values)}")
    if not all(type(value) in (int, float) and 0 <= value <= LONGEST_CM for value in values):
        raise BadRequest(f"a length is a number of centimetres from 0 to {LONGEST_CM}")
    return [values[i : i + FEATURES] for i in range(0, len(values), FEATURES)]


def _flat(rows: Sequence[Sequence[float]]) -> list[float]:
    return [value for row in rows for value in row]
