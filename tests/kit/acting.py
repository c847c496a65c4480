"""Filters and wraps whose behaviour a test gives them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from understudy.filters.api import BodyWrap, Exchange, Filter, Outcome, Response


class Does(Filter):
    """Hooks by keyword; `outcomes` is what completed."""

    def __init__(
        self, on_request: Callable[[Exchange], Any] | None = None,
        on_response: Callable[[Exchange, Response], Any] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(None, None)  # type: ignore[arg-type]
        self.asks, self.answers = on_request, on_response
        self.outcomes: list[Outcome] = []
        self.completed = asyncio.Event()

    def on_request(self, exchange: Exchange) -> Any:
        return self.asks(exchange) if self.asks is not None else None

    def on_response(self, exchange: Exchange, response: Response) -> Any:
        return self.answers(exchange, response) if self.answers is not None else response

    def on_complete(self, exchange: Exchange, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        self.completed.set()


class Notes(BodyWrap):
    """Watches, and changes nothing."""

    def __init__(self) -> None:
        self.chunks: list[bytes] = []
        self.ended = 0

    def data(self, chunk: bytes) -> bytes:
        self.chunks.append(chunk)
        return chunk

    def end(self) -> bytes:
        self.ended += 1
        return b""
