"""A model server that takes a known time for each answer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count

from . import serving


@contextmanager
def delayed(delay_s: Callable[[int], float]) -> Iterator[str]:
    """Its URL. `delay_s` is asked with the number of the request, from 0."""
    numbers = count()

    class Handler(serving.Handler):
        def do_POST(self) -> None:
            self.body()
            threading.Event().wait(delay_s(next(numbers)))
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\ndone\n")

    with serving.serving(Handler) as url:
        yield url
