"""What `GET /config` hides, and what it still shows."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from understudy.filters.redact import HIDDEN, redacted


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("set: {authorization: Bearer abc}", "set: {authorization: (hidden)}"),
        ("set: {cookie: sid=abc, x-plain: v}", "set: {cookie: (hidden), x-plain: v}"),
        ("set: {x-api-key: {env: KEY}}", "set: {x-api-key: {env: KEY}}"),
        ("append: {x-auth-token: abc}", "append: {x-auth-token: (hidden)}"),
        ("when: {header: X-Api-Key, equals: abc}", "when: {header: X-Api-Key, equals: (hidden)}"),
        ("when: {query: api_key, equals: abc}", "when: {query: api_key, equals: (hidden)}"),
        ("when: {header: x-region, equals: eu}", "when: {header: x-region, equals: eu}"),
        ("when: {cookie: sid, in: [a, b]}", "when: {cookie: sid, in: [(hidden), (hidden)]}"),
        ("when: {not: {header: authorization, prefix: B}}", "when: {not: {header: authorization, prefix: (hidden)}}"),
        ("match: {headers: {authorization: {equals: a}}}", "match: {headers: {authorization: {equals: (hidden)}}}"),
        ("match: {cookies: {beta: 'yes'}}", "match: {cookies: {beta: (hidden)}}"),
        ("key: {first: [{header: x-user-id}, {cookie: sid}]}", "key: {first: [{header: x-user-id}, {cookie: sid}]}"),
        ("remove_headers: [authorization, cookie]", "remove_headers: [authorization, cookie]"),
        ("ledger: redis://user:pw@host:6379/0", "ledger: redis://(hidden)@host:6379/0"),
        ("endpoints: [http://host:1]", "endpoints: [http://host:1]"),
        ("otlp: {endpoint: u, headers: {x-team: abc}}", "otlp: {endpoint: u, headers: {x-team: (hidden)}}"),
        ("set: {x-secret: {env: null, file: F}}", "set: {x-secret: {file: F}}"),
        ("rewrite: {json: {model: m, api_key: abc}}", "rewrite: {json: {model: m, api_key: (hidden)}}"),
        ("secret: {file: ./s}", "secret: {file: ./s}"),
        ("admin: {token: {env: T}, hosts: [a]}", "admin: {token: {env: T}, hosts: [a]}"),
    ],
)  # fmt: skip
def test_secrets_are_hidden_and_the_rest_is_not(written: str, shown: str) -> None:
    def plain(text: str) -> Any:
        return yaml.safe_load(text)

    before = plain(written)
    assert redacted(before) == plain(shown)
    assert before == plain(written)
    assert HIDDEN == "(hidden)"
