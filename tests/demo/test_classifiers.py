"""The demo's data are Fisher's, and its models learn them."""

from __future__ import annotations

from statistics import mean

import pytest

from demo.classifiers import KINDS, SPECIES, Kind, accuracy, flowers, split, train


def test_the_data_are_fishers_150_flowers() -> None:
    rows = flowers()

    assert [sum(row.species == species for row in rows) for species in range(len(SPECIES))] == [50, 50, 50]
    means = [round(mean(row.features[i] for row in rows), 4) for i in range(4)]
    assert means == [5.8433, 3.0573, 3.758, 1.1993]


def test_the_two_rows_that_many_copies_have_wrong_are_as_fisher_printed_them() -> None:
    rows = flowers()

    assert rows[34].features == (4.9, 3.1, 1.5, 0.2)
    assert rows[37].features == (4.9, 3.6, 1.4, 0.1)


def test_the_test_flowers_are_not_trained_on_and_hold_ten_of_each_species() -> None:
    training, test = split(flowers())

    assert len(training) == 120
    assert [sum(row.species == species for row in test) for species in range(3)] == [10, 10, 10]
    assert sorted(training + test) == sorted(flowers())


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_names_flowers_it_has_not_seen(kind: Kind) -> None:
    training, test = split(flowers())

    assert accuracy(train(kind, training), test) >= 0.9


@pytest.mark.parametrize("kind", KINDS)
def test_probabilities_add_up(kind: Kind) -> None:
    model = train(kind, flowers())

    for features in ((0, 0, 0, 0), (1000, 0, 1000, 0), flowers()[0].features):
        probabilities = model.probabilities(features)
        assert sum(probabilities) == pytest.approx(1)
        assert all(0 <= each <= 1 for each in probabilities)


def test_the_canary_is_another_model() -> None:
    logistic, bayes = (train(kind, flowers()) for kind in KINDS)

    assert logistic.probabilities(flowers()[0].features) != bayes.probabilities(flowers()[0].features)
