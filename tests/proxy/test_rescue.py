"""Reasons and what the client is told of them: the contract's table, and nothing more than it."""

from __future__ import annotations

import json
from typing import get_args

import pytest
from understudy.filters.api import Failure, Reason
from understudy.proxy.rescue import RESCUES, problem, status_of

TABLE: dict[Reason, int] = {
    "bad_request": 400,
    "client_timeout": 408,
    "body_too_large": 413,
    "target_too_long": 414,
    "head_too_large": 431,
    "no_route": 404,
    "connect_failed": 503,
    "no_endpoint": 503,
    "overloaded": 503,
    "draining": 503,
    "upstream_protocol": 502,
    "upstream_closed": 502,
    "upstream_timeout": 504,
    "truncated": 502,
    "client_gone": 499,
    "filter_failed": 500,
    "key_missing": 400,
    "key_mismatch": 422,
    "key_in_flight": 409,
    "key_consumed": 409,
    "outcome_unknown": 409,
    "key_expired": 409,
    "store_down": 503,
    "shadow_refused": 403,
}


def test_every_reason_has_its_consequence() -> None:
    assert set(RESCUES) == set(get_args(Reason)) == set(TABLE)
    assert {reason: rescue.status for reason, rescue in RESCUES.items()} == TABLE


@pytest.mark.parametrize("reason", TABLE)
def test_the_answer_is_a_problem_with_the_requests_id(reason: Reason) -> None:
    answer = problem(Failure(reason, 'say "no"\u2028'), b"0192-rq")
    fields = dict(answer.headers)
    assert (answer.status, answer.local, answer.ended) == (TABLE[reason], True, True)
    assert answer.length == len(answer.content)
    assert fields[b"content-type"] == b"application/problem+json"
    assert json.loads(answer.content) == {
        "type": "about:blank",
        "title": RESCUES[reason].title,
        "status": TABLE[reason],
        "detail": 'say "no"\u2028',
        "reason": reason,
        "request_id": "0192-rq",
    }


def test_whoever_may_come_again_is_told_when() -> None:
    told = {reason for reason in TABLE if dict(problem(Failure(reason), b"").headers).get(b"retry-after") == b"1"}
    assert {reason for reason, status in TABLE.items() if status == 503} <= told
    assert told <= {"connect_failed", "no_endpoint", "overloaded", "draining", "store_down", "key_in_flight"}


def test_another_endpoint_is_asked_only_where_no_byte_was_sent() -> None:
    assert [reason for reason, rescue in RESCUES.items() if rescue.elsewhere] == ["connect_failed"]


def test_a_failure_may_insist_on_its_status() -> None:
    failure = Failure("bad_request", "HTTP/2.0 is not served here", status=505)
    assert status_of(failure) == 505
    answer = problem(failure, b"")
    assert answer.status == json.loads(answer.content)["status"] == 505
    assert status_of(Failure("bad_request")) == 400
