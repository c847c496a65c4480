"""A small model server: one classifier over the V2 inference protocol, and a chat over OpenAI's streaming API.

Run as `python -m demo.model_server --model logistic --version 7 --port 9001`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime

from aiohttp import web

from . import v2
from .classifiers import KINDS, SPECIES, Classifier, flowers, most_probable, split, train
from .v2 import Json

NAME = "iris"
TOKEN_S = 0.02
"""The pace of the chat: seconds per token, about that of a small language model on a CPU."""
PREDICTION_S = 0.01
"""The time of a prediction, about that of a small neural network on a CPU. Both are waited for, not computed: models
that share two CPUs would measure each other."""

_NUMBER = re.compile(r"\d+(?:\.\d+)?")  # noqa: TID251  # constant, and linear


class ModelServer:
    """The handlers of one model. The model is trained before and never changes."""

    def __init__(self, model: Classifier, version: str, *, slowness: float = 1.0) -> None:
        self._model = model
        self._version = version
        self._prediction_s = slowness * PREDICTION_S
        self._token_s = slowness * TOKEN_S

    def app(self) -> web.Application:
        """The server's routes."""
        app = web.Application(middlewares=[_mistakes_as_json])
        app.add_routes(
            [
                web.get("/v2", _constant(v2.SERVER)),
                web.get("/v2/health/live", _constant({"live": True})),
                web.get("/v2/health/ready", _constant({"ready": True})),
                web.get("/v2/models/{name}", self.metadata),
                web.get("/v2/models/{name}/ready", self.ready),
                web.post("/v2/models/{name}/infer", self.infer),
                web.get("/v1/models", _constant({"object": "list", "data": [{"id": NAME, "object": "model"}]})),
                web.post("/v1/chat/completions", self.chat),
            ]
        )
        return app

    async def metadata(self, request: web.Request) -> web.Response:
        _check_name(request)
        return web.json_response(v2.metadata(NAME, self._version))

    async def ready(self, request: web.Request) -> web.Response:
        _check_name(request)
        return web.json_response({"name": NAME, "ready": True})

    async def infer(self, request: web.Request) -> web.Response:
        _check_name(request)
        asked = await _json(request)
        await asyncio.sleep(self._prediction_s)  # noqa: TID251  # the time a larger model would compute
        return web.json_response(v2.infer(self._model, NAME, self._version, asked))

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """Say which species the four lengths in the last message belong to: at once, or token by token."""
        asked = await _json(request)
        tokens = self._tokens(asked)
        head: Json = {
            "id": f"chatcmpl-{uuid.uuid4().hex}",
            "created": int(datetime.now(UTC).timestamp()),
            "model": f"{NAME}-{self._version}",
        }
        if asked.get("stream") is not True:
            message = {"role": "assistant", "content": "".join(tokens)}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            return web.json_response({**head, "object": "chat.completion", "choices": [choice]})
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
        await response.prepare(request)
        async for event in _events({**head, "object": "chat.completion.chunk"}, tokens, self._token_s):
            await response.write(event)
        await response.write_eof()
        return response

    def _tokens(self, asked: Json) -> list[str]:
        match asked:
            case {"messages": [*_, {"content": str() as question}]}:
                lengths = [float(number) for number in _NUMBER.findall(question)]
            case _:
                raise v2.BadRequest("expected messages, the last one with a text as content")
        if len(lengths) != v2.FEATURES or max(lengths) > v2.LONGEST_CM:
            return ["Tell", " me", " four", " lengths", " in", " centimetres", "."]
        probabilities = self._model.probabilities(lengths)
        best = most_probable(probabilities)
        return ["Most", " likely", " Iris", f" {SPECIES[best]}", ":", f" {probabilities[best]:.1%}", " sure", "."]


async def _events(head: Json, tokens: list[str], token_s: float) -> AsyncIterator[bytes]:
    """The chunks of a streamed completion: first the role, then the tokens at their pace, then the end."""
    deltas: list[tuple[Json, str | None]] = [({"role": "assistant", "content": None}, None)]
    deltas += [({"content": token}, None) for token in tokens]
    deltas.append(({}, "stop"))
    for delta, finish in deltas:
        if "role" not in delta:
            await asyncio.sleep(token_s)  # noqa: TID251  # the time a language model would compute
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        yield b"data: " + json.dumps({**head, "choices": [choice]}).encode() + b"\n\n"
    yield b"data: [DONE]\n\n"


def _constant(answer: Json) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handle(request: web.Request) -> web.StreamResponse:
        return web.json_response(answer)

    return handle


def _check_name(request: web.Request) -> None:
    if request.match_info["name"] != NAME:
        text = json.dumps({"error": f"unknown model; this server has {NAME}"})
        raise web.HTTPNotFound(text=text, content_type="application/json")


async def _json(request: web.Request) -> Json:
    try:
        body = await request.json()
    except ValueError as mistake:
        raise v2.BadRequest(f"the body is not JSON: {mistake}") from mistake
    if not isinstance(body, dict):
        raise v2.BadRequest("the body is no JSON object")
    return body


@web.middleware
async def _mistakes_as_json(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except v2.BadRequest as mistake:
        return web.json_response({"error": str(mistake)}, status=400)


def main() -> None:
    """Train, then serve until a signal."""
    parser = argparse.ArgumentParser(prog="python -m demo.model_server", description=__doc__)
    parser.add_argument("--model", choices=KINDS, required=True)
    parser.add_argument("--version", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--slowness", type=float, default=1.0, help="1.3: everything takes 30 %% longer")
    options = parser.parse_args()
    training, _ = split(flowers())
    server = ModelServer(train(options.model, training), options.version, slowness=options.slowness)
    web.run_app(server.app(), host="127.0.0.1", port=options.port, print=None, access_log=None)


if __name__ == "__main__":
    main()
