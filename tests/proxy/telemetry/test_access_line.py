"""What a line of the access log says, and that it stays a line whatever a client wrote."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from understudy.config.log_line import FIELDS, pieces
from understudy.config.schema import AccessLogPart
from understudy.proxy.telemetry.access_line import renderer
from understudy.proxy.telemetry.lines import line_of
from understudy.proxy.telemetry.told import ToldExchange

from tests.kit.lines import live, rich, shadow, told

TEMPLATE = '{time} {client} "{method} {path} HTTP/{http_version}" {status} {total_ms} {shadows} "{headers.X-User-Id}"'


def line(exchange: ToldExchange, **options: Any) -> bytes:
    return renderer(AccessLogPart(**options))(line_of(exchange))


def read(exchange: ToldExchange, **options: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(line(exchange, **options))
    return found


def test_a_line_says_what_happened() -> None:
    assert read(told()) == {
        "time": "2026-11-21T02:41:07.042Z", "request_id": "r-1", "method": "POST", "path": "/v2/models/iris/infer",
        "http_version": "1.1", "status": 200, "reason": "", "route": "iris", "backend": "stable", "version": "7",
        "endpoint": "127.0.0.1:9001", "first_byte_ms": 11.6, "total_ms": 12.346, "request_bytes": 1024,
        "response_bytes": 128, "client": "10.1.2.3", "resent": 0,
    }  # fmt: skip


def test_what_does_not_apply_to_every_exchange_is_there_where_it_does() -> None:
    found, least = read(rich(), headers=("X-User-Id",)), read(told())
    assert least.keys() < found.keys()
    assert {name: found[name] for name in found.keys() - least.keys()} == {
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
        "flags": {"dogfood": "canary", "eu": "skip mirror"},
        "experiment": "ranker",
        "arm": "b",
        "shadows": [
            {"backend": "next", "version": "9", "status": 200, "outcome": "complete", "first_byte_ms": 15.0,
             "total_ms": 16.0},
            {"backend": "other", "version": "", "status": 0, "outcome": "budget_requests", "first_byte_ms": None,
             "total_ms": None},
        ],
        "time_to_first_token_ms": 80.123,
        "time_per_output_chunk_ms": 9.5,
        "output_chunks": 40,
        "headers": {"x-user-id": "u1"},
    }  # fmt: skip
    assert found["resent"] == 1
    assert (*(name for name in found if name != "headers"),) == FIELDS, "in the order that is documented"


def test_an_exchange_that_reached_no_backend_and_one_whose_copy_is_under_way() -> None:
    refused = read(told(calls=[], status=404, reason="no_route", route="", first_byte_ms=None))
    assert (refused["backend"], refused["endpoint"], refused["first_byte_ms"]) == ("", "", None)
    (pending,) = read(told(calls=[live(), shadow(outcome="pending", status=0, first_byte_ms=None)]))["shadows"]
    assert (pending["outcome"], pending["status"], pending["total_ms"]) == ("pending", 0, None)


def test_attempts_at_several_endpoints_are_counted_and_the_last_one_is_named() -> None:
    found = read(told(calls=[live(endpoint="a:1"), live(endpoint="b:1"), live(endpoint="c:1")]))
    assert (found["endpoint"], found["resent"]) == ("c:1", 2)


def test_a_template_says_the_same() -> None:
    text = line(rich(), format=TEMPLATE, headers=("x-user-id",)).decode()
    assert text == (
        '2026-11-21T02:41:07.042Z 10.1.2.3 "POST /v2/models/iris/infer HTTP/1.1" 200 12.346 '
        'next@9:200:complete:16.0,other:0:budget_requests:- "u1"\n'
    )
    assert line(rich(), format="{{{flags}}}") == b"{dogfood=canary,eu=skip mirror}\n"
    every = " ".join(f"{{{name}}}" for name in FIELDS)
    words = "2026-11-21T02:41:07.042Z r-1 - POST /v2/models/iris/infer 1.1 200 - iris - - - stable 7 127.0.0.1:9001"
    words += " 11.6 12.346 1024 128 10.1.2.3 0 - - - -"
    assert line(told(), format=every).decode() == words + "\n"


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{metod}", "{metod} is no field; allowed: {time}, "),
        ("{}", "{} is no field; allowed: {time}, "),
        ("{time.year}", "{time.year} is no field"),
        ("{shadows[0]}", "{shadows[0]} is no field"),
        ("{total_ms:.1f}", "{total_ms} is given a form, which no field takes; write {total_ms}"),
        ("{time!r}", "{time} is given a form"),
        ("{headers.cookie}", "{headers.cookie} is not among access_log.headers; name it there too: headers: [cookie]"),
        ("{time", "has a brace without its other half; write {{ or }} for a brace itself"),
        ("time}", "has a brace without its other half"),
        ("{time}\n{path}", "has a line break or another character that cannot be printed"),
        ("hello", "names no field, and would say the same of every request; allowed: json, or {time}, "),
        ("JSON", "names no field"),
    ],
)
def test_a_wrong_template_is_refused_with_what_is_allowed(template: str, said: str) -> None:
    with pytest.raises(ValueError) as refused:
        pieces(template, ["x-user-id"])
    assert str(refused.value).startswith(said)


WRITTEN = st.text(st.characters(exclude_categories=["Cs"]), max_size=50) | st.sampled_from(
    ['a"b', "a\\", "\r\nGET / 200", "\x1b[2J", "\u2028", "\x85", "\x7f", "\x9b1m", "%0a", "{time}"]
)


@given(path=WRITTEN, value=WRITTEN, method=WRITTEN)
@example(path="/a\u2028b", value='"} {"status": 200', method="G\x7fT")
def test_a_line_stays_a_line(path: str, value: str, method: str) -> None:
    exchange = told(path=path, method=method, fields={"x-user-id": value}, request_id=value)
    for form in ("json", TEMPLATE):
        data = line(exchange, format=form, headers=("x-user-id",))
        text = data.decode("ascii")
        assert text.endswith("\n") and text[:-1].isprintable() and len(text.splitlines()) == 1
    found = read(exchange, headers=("x-user-id",))
    assert (found["method"], found["request_id"]) == (method, value)
    assert found["headers"] == {"x-user-id": value}
    assert found["path"] == path.partition("?")[0]


@given(value=WRITTEN)
def test_a_value_cannot_leave_its_quotation_marks(value: str) -> None:
    text = line(told(fields={"x": value}), format='"{headers.x}" {status}', headers=("x",)).decode()
    inner = text.removeprefix('"').removesuffix('" 200\n')
    assert '"' not in inner
    assert text == f'"{inner}" 200\n'
    assert inner.replace("\\x", "").count("\\") == 0, "a backslash is always ours"


def test_nothing_but_the_named_fields_and_no_query() -> None:
    exchange = told(path="/a?token=hunter2", fields={"x-user-id": "u", "authorization": "hunter2"})
    assert b"hunter2" not in line(exchange, headers=("x-user-id",))
    assert b"hunter2" not in line(exchange, format=" ".join(f"{{{name}}}" for name in FIELDS))
