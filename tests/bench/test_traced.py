"""Traces in the bench: spans are counted as they were sent, and both contenders are asked for the same share."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest
from understudy.config.load import load_bytes

from bench.loopback.collector import count_spans
from bench.loopback.peers import Variants
from bench.loopback.traced import with_traces


def field(number: int, content: bytes) -> bytes:
    """A length-delimited field of a protobuf message; its content is shorter than 16 KiB."""
    return bytes([number << 3 | 2, len(content) & 0x7F | 0x80, len(content) >> 7]) + content


ATTRIBUTE = field(9, field(1, b"key"))
SPAN = field(2, field(1, b"t" * 16) + ATTRIBUTE + b"\x30\x02" + b"\x39" + bytes(8))
RESOURCE = field(1, field(1, b"service.name"))
SCOPE = field(1, field(1, b"understudy"))


def test_spans_are_counted_over_resources_and_scopes_and_nothing_else_is() -> None:
    scopes = field(2, SCOPE + SPAN + SPAN) + field(2, SPAN)
    message = field(1, RESOURCE + scopes) + field(1, RESOURCE + field(2, SPAN))
    assert count_spans(message) == 4
    assert count_spans(field(1, RESOURCE)) == 0
    assert count_spans(b"") == 0


def test_a_message_that_is_cut_short_is_no_count() -> None:
    with pytest.raises(IndexError):
        count_spans(b"\x0a")


def test_both_contenders_draw_the_same_share() -> None:
    made = partial(with_traces, Variants(1, 2, 3), 4, 0.01)(5, 6)
    manager = made["envoy"]["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    assert manager["tracing"]["random_sampling"] == {"value": 1.0}
    assert made["understudy"]["telemetry"]["traces"] == {"sample": 0.01}


def test_the_document_is_understudys_own(tmp_path: Path) -> None:
    made = with_traces(Variants(1, 2, 3), 4, 0.01, 5, 6)
    result = load_bytes(json.dumps(made["understudy"]).encode(), file="bench.json", base=str(tmp_path))
    assert result.mistakes == []
