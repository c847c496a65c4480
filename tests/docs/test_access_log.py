"""The page of the access log shows the lines that the program writes, and tells every field of them."""

from __future__ import annotations

import re

import yaml
from understudy.config.log_line import FIELDS
from understudy.config.schema import AccessLogPart
from understudy.proxy.telemetry.access_line import renderer
from understudy.proxy.telemetry.lines import line_of
from understudy.proxy.telemetry.told import ToldExchange

from tests.kit.lines import live, shadow, told

from .pages import ROOT, blocks

PAGE = ROOT / "docs" / "access-log.md"
_NAME = re.compile(r"`(\w+)`")  # noqa: TID251 - over our own page
SHOWN = told(
    request_id="4be1d0f2c6a94e0c8d0c7b6ef0a15c11", experiment="ranker-v2", arm="stable", fields={"x-user-id": "u1"},
    calls=[live(), shadow()],
)  # fmt: skip


def line(exchange: ToldExchange, number: int) -> str:
    """By the so many-th piece of YAML on the page."""
    pieces = [yaml.safe_load(block.text) for block in blocks(PAGE) if block.language == "yaml"]
    part = pieces[number]["telemetry"]["access_log"]
    options = {"format": part.get("format", "json"), "headers": tuple(part["headers"])}
    return renderer(AccessLogPart(**options))(line_of(exchange)).decode()


def test_the_lines_on_the_page_are_those_of_the_program() -> None:
    (json,) = [block.text for block in blocks(PAGE) if block.language == "json"]
    (text,) = [block.text for block in blocks(PAGE) if block.language == ""]
    assert json == line(SHOWN, 0)
    assert text == line(SHOWN, 1)


def test_every_field_and_every_key_is_told() -> None:
    rows = [row.split("|")[1] for row in PAGE.read_text("utf-8").splitlines() if row.startswith("| `")]
    named = {name for row in rows for name in _NAME.findall(row)}
    assert named == {*FIELDS, "headers", *AccessLogPart.__struct_fields__}
