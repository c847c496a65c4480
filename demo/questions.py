"""What the demo asks of the models, and how two answers to one question are compared."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

from . import v2
from .classifiers import flowers
from .lineup import Protocol

EVERY = 3
"""Every third flower is asked about."""
CHATS = 12
"""Where both may be asked, one question in so many is a chat."""


class Question(NamedTuple):
    """One request, the same with and without the proxy in between, and whoever asks."""

    path: str
    body: bytes
    streamed: bool = False


def all_questions(protocols: Sequence[Protocol]) -> list[Question]:
    """A prediction for each flower asked about, a streamed chat here and there; chats alone where there is no more."""
    asked = []
    for number, flower in enumerate(flowers()[::EVERY]):
        if "v2" in protocols:
            asked.append(classify(f"flower-{number}", flower.features))
        if "chat" in protocols and ("v2" not in protocols or number % CHATS == 0):
            asked.append(chat(flower.features))
    return asked


def classify(id: str, features: Sequence[float]) -> Question:
    """A V2 inference request for one flower."""
    return Question("/v2/models/iris/infer", json.dumps(v2.infer_request(id, [features])).encode())


def chat(features: Sequence[float]) -> Question:
    """A chat about one flower, its answer streamed as server-sent events."""
    text = "Which iris is it? " + " ".join(map(str, features))
    message = {"role": "user", "content": text}
    body = {"model": "iris", "stream": True, "temperature": 0, "max_tokens": 8, "messages": [message]}
    return Question("/v1/chat/completions", json.dumps(body).encode(), streamed=True)


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
