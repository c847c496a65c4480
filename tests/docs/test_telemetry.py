"""docs/telemetry.md says what is: every attribute that a span may have, every variable that is read."""

from __future__ import annotations

import re

from understudy.config import environment
from understudy.config.schema import OtlpPart, TracesPart
from understudy.proxy.telemetry.export import plan

from tests.kit import told
from tests.proxy.telemetry.test_spans import spans_of

from .pages import ROOT

PAGE = (ROOT / "docs" / "telemetry.md").read_text("utf-8")
_QUOTED = re.compile(r"`([^`\n]+)`")  # noqa: TID251 - over our own page
_VARIABLE = re.compile(r'"(OTEL_[A-Z_]+)"')  # noqa: TID251 - over our own sources


def is_told(name: str) -> bool:
    """Whole, or without what it shares with the names beside it: `.result.variant`."""
    quoted = set(_QUOTED.findall(PAGE))
    return name in quoted or any(name[at:] in quoted for at, each in enumerate(name) if each == ".")


def test_every_attribute_and_event_is_told() -> None:
    spans = [span for record in told.everything() for span in spans_of(record)]
    names = {name for span in spans for name in span.attributes} | {
        event.name for span in spans for event in span.events
    }
    names -= {"http.request.header.x-tenant", "http.request.method_original", "network.transport"}
    names -= {"feature_flag.provider.name", "feature_flag.set.id", "feature_flag.version"}
    assert len(names) > 35
    assert not [name for name in names if not is_told(name)]
    assert not is_told("understudy.nothing.of.the.kind")


def test_every_variable_is_told() -> None:
    variables = set(_VARIABLE.findall((ROOT / "config" / "environment.py").read_text("utf-8")))
    assert len(variables) > 5
    assert {name for name in variables if name not in PAGE} == set()
    for name, attribute in plan.DOWNWARD.items():
        assert f"| `{name}` | `{attribute}` |" in PAGE
    for what in ("PROTOCOL", "HEADERS", "COMPRESSION", "TIMEOUT", "CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY"):
        assert f"`{what}`" in PAGE
    for sampler in environment._SAMPLERS | dict.fromkeys(environment._RATIO_SAMPLERS):
        assert f"`{sampler.removeprefix('parentbased_')}`" in PAGE


def test_every_key_is_told() -> None:
    for name in OtlpPart.__struct_fields__:
        assert f"`otlp.{name}`" in PAGE
    for name in TracesPart.__struct_fields__:
        assert f"`traces.{name}`" in PAGE
