"""Two small classifiers of Fisher's irises, trained in a fraction of a second with the standard library.

The data are the 150 flowers of R. A. Fisher, "The use of multiple measurements in taxonomic problems", Annals of
Eugenics 7 (1936): four lengths in centimetres and a species each. Every fifth flower is kept back to judge a model.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple, Protocol, TypeAlias

Features: TypeAlias = Sequence[float]

Kind: TypeAlias = Literal["logistic", "bayes"]

KINDS: tuple[Kind, ...] = ("logistic", "bayes")
SPECIES = ("setosa", "versicolor", "virginica")
DATA = Path(__file__).with_name("iris.csv")


class Flower(NamedTuple):
    """One row of the data: four lengths in centimetres and an index into SPECIES."""

    features: tuple[float, float, float, float]
    species: int


class Classifier(Protocol):
    """What both models can do."""

    def probabilities(self, features: Features) -> list[float]:
        """One probability per species, in the order of SPECIES."""
        ...


def flowers() -> list[Flower]:
    """All rows of the data, in the order of the file."""
    with DATA.open(newline="") as file:
        rows = list(csv.reader(file))[1:]
    return [Flower((float(a), float(b), float(c), float(d)), SPECIES.index(name)) for a, b, c, d, name in rows]


def split(rows: Sequence[Flower]) -> tuple[list[Flower], list[Flower]]:
    """(training, test): every fifth flower is for the test, which takes ten of each species."""
    return [row for i, row in enumerate(rows) if i % 5], [row for i, row in enumerate(rows) if i % 5 == 0]


def accuracy(model: Classifier, rows: Sequence[Flower]) -> float:
    """The share of rows whose species the model finds most probable."""
    return sum(most_probable(model.probabilities(row.features)) == row.species for row in rows) / len(rows)


def most_probable(probabilities: Sequence[float]) -> int:
    """The index of the largest probability."""
    return max(range(len(probabilities)), key=probabilities.__getitem__)


def train(kind: Kind, rows: Sequence[Flower]) -> Classifier:
    """Train one of the two models."""
    return LogisticRegression(rows) if kind == "logistic" else GaussianNaiveBayes(rows)


def _softmax(scores: Sequence[float]) -> list[float]:
    top = max(scores)
    powers = [math.exp(score - top) for score in scores]
    total = sum(powers)
    return [power / total for power in powers]


class LogisticRegression:
    """Multinomial logistic regression, fitted by full-batch gradient descent on standardised features."""

    def __init__(self, rows: Sequence[Flower], *, steps: int = 200, rate: float = 0.5) -> None:
        columns = list(zip(*(row.features for row in rows), strict=True))
        self._means = [sum(column) / len(column) for column in columns]
        self._deviations = [
            math.sqrt(sum((x - mean) ** 2 for x in column) / len(column))
            for column, mean in zip(columns, self._means, strict=True)
        ]
        self._weights = [[0.0] * (len(columns) + 1) for _ in SPECIES]
        inputs = [self._standardise(row.features) for row in rows]
        for _ in range(steps):
            self._step(inputs, [row.species for row in rows], rate)

    def probabilities(self, features: Features) -> list[float]:
        return self._forward(self._standardise(features))

    def _standardise(self, features: Features) -> list[float]:
        scaled = zip(features, self._means, self._deviations, strict=True)
        return [1.0, *((x - mean) / deviation for x, mean, deviation in scaled)]

    def _forward(self, inputs: Sequence[float]) -> list[float]:
        return _softmax([sum(w * x for w, x in zip(row, inputs, strict=True)) for row in self._weights])

    def _step(self, inputs: Sequence[Sequence[float]], labels: Sequence[int], rate: float) -> None:
        gradient = [[0.0] * len(row) for row in self._weights]
        for x, label in zip(inputs, labels, strict=True):
            for species, probability in enumerate(self._forward(x)):
                error = probability - (species == label)
                gradient[species] = [g + error * value for g, value in zip(gradient[species], x, strict=True)]
        scale = rate / len(inputs)
        self._weights = [
            [w - scale * g for w, g in zip(row, slope, strict=True)]
            for row, slope in zip(self._weights, gradient, strict=True)
        ]


class GaussianNaiveBayes:
    """Each feature of each species a normal distribution of its own; all species equally frequent."""

    def __init__(self, rows: Sequence[Flower]) -> None:
        self._normals: list[list[tuple[float, float]]] = []  # per species and feature: mean, variance
        for species in range(len(SPECIES)):
            columns = zip(*(row.features for row in rows if row.species == species), strict=True)
            self._normals.append([_normal(column) for column in columns])

    def probabilities(self, features: Features) -> list[float]:
        return _softmax(
            [
                sum(
                    -((x - mean) ** 2) / (2 * variance) - math.log(variance) / 2
                    for x, (mean, variance) in zip(features, normals, strict=True)
                )
                for normals in self._normals
            ]
        )


def _normal(column: Sequence[float]) -> tuple[float, float]:
    mean = sum(column) / len(column)
    return mean, sum((x - mean) ** 2 for x in column) / len(column)
