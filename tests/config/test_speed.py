"""Loading stays fast with many routes: a deployment of thousands of models reloads without a stall."""

from __future__ import annotations

import gc
import time

from understudy.config.compile import compile_snapshot
from understudy.config.load import load_bytes
from understudy.config.schema import decode
from understudy.filters.api import Request

from tests.kit.services import FakeServices

ROUTES = 10_000


def many_routes() -> bytes:
    lines = ["listeners:", "  ingress: {bind: 127.0.0.1:7080}", "backends:", "  stable:"]
    lines += [
        "    endpoints: [http://127.0.0.1:9001]",
        "x-mark: &mark {type: headers, request: {set: {x-a: b}}}",
        "routes:",
    ]
    for at in range(ROUTES):
        lines += [
            f"  - name: model-{at}",
            "    match:",
            f"      path_prefix: /v2/models/m{at}",
            "      methods: [POST, GET]",
        ]
        lines += ["    backend: stable", "    filters: [*mark]"]
    return "\n".join(lines).encode()


def eighth_of_a_second() -> float:
    """CPU seconds of a piece of work that takes an eighth of one where the second is promised."""
    began = time.process_time()
    found = {f"name-{number}": (number, str(number)) for number in range(300_000)}
    assert len(found) == 300_000
    return time.process_time() - began


def test_ten_thousand_routes_load_and_compile_within_a_second() -> None:
    """The best of five in CPU time, of a machine as fast as it is now: the bound is for the work, not for what else the
    machine does, nor for the objects of other tests, that the collector would look at again and again."""
    data = many_routes()
    took, eighths = [], []
    gc.collect()
    gc.freeze()
    for _ in range(5):
        eighths.append(eighth_of_a_second())
        began = time.process_time()
        loaded = load_bytes(data, file="u.yaml", base="/")
        snapshot = compile_snapshot(decode(loaded.wire), FakeServices(), version=1, workers=1, base="/")
        took.append(time.process_time() - began)
    gc.unfreeze()
    assert len(snapshot.routes) == ROUTES
    found = snapshot.match(Request(b"GET", b"/v2/models/m9999/infer", b"", []))
    assert found is not None and found.name == "model-9999"
    assert min(took) < 8 * min(eighths)


def test_a_mistake_among_ten_thousand_routes_is_found_with_its_line_in_seconds() -> None:
    data = many_routes() + b"\n  - {name: last, match: {path: /last}, backend: stabel, retries: 3}\n"
    began = time.process_time()
    mistakes = load_bytes(data, file="u.yaml", base="/").mistakes
    assert {mistake.line for mistake in mistakes} == {data.count(b"\n")}
    assert [mistake.path for mistake in mistakes] == [f"routes[{ROUTES}].retries", f"routes[{ROUTES}].backend"]
    assert time.process_time() - began < 5.0
