"""The demo's model server, asked over HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import given
from hypothesis import strategies as st

from demo import v2
from demo.classifiers import flowers, train
from demo.model_server import PREDICTION_S, TOKEN_S, ModelServer

T = TypeVar("T")

SETOSA, VIRGINICA = [5.1, 3.5, 1.4, 0.2], [6.3, 3.3, 6.0, 2.5]
MODEL = train("bayes", flowers())


def asked(conversation: Callable[[TestClient[Any, Any]], Awaitable[T]], *, slowness: float = 1.0) -> T:
    """What a conversation with a fresh server came to."""

    async def run() -> T:
        async with TestClient(TestServer(ModelServer(MODEL, "7", slowness=slowness).app())) as client:
            return await conversation(client)

    return asyncio.run(run())


def post(path: str, body: object) -> tuple[int, Any]:
    async def conversation(client: TestClient[Any, Any]) -> tuple[int, Any]:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        async with client.post(path, data=data) as response:
            return response.status, await response.json()

    return asked(conversation)


def get(path: str) -> tuple[int, Any]:
    async def conversation(client: TestClient[Any, Any]) -> tuple[int, Any]:
        async with client.get(path) as response:
            return response.status, await response.json()

    return asked(conversation)


def test_health_and_metadata() -> None:
    assert get("/v2/health/live") == (200, {"live": True})
    assert get("/v2/health/ready") == (200, {"ready": True})
    assert get("/v2/models/iris/ready") == (200, {"name": "iris", "ready": True})
    assert get("/v2/models/iris")[1]["versions"] == ["7"]


def test_inference() -> None:
    status, answer = post("/v2/models/iris/infer", v2.infer_request("a", [SETOSA, VIRGINICA]))

    assert status == 200
    assert (answer["id"], answer["model_name"], answer["model_version"]) == ("a", "iris", "7")
    species, probabilities = answer["outputs"]
    assert species == {"name": "species", "shape": [2], "datatype": "BYTES", "data": ["setosa", "virginica"]}
    assert probabilities["shape"] == [2, 3]
    assert len(probabilities["data"]) == 6


def test_nested_data_mean_the_same() -> None:
    flat = v2.infer_request("a", [SETOSA, VIRGINICA])
    nested = {"id": "a", "inputs": [flat["inputs"][0] | {"data": [SETOSA, VIRGINICA]}]}

    assert post("/v2/models/iris/infer", nested) == post("/v2/models/iris/infer", flat)


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"{", "the body is not JSON"),
        ([], "the body is no JSON object"),
        ({}, "expected one input"),
        ({"inputs": [{"shape": [1, 4], "datatype": "BOOL", "data": [1, 1, 1, 1]}]}, "expected one input"),
        ({"inputs": [{"shape": [2, 4], "datatype": "FP64", "data": [1, 1, 1, 1]}]}, "needs 8 numbers, got 4"),
        ({"inputs": [{"shape": [1, 4], "datatype": "FP64", "data": [1, 1, "1", 1]}]}, "a length is a number"),
        ({"inputs": [{"shape": [1, 4], "datatype": "FP64", "data": [1, 1, 1e300, 1]}]}, "a length is a number"),
    ],
)
def test_a_bad_request_says_why(body: object, complaint: str) -> None:
    status, answer = post("/v2/models/iris/infer", body)

    assert status == 400
    assert complaint in answer["error"]


def test_an_unknown_model_is_404() -> None:
    assert get("/v2/models/tulip") == (404, {"error": "unknown model; this server has iris"})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["shape", "data", "datatype"]), inner),
    max_leaves=8,
)
SHAPE = st.just([1, 4]) | st.lists(st.integers(-2, 3), min_size=1, max_size=2)
TENSOR = st.fixed_dictionaries({"shape": SHAPE, "datatype": st.just("FP64"), "data": JSON})


@given(JSON | TENSOR.map(lambda tensor: {"inputs": [tensor]}))
def test_no_request_does_worse_than_bad_request(request: object) -> None:
    try:
        answer = v2.infer(MODEL, "iris", "7", request)
    except v2.BadRequest:
        return
    json.dumps(answer, allow_nan=False)


def chat(question: object, *, stream: bool) -> dict[str, object]:
    return {"stream": stream, "messages": [{"role": "user", "content": question}]}


def test_a_chat_at_once() -> None:
    status, answer = post("/v1/chat/completions", chat("5.1 3.5 1.4 0.2", stream=False))

    assert status == 200
    assert answer["choices"][0]["message"] == {"role": "assistant", "content": "Most likely Iris setosa: 100.0% sure."}


def test_a_chat_that_names_no_flower() -> None:
    assert (
        "four lengths"
        in post("/v1/chat/completions", chat("hello", stream=False))[1]["choices"][0]["message"]["content"]
    )
    assert post("/v1/chat/completions", chat(7, stream=False))[0] == 400


def test_a_streamed_chat_comes_token_by_token() -> None:
    async def conversation(client: TestClient[Any, Any]) -> list[tuple[float, str]]:
        clock = asyncio.get_running_loop().time
        async with client.post("/v1/chat/completions", json=chat("5.1 3.5 1.4 0.2", stream=True)) as response:
            assert response.headers["content-type"] == "text/event-stream"
            return [(clock(), line.decode().strip()) async for line in response.content if line.strip()]

    lines = asked(conversation)

    events = [text.removeprefix("data: ") for _, text in lines]
    deltas = [json.loads(event)["choices"][0]["delta"] for event in events[:-1]]
    assert deltas[0] == {"role": "assistant", "content": None}
    assert "".join(delta["content"] for delta in deltas[1:-1]) == "Most likely Iris setosa: 100.0% sure."
    assert json.loads(events[-2])["choices"][0]["finish_reason"] == "stop"
    assert events[-1] == "[DONE]"
    assert lines[-1][0] - lines[0][0] >= 0.8 * TOKEN_S * (len(deltas) - 1)


def test_a_slower_model_takes_its_time() -> None:
    async def conversation(client: TestClient[Any, Any]) -> float:
        clock = asyncio.get_running_loop().time
        began = clock()
        async with client.post("/v2/models/iris/infer", json=v2.infer_request("a", [SETOSA])) as response:
            assert response.status == 200
        return clock() - began

    assert asked(conversation, slowness=5.0) >= 0.99 * 5 * PREDICTION_S
