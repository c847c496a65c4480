"""Names, units and values are OpenTelemetry's, as the installed package of its conventions has them, or ours."""

from __future__ import annotations

import ast
import inspect
import pkgutil
from collections.abc import Iterator
from enum import Enum
from importlib import import_module
from itertools import pairwise
from types import ModuleType
from typing import Any

import pytest
from understudy.proxy.rescue import RESCUES
from understudy.proxy.telemetry.families import TABLE
from understudy.proxy.telemetry.spans import CLIENT, SERVER
from understudy.proxy.telemetry.told import ToldFlag

from tests.kit import told
from tests.kit.spans import Span
from tests.kit.told import told_call, told_exchange

from .test_spans import spans_of

STABLE, INCUBATING = "opentelemetry.semconv", "opentelemetry.semconv._incubating"
GONE = "Deprecated: "
"""Begins what is said of a name that is not to be used any more; one that became stable reads otherwise."""

MOVED = GONE + "Moved to the [OpenTelemetry GenAI semantic conventions repository]"
"""The names live on, in another place."""

REQUIRED = {
    SERVER: {"http.request.method", "url.path", "url.scheme"},
    CLIENT: {"http.request.method", "url.full", "server.address", "server.port"},
}
EVENTS = {"feature_flag.evaluation"}  # the package has no names of events: semantic-conventions, docs/feature-flags
CREATE = {
    "counter": "create_counter", "updown": "create_up_down_counter", "histogram": "create_histogram",
    "gauge": "create_observable_gauge",
}  # fmt: skip
BORROWED = [entry for entry in TABLE if not entry.name.startswith("understudy.")]


def modules(of: str) -> Iterator[ModuleType]:
    """All that are stable and all that are not, of `attributes` or `metrics`."""
    for parent in (STABLE, INCUBATING):
        package = import_module(f"{parent}.{of}")
        for info in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            yield import_module(info.name)


def constants(module: ModuleType) -> Iterator[tuple[str, str, str]]:
    """Name, value and what is said of each."""
    for each, following in pairwise(ast.parse(inspect.getsource(module)).body):
        match each, following:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(said))):
                yield name, getattr(module, name), said.strip()


def is_in_use(said: str) -> bool:
    return not said.startswith(GONE) or said.startswith(MOVED)


def published(of: str = "attributes") -> set[str]:
    """Every name that is in use."""
    return {value for module in modules(of) for _, value, said in constants(module) if is_in_use(said)}


def listed() -> dict[str, set[str]]:
    """The values that are listed for an attribute, by its name."""
    found: dict[str, set[str]] = {}
    for module in modules("attributes"):
        for name, attribute, _ in constants(module):
            values = getattr(module, f"{name.title().replace('_', '')}Values", None)
            if values is not None and issubclass(values, Enum):
                found.setdefault(attribute, set()).update(each.value for each in values)
    return found


def told_spans() -> list[Span]:
    records = [
        *told.everything(),
        *(told_exchange(flags=[ToldFlag("f", "v", reason)]) for reason in ("targeting_match", "split", "unknown")),
        *(told_exchange(method=method, calls=[told_call()]) for method in ("GET", "QUERY", "CONNECT", "brew", "")),
        *(told_exchange(status=504, reason=reason) for reason in RESCUES),
        *(told_exchange(calls=[told_call(outcome=reason, status=0)]) for reason in RESCUES),
    ]
    return [span for record in records for span in spans_of(record)]


SPANS = told_spans()
SAID = [
    *((span, span.attributes) for span in SPANS),
    *((span, event.attributes) for span in SPANS for event in span.events),
]


def test_what_is_deprecated_is_not_taken_for_published() -> None:
    found = published()
    assert len(found) > 500
    assert {"http.request.method", "feature_flag.result.variant", "gen_ai.response.time_to_first_chunk"} <= found
    assert not found & {"http.method", "net.host.port", "feature_flag.variant", "feature_flag.evaluation.reason"}


def test_every_attribute_is_published_or_ours() -> None:
    names = {name.removesuffix(".x-tenant") for _, attributes in SAID for name in attributes}
    assert len(names) > 35
    assert {name for name in names - published() if not name.startswith("understudy.")} == set()


def test_every_event_is_published_or_ours() -> None:
    names = {event.name for span in SPANS for event in span.events}
    assert len(names) == 4
    assert {name for name in names if not name.startswith("understudy.")} == EVENTS
    evaluations = [event for span in SPANS for event in span.events if event.name in EVENTS]
    assert all(event.attributes.keys() >= {"feature_flag.key", "feature_flag.result.variant"} for event in evaluations)


def test_a_value_is_listed_where_there_is_a_list() -> None:
    lists = listed()
    assert lists["feature_flag.result.reason"] >= {"targeting_match", "split", "unknown"}
    found: dict[str, set[Any]] = {name: set() for name in lists}
    for _, attributes in SAID:
        for name in attributes.keys() & lists.keys():
            found[name].add(attributes[name])
    errors = found.pop("error.type")  # anyone may add to its list
    assert {each for each in errors if not each.isdigit()} <= RESCUES.keys()
    asked = {name: values for name, values in found.items() if values}
    assert asked.keys() == {"http.request.method", "network.transport", "feature_flag.result.reason"}
    assert {name: values - lists[name] for name, values in asked.items() if values - lists[name]} == {}
    assert found["http.request.method"] == {"GET", "POST", "QUERY", "CONNECT", "_OTHER"}


@pytest.mark.parametrize("kind", [SERVER, CLIENT])
def test_what_is_required_of_a_span_is_there(kind: int) -> None:
    """Save where there is none: an endpoint that was never chosen, the port and URL of a Unix socket."""
    for span in (span for span in SPANS if span.kind == kind):
        said, required = span.attributes, set(REQUIRED[kind])
        if kind == CLIENT and "server.address" not in said:
            assert span.error == "connect_failed"
            required = {"http.request.method"}
        elif said.get("network.transport") == "unix":
            required -= {"server.port", "url.full"}
        if span.error is not None:
            required.add("error.type")
        assert said.keys() >= required, span
        if kind == SERVER and span.name.endswith("/v2/*"):
            assert said["http.route"] == "/v2/*"


class Meter:
    """Gives back what it was asked to create."""

    def __getattr__(self, kind: str) -> Any:
        return lambda **said: (kind, said["unit"], said["name"])


def created(name: str) -> tuple[str, str, str]:
    """How the package creates this metric: by which call, unit and name."""
    module = import_module(f"{INCUBATING}.metrics.{name.split('.', maxsplit=1)[0]}_metrics")
    found: tuple[str, str, str] = getattr(module, f"create_{name.replace('.', '_')}")(Meter())
    return found


@pytest.mark.parametrize("entry", BORROWED, ids=lambda entry: entry.name)
def test_a_metric_that_is_not_ours_by_name_is_the_published_one(entry: Any) -> None:
    assert entry.name in published("metrics")
    assert created(entry.name) == (CREATE[entry.kind], entry.unit, entry.name)


def test_labels_are_ours_or_published() -> None:
    assert {entry.name.split(".")[0] for entry in BORROWED} == {"http", "gen_ai", "process"}
    labels = {label for entry in TABLE for label in entry.attributes}
    theirs = {label for label in labels if "." in label}
    assert theirs <= published()
    assert not (labels - theirs) & published(), "a name of theirs, for what may be another thing"
