"""What the demo asks of the models, and how two answers to one question are compared."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

from . import v2
from .classifiers import flowers
from .lineup import Protocol

CANARY = {"x-model-variant": "canary"}
"""The header by which demo/understudy.yaml sends a request to the canary."""


class Question(NamedTuple):
    """One request, the same with and without the proxy in between."""

    backend: str  # who should answer
    path: str
    headers: dict[str, str]
    body: bytes
    streamed: bool = False


def all_questions(protocols: Sequence[Protocol]) -> list[Question]:
    """Every flower for both models, one streamed chat for every eighth; one question in five is the canary's."""
    asked = []
    for number, flower in enumerate(flowers()):
        backend = "canary" if number % 5 == 4 else "stable"
        if "v2" in protocols:
            asked.append(classify(backend, f"flower-{number}", flower.features))
        if "chat" in protocols and number % 8 == 0:
            asked.append(chat(backend, flower.features))
    return asked


def classify(backend: str, id: str, features: Sequence[float]) -> Question:
    """A V2 inference request for one flower."""
    body = json.dumps(v2.infer_request(id, [features])).encode()
    return Question(backend, "/v2/models/iris/infer", _headers(backend), body)


def chat(backend: str, features: Sequence[float]) -> Question:
    """A chat about one flower, its answer streamed as server-sent events."""
    text = "Which iris is it? " + " ".join(map(str, features))
    message = {"role": "user", "content": text}
    body = {"model": "iris", "stream": True, "temperature": 0, "max_tokens": 8, "messages": [message]}
    return Question(backend, "/v1/chat/completions", _headers(backend), json.dumps(body).encode(), streamed=True)


def _headers(backend: str) -> dict[str, str]:
    return {"content-type": "application/json", **(CANARY if backend == "canary" else {})}


def essence(question: Question, body: bytes) -> bytes:
    """What must be the same each time: all bytes, save for the ids, dates and timings in a stream's events."""
    if not question.streamed:
        return body
    events = body.decode().split("\n\n")
    texts = [delta_text(event) for event in events]
    return "".join(texts).encode() + (b" [whole]" if "data: [DONE]" in events else b" [cut]")


def delta_text(event: str) -> str:
    """The words in one event of a streamed chat; "" for the role, the end, or no event at all."""
    match event.partition("data: ")[2].strip():
        case "" | "[DONE]":
            return ""
        case data:
            return json.loads(data)["choices"][0]["delta"].get("content") or ""
