"""When pairs may be added to those before: epochs begin with what changes the answer to `who answers whom`."""

from __future__ import annotations

import pytest
from understudy.config.load import load_bytes
from understudy.config.schema import Document
from understudy.proxy.comparison.epochs import DEFAULT_TOLERANCE, Epochs, tolerance_of, why_new
from understudy.proxy.comparison.view import Epoch
from understudy.proxy.telemetry.stats import CallKey, CallStats

from tests.kit.pairs import pair, rehearsal, told

CONFIG = """\
listeners: {ingress: {bind: 127.0.0.1:7080}}
backends:
  stable: {endpoints: [http://127.0.0.1:9001], version: "7", first_byte_timeout: 9s}
  canary: {endpoints: [http://127.0.0.1:9002], version: "8"}
  next: {endpoints: [http://127.0.0.1:9003], version: "9"}
routes:
  - name: iris
    match: {path_prefix: /v2}
    backend: stable
    filters:
      - {type: headers, request: {set: {x-a: b}}}
      - {type: split, experiment: e, key: {header: x-user}, arms: {stable: 90, canary: 10}}
      - {type: mirror, to: [{backend: next, tolerance: 3}]}
  - {name: plain, match: {path_prefix: /}, backend: stable}
"""


def document(text: str = CONFIG) -> Document:
    loaded = load_bytes(text.encode(), file="u.yaml", base="/")
    assert loaded.document is not None, loaded.mistakes
    return loaded.document


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('version: "9"', 'version: "10"', "version"),
        (':9003], version: "9"', ':9004], version: "10"', "version"),
        (":9003", ":9004", "configuration"),
        ("canary: 10", "canary: 20", "configuration"),
        ("to: [{backend: next", "to: [{percent: 50, backend: next", "configuration"),
        ("path_prefix: /v2", "path_prefix: /v3", "configuration"),
        ("      - {type: split", "      - {type: flags, rules: [{flag: f, backend: canary}]}\n      - {type: split",
         "configuration"),
        ("      - {type: split", "      - {type: flags, rules: [{flag: f, skip: [mirror]}]}\n      - {type: split",
         "configuration"),
        ("tolerance: 3", "tolerance: 4", None),
        ("x-a: b", "x-a: c", None),
        ("first_byte_timeout: 9s", "first_byte_timeout: 8s", None),
        ("bind: 127.0.0.1:7080", "bind: 127.0.0.1:7090", None),
        ("routes:", "  more: {endpoints: [http://127.0.0.1:9005]}\nroutes:", None),
    ],
)  # fmt: skip
def test_a_new_epoch_begins_with_what_changes_who_answers_whom(old: str, new: str, why: str | None) -> None:
    assert old in CONFIG
    assert why_new(document(), document(CONFIG.replace(old, new))) == why


def test_epochs_count_from_one_and_pairs_of_configurations_before_come_late() -> None:
    epochs = Epochs()
    assert epochs.configured(1, document()) == "start"
    epochs.begin("start", "t1", {}, {})
    epochs.take(told([pair(config=1)] * 3))
    assert epochs.configured(2, document(CONFIG.replace("x-a: b", "x-a: c"))) is None
    epochs.take(told([pair(config=1), pair(config=2)]))
    (sums,) = epochs.book.comparisons.values()
    assert (epochs.current, sums.selected) == (Epoch(1, "t1", "start"), 5)
    assert epochs.configured(3, document(CONFIG.replace('"9"', '"10"'))) == "version"
    key = CallKey("iris", "stable", "7")
    epochs.begin("version", "t2", {key: CallStats(key, statuses={200: 4})}, {})
    epochs.take(told([pair(config=2), pair(config=3, shadow_version="10")]))
    assert epochs.current == Epoch(2, "t2", "version")
    assert [key[4] for key in epochs.book.comparisons] == ["10"]
    assert (epochs.book.late, epochs.calls_before[key].statuses) == (1, {200: 4})


def test_pairs_of_a_configuration_that_was_undone_come_late() -> None:
    epochs = Epochs()
    epochs.configured(1, document())
    epochs.begin("start", "t1", {}, {})
    epochs.configured(2, document(CONFIG.replace('"9"', '"10"')))
    epochs.begin("version", "t2", {}, {})
    assert epochs.configured(1, document()) == "version"
    epochs.begin("version", "t3", {}, {})
    epochs.take(told([pair(config=2, shadow_version="10"), pair(config=1)]))
    assert [key[4] for key in epochs.book.comparisons] == ["9"]
    assert epochs.book.late == 1


def test_a_reset_leaves_the_configuration_and_what_was_counted_beside_the_comparisons() -> None:
    epochs = Epochs()
    epochs.configured(4, document())
    epochs.begin("start", "t1", {}, {})
    epochs.take(told([pair(config=3), pair(config=4)]))
    epochs.begin("reset", "t2", {}, {})
    assert (epochs.book.comparisons, epochs.book.late) == ({}, 1)
    epochs.take(told([pair(config=4)]))
    assert len(epochs.book.comparisons) == 1


def test_the_log_hears_what_an_epoch_has_found() -> None:
    epochs = Epochs()
    assert list(epochs.found(None)) == []
    epochs.configured(1, document())
    epochs.begin("start", "t1", {}, {})
    epochs.take(told(rehearsal(1, 2000, slower=1.5)))
    (line,) = epochs.found(document())
    assert line.startswith("epoch 1 ends: iris: stable@7 against next@9: 2,000 pairs, 1.5")
    assert "slower by 4" in line


def test_the_tolerance_is_the_shadows_own() -> None:
    assert tolerance_of(document(), "iris", "next") == 0.03
    assert tolerance_of(document(), "plain", "next") == DEFAULT_TOLERANCE
    assert tolerance_of(None, "iris", "next") == DEFAULT_TOLERANCE
