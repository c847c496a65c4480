"""What is told of one request's decision: for a program as plain values, for a person in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from ..filters.api import Reason

_TOLD = 20
"""So many passed-over routes are told in words; the JSON has all."""

_WHY_NOT_COPIED = {
    "same_backend": "it answers the request itself (calibration: true would copy)",
    "not_mirrorable": "the request asks to switch protocols",
    "body_too_large": "the body is larger than its max_body",
}


class PassedOver(msgspec.Struct, frozen=True):
    """A route that stands earlier in the document and does not match."""

    route: str
    why: tuple[str, ...]


class Step(msgspec.Struct, frozen=True):
    """One filter of the chain."""

    filter: str
    words: tuple[str, ...] = ()
    facts: Mapping[str, Any] = {}
    skipped_by: str | None = None  # the flag because of which it is not entered


class Refused(msgspec.Struct, frozen=True):
    """Why the client reads a refusal. `by` is a filter, or "" for the proxy itself."""

    by: str
    reason: Reason
    detail: str
    status: int | None = None  # None: what the reason says


class Call(msgspec.Struct, frozen=True):
    """A call to a backend."""

    backend: str
    version: str
    endpoints: tuple[str, ...]
    target: str  # after all rewriting


class Copy(msgspec.Struct, frozen=True):
    """A copy for a shadow that the mirror selected, or why it is not made."""

    call: Call
    refused: str | None  # the reason as it is counted
    set_headers: tuple[str, ...]  # names of fields that only the copy has
    removed_headers: tuple[str, ...]  # of the request's, names of those that the copy lacks


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """The decision about one request. `call` is None where nobody is asked; `refused` says why."""

    method: str
    target: str
    host: str
    client: str
    trusted: bool
    request_id: str
    config: str  # the hash of the configuration
    refused: Refused | None = None
    route: str | None = None
    passed_over: tuple[PassedOver, ...] = ()
    steps: tuple[Step, ...] = ()  # the chain, in order, until a filter refuses
    not_active: tuple[str, ...] = ()  # filters of the route that have no effect in this version
    flags: tuple[str, ...] = ()  # those that decided anything
    experiment: str | None = None
    arm: str | None = None
    call: Call | None = None
    set_headers: tuple[str, ...] = ()  # names of fields that the chain set or changed, for the model server
    removed_headers: tuple[str, ...] = ()
    copies: tuple[Copy, ...] = ()
    notes: tuple[str, ...] = ()

    def words(self) -> str:
        """For a person, several lines."""
        return "\n".join(_words(self))


def _words(explanation: Explanation) -> Iterator[str]:
    yield _asked(explanation)
    for passed in explanation.passed_over[:_TOLD]:
        yield f"  not {passed.route}: {'; '.join(passed.why)}"
    if len(explanation.passed_over) > _TOLD:
        yield f"  and {len(explanation.passed_over) - _TOLD} more routes do not match (--json has them all)"
    if explanation.route is not None:
        yield f"  route {explanation.route}: the first that matches"
        yield from _chain(explanation)
    if explanation.refused is not None:
        yield _refused(explanation)
    elif explanation.call is not None:
        yield from _calls(explanation)
    for note in explanation.notes:
        yield f"  note: {note}"


def _asked(explanation: Explanation) -> str:
    host = f"  host {explanation.host}" if explanation.host else ""
    peer = f"from {explanation.client}{' (trusted)' if explanation.trusted else ''}"
    return f"{explanation.method} {explanation.target}{host}  {peer}  request id {explanation.request_id}"


def _chain(explanation: Explanation) -> Iterator[str]:
    for step in explanation.steps:
        if step.skipped_by is not None:
            yield (
                f"  {step.filter}: skipped by flag {step.skipped_by}"
                if step.skipped_by
                else f"  {step.filter}: skipped"
            )
        yield from (f"  {line}" for line in step.words)
    if explanation.not_active:
        yield f"  not active yet, without effect: {', '.join(explanation.not_active)}"


def _refused(explanation: Explanation) -> str:
    refused = explanation.refused
    assert refused is not None
    if refused.reason == "no_route":
        return "  no route matches: the client reads 404, no_route"
    by = f"{refused.by} refuses it" if refused.by else "refused before any route is asked"
    status = f"{refused.status}, " if refused.status is not None else ""
    detail = f" ({refused.detail})" if refused.detail else ""
    return f"  {by}: the client reads {status}{refused.reason}{detail}"


def _calls(explanation: Explanation) -> Iterator[str]:
    assert explanation.call is not None
    yield f"  backend {_called(explanation.call, explanation.target)}"
    for verb, names in (("set", explanation.set_headers), ("removed", explanation.removed_headers)):
        if names:
            yield f"    headers {verb}: {', '.join(names)}"
    for copy in explanation.copies:
        yield from _copied(copy, explanation.target)


def _copied(copy: Copy, target: str) -> Iterator[str]:
    if copy.refused is not None:
        yield f"  no copy for {copy.call.backend}: {copy.refused}, {_WHY_NOT_COPIED[copy.refused]}"
        return
    yield f"  copy for {_called(copy.call, target)}"
    for verb, names in (("set", copy.set_headers), ("removed", copy.removed_headers)):
        if names:
            yield f"    headers {verb}: {', '.join(names)}"


def _called(call: Call, target: str) -> str:
    version = f" version {call.version}" if call.version else ""
    sent = f", sent as {call.target}" if call.target != target else ""
    return f"{call.backend}{version}: {', '.join(call.endpoints)}{sent}"
