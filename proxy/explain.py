"""`understudy explain`: decide about one request as the data plane would, by a file or by what runs now.

The question is read by the data plane's own reader. What runs now is asked over the admin API, since only the program
knows its secret; control answers beside its loop, in a thread.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Coroutine
from ipaddress import ip_address
from random import Random
from typing import Any

import msgspec

from ..config import own_secret
from ..config.compile import compile_snapshot
from ..config.explain import explain, refused
from ..config.explanation import Explanation
from ..config.load import load
from ..config.schema import Document
from ..config.snapshot import Listener
from ..filters.api import Failure, KeyTally, Request
from ..filters.units import Size
from . import admin_client
from .http1.fields import accepted_request_id, add_forwarding
from .http1.head import RequestHead, read_request_head
from .rescue import RESCUES

NO_SECRET = "the secret is drawn when the program starts: a cookie that it issued is not recognised here; ask --running"


class Wrong(Exception):
    """The question cannot be answered; the message says why."""


class Question(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """One request, as a client would send it, and by whom."""

    method: str
    target: str
    headers: list[tuple[str, str]] = []
    client: str = "127.0.0.1"  # the peer's address, or unix
    trusted: bool = False  # true: even where the listener does not trust this peer
    listener: str = ""  # its name; "": the first one
    request_id: str = ""  # "": a new one
    body_bytes: int = 0


class _Services:
    """Lent to filters that are built to be asked, never to run."""

    def __init__(self, secret: bytes, available: Callable[[str], bool]) -> None:
        self.rng = Random()
        self.secret = secret
        self.available = available

    def count(self, name: str, by: int = 1) -> None:
        pass

    def key_use(self, experiment: str) -> KeyTally:
        return KeyTally(experiment)

    def now(self) -> float:
        return 0.0

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        work.close()
        raise Failure("overloaded", f"{name}: nothing runs here")


def decide(
    document: Document, base: str, question: Question, secret: bytes, available: Callable[[str], bool]
) -> Explanation:
    """Answer by a document without mistakes. Raises Wrong, or ValueError where a file or variable is gone."""
    snapshot = compile_snapshot(document, _Services(secret, available), version=1, workers=1, base=base)
    listener = snapshot.listeners.get(question.listener) or next(iter(snapshot.listeners.values()))
    if question.listener not in ("", listener.name):
        raise Wrong(f"{question.listener} is no listener; allowed: {' or '.join(snapshot.listeners)}")
    trusted = question.trusted or _trusts(listener, question.client)
    id = question.request_id.encode() or os.urandom(16).hex().encode()
    try:
        head = read_request_head(_head(question), listener, trusted)
    except Failure as failure:
        asked = Request(question.method.encode(), question.target.encode(), b"", [])
        return _with_status(refused(asked, failure, client=question.client, trusted=trusted, id=id, hash=snapshot.hash))
    if head.claims is not None and not question.request_id:
        id = accepted_request_id(head.claims.get(b"x-request-id")) or id
    request = _request(head, question.client.encode(), id)
    upgrades = head.upgrade is not None
    return _with_status(explain(snapshot, request, client=question.client, trusted=trusted, id=id, upgrades=upgrades))


def _with_status(found: Explanation) -> Explanation:
    if found.refused is None or found.refused.status is not None:
        return found
    status = RESCUES[found.refused.reason].status
    return msgspec.structs.replace(found, refused=msgspec.structs.replace(found.refused, status=status))


def answer(options: argparse.Namespace, running_at: str | None) -> int:
    """Print the explanation. `running_at`: the admin API of the program to ask; None: by the file."""
    try:
        question = question_of(options)
        found = _by_program(running_at, question) if running_at is not None else _by_file(options.config, question)
    except admin_client.Unreachable as problem:
        print(f"understudy: {problem}", file=sys.stderr)
        return 2
    except (Wrong, ValueError) as problem:
        print(problem, file=sys.stderr)
        return 1
    if options.json:
        print(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
    else:
        print(found.words())
    return 0 if found.call is not None else 1


def question_of(options: argparse.Namespace) -> Question:
    """The question that the command line asks. Raises Wrong."""
    try:
        body_bytes = int(Size.parse(0 if options.body_size == "0" else options.body_size))
    except ValueError as problem:
        raise Wrong(f"understudy: --body-size {options.body_size}: allowed: {problem}") from None
    return Question(
        method=options.method,
        target=options.target,
        headers=[_header(line) for line in options.header],
        client=_client(options.client),
        trusted=options.trusted,
        listener=options.listener,
        request_id=options.request_id,
        body_bytes=len(options.data.encode()) if options.data is not None else body_bytes,
    )


def _by_file(path: str, question: Question) -> Explanation:
    loaded = load(path)
    if loaded.document is None:
        raise Wrong("\n".join(map(str, loaded.mistakes)))
    secret = own_secret.known(loaded.document, loaded.base)
    found = decide(loaded.document, loaded.base, question, secret or os.urandom(32), lambda backend: True)
    issues = "cookie" in found.set_headers or any(step.facts.get("cookie_issued") for step in found.steps)
    if secret is None and issues and any(name.lower() == "cookie" for name, _ in question.headers):
        return msgspec.structs.replace(found, notes=(*found.notes, NO_SECRET))
    return found


def _by_program(url: str, question: Question) -> Explanation:
    status, body = admin_client.ask(url, "POST", "/explain", body=msgspec.json.encode(question))
    try:
        if status == 200:
            return msgspec.json.decode(body, type=Explanation)
        detail = msgspec.json.decode(body, type=dict).get("detail", "")
    except (msgspec.DecodeError, msgspec.ValidationError):
        detail = ""
    raise Wrong(f"understudy: {url} answered {status}{f': {detail}' if detail else ', as no admin API of understudy'}")


def _head(question: Question) -> bytes:
    """The head's bytes, as a client would write them."""
    names = {name.lower() for name, _ in question.headers}
    lines = [f"{question.method} {question.target} HTTP/1.1"]
    if "host" not in names:
        lines.append("host: localhost")
    lines += [f"{name}: {value}" for name, value in question.headers]
    if question.body_bytes and not names & {"content-length", "transfer-encoding"}:
        lines.append(f"content-length: {question.body_bytes}")
    return "\r\n".join([*lines, "", ""]).encode()


def _request(head: RequestHead, client: bytes, id: bytes) -> Request:
    """As the data plane hands it to the chain."""
    add_forwarding(head.headers, head.claims, head.authority, client, b"http", id)
    length = head.length if head.length >= 0 else None
    return Request(head.method, head.target, head.authority, head.headers, b"", length == 0, length)


def _trusts(listener: Listener, client: str) -> bool:
    if client == "unix":
        return listener.trust_unix
    address: Any = ip_address(client)
    address = getattr(address, "ipv4_mapped", None) or address
    return any(address in network for network in listener.trust)


def _client(text: str) -> str:
    try:
        return text if text == "unix" else str(ip_address(text))
    except ValueError:
        raise Wrong(f"understudy: {text!r} is no address; allowed: an IP address, or unix") from None


def _header(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not colon or not name.strip():
        raise Wrong(f"understudy: {line!r} is no header; write -H 'name: value'")
    return name.strip(), value.strip()
