"""Two model versions on one server: the backend's `rewrite` of path and JSON fields, as real servers understand it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from demo import v2
from demo.classifiers import flowers
from demo.lineup import Server
from tests.e2e.conftest import Served
from tests.e2e.exchange import Ask, ask
from tests.kit.program import running

pytestmark = pytest.mark.e2e

Serve = Callable[[Server], Served]

JSON = {"Content-Type": "application/json"}
CONFIG = """
listeners: {{ingress: {{bind: 127.0.0.1:0}}}}
admin: {{bind: 127.0.0.1:0}}
backends:
  plain: {{endpoints: ["{url}"]}}
  rewritten: {{endpoints: ["{url}"], rewrite: {rewrite}}}
routes:
  - {{name: canary, match: {{path_prefix: /, headers: {{x-model-variant: canary}}}}, backend: rewritten}}
  - {{name: stable, match: {{path_prefix: /}}, backend: plain}}
telemetry: {{access_log: off}}
"""


def test_a_path_prefix_becomes_another_model(serve: Serve, tmp_path: Path) -> None:
    url = "http://{}:{}".format(*serve("kserve").direct)
    rewrite = "{path: {prefix: /v2/models/flowers, to: /v2/models/iris}}"
    body = json.dumps(v2.infer_request("a", [flowers()[0].features])).encode()

    with running(CONFIG.format(url=url, rewrite=rewrite), tmp_path) as program:
        each = Ask("POST", "/v2/models/flowers/infer", body, JSON)
        plain = ask(program.address("ingress"), each)
        rewritten = ask(program.address("ingress"), each._replace(headers={**JSON, "x-model-variant": "canary"}))

    assert plain.status == 404
    assert rewritten.status == 200
    assert json.loads(rewritten.body)["model_name"] == "iris"


def test_top_level_fields_of_the_json_are_set(serve: Serve, tmp_path: Path) -> None:
    url = "http://{}:{}".format(*serve("llama").direct)
    body = {"messages": [{"role": "user", "content": "the play"}], "max_tokens": 9, "temperature": 0, "model": "a"}

    with running(CONFIG.format(url=url, rewrite="{json: {max_tokens: 3, model: tiny}}"), tmp_path) as program:
        each = Ask("POST", "/v1/chat/completions", json.dumps(body).encode(), JSON)
        plain = ask(program.address("ingress"), each)
        rewritten = ask(program.address("ingress"), each._replace(headers={**JSON, "x-model-variant": "canary"}))

    words = [json.loads(answer.body)["choices"][0]["message"]["content"].split() for answer in (plain, rewritten)]
    assert [len(each) for each in words] == [9, 3]
    assert words[0][:3] == words[1]
