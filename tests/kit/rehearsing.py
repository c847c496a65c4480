"""The whole program between a live backend and its shadow, asked by a few clients, and what it says of their pairs."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .ask import get, until
from .program import Program, running

Options = Mapping[str, Any]
NONE: Options = {}
CONFIG = """\
listeners: {{ingress: {{bind: 127.0.0.1:0}}}}
admin: {{bind: 127.0.0.1:0}}
backends:
  stable: {{endpoints: ["{live}"], version: "7"{of_live}}}
  next: {{endpoints: ["{shadow}"], version: "9"{of_shadow}}}
routes:
  - name: {route}
    match: {{path_prefix: {path}}}
    backend: stable
    filters:
      - {{type: mirror, to: [{{backend: next{of_copies}}}]{of_mirror}}}
{rest}"""


@contextmanager
def rehearsing(
    folder: Path, live: str, shadow: str, *, route: str = "iris", path: str = "/", of_live: Options = NONE,
    of_shadow: Options = NONE, of_copies: Options = NONE, of_mirror: Options = NONE,
    environment: Mapping[str, str] | None = None, **sections: Any,
) -> Iterator[Program]:  # fmt: skip
    """The program in front of these URLs: `stable`, version 7, and all that it is asked mirrored to `next`, version 9.

    The options are further ones of both backends, of the entry in `to` and of the mirror; the sections those of the
    document.
    """
    text = CONFIG.format(
        live=live, shadow=shadow, route=route, path=path, of_live=_more(of_live), of_shadow=_more(of_shadow),
        of_copies=_more(of_copies), of_mirror=_more(of_mirror),
        rest="".join(f"{name}: {json.dumps(value)}\n" for name, value in sections.items()),
    )  # fmt: skip
    with running(text, folder, environment=environment) as program:
        yield program


def _more(options: Options) -> str:
    """Behind others, in a mapping in braces."""
    return "".join(f", {name}: {json.dumps(value)}" for name, value in options.items())


def answers(program: Program, requests: int, clients: int, path: str, body: bytes) -> list[bytes]:
    """What so many POSTs over so many connections were answered, all of them with 200."""

    def one_client(_: int) -> list[bytes]:
        heard = []
        connection = http.client.HTTPConnection(*program.address("ingress"), timeout=20)
        for _ in range(requests // clients):
            connection.request("POST", path, body=body)
            answer = connection.getresponse()
            assert answer.status == 200
            heard.append(answer.read())
        connection.close()
        return heard

    with ThreadPoolExecutor(clients) as threads:
        return [each for heard in threads.map(one_client, range(clients)) for each in heard]


def compared(program: Program) -> dict[str, Any]:
    """What `GET /compare` says now."""
    found: dict[str, Any] = json.loads(get(program.url("admin") + "/compare")[1])
    return found


def pair_of(program: Program, enough: Callable[[dict[str, Any]], bool], within_s: float = 20.0) -> dict[str, Any]:
    """The one pair of `/compare`, as soon as its counts are what is waited for."""
    until(lambda: any(enough(each["counts"]) for each in compared(program)["pairs"]), within_s)
    (pair,) = compared(program)["pairs"]
    assert isinstance(pair, dict)
    return pair
