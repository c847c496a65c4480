"""A model server that talks at a known pace: OpenAI's chat as server-sent events."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from . import serving

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def event(delta: dict[str, object]) -> bytes:
    """One event of a chat."""
    return b"data: " + json.dumps({"choices": [{"index": 0, "delta": delta}]}).encode() + b"\n\n"


ROLE = event({"role": "assistant", "content": ""})
WORD = event({"content": " word"})
DONE = b"data: [DONE]\n\n"


def chunk(data: bytes) -> bytes:
    """As one chunk of a chunked body; b"" is the last."""
    return b"%x\r\n%b\r\n" % (len(data), data)


@contextmanager
def talking(first_s: float, between_s: float, words: int) -> Iterator[str]:
    """Its URL. It says at once who speaks, the first word after `first_s`, and then one in `between_s`."""
    pause = threading.Event().wait

    class Handler(serving.Handler):
        def do_POST(self) -> None:
            self.body()
            self.wfile.write(HEAD + chunk(ROLE))
            pause(first_s)
            for number in range(words):
                if number:
                    pause(between_s)
                self.wfile.write(chunk(WORD))
            self.wfile.write(chunk(DONE) + chunk(b""))

    with serving.serving(Handler) as url:
        yield url
