"""The judge: do the front and the back of the proxy tell the same story, and does everybody get his own answer?

`judge` returns findings, each with its kind. The first five kinds must never happen, whatever was sent:
`different` a message read differently in front and behind, `misdelivered` an answer given to another request,
`unreadable` a client-side stream that is no HTTP, `hang` and `lost` an answer that never came. `lenient` is something
served that a strict recipient refuses, `stricter` something refused that it must serve, `rude` a refusal without its
problem+json, request id, `Connection: close` or close.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from tests.kit.raw import SAW, identity
from tests.kit.strict import Refusal, Request, Response, read_responses

from .back import differences, expected_target
from .transcript import Transcript

NEVER = ("different", "misdelivered", "unreadable", "hang", "lost")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong in a conversation."""

    kind: str
    text: str


def judge(told: Transcript, *, scripted: bool = False) -> list[Finding]:
    """All that is wrong. `scripted`: the backend answered by script, so answers carry no identity."""
    findings: list[Finding] = []
    if told.hung:
        findings.append(Finding("hang", f"no end within the deadline; received {told.received[:300]!r}"))
    answers = _read_answers(told, findings)
    if not scripted:
        _deliveries(told, answers, findings)
    _back(told, findings)
    _ending(told, answers, findings)
    _after(told, findings)
    return findings


def _read_answers(told: Transcript, findings: list[Finding]) -> list[Response]:
    """Read the client's side; one answer more than requests is allowed: the refusal of what came behind them."""
    methods = [request.method for request in told.plan.requests]
    if told.follow_up is not None or told.plan.ending in ("refused", "incomplete"):
        methods.append(b"GET")
    closed = told.ended == "end"
    answers, rest = read_responses(told.received, methods, closed=closed)
    if rest is None or told.hung:
        return answers
    if not isinstance(rest, Refusal) and rest.head is not None and _refused_head_request(told, rest.head):
        assert isinstance(rest.head, Response)
        return [*answers, rest.head]  # a refused HEAD: whether its refusal has a body is nobody's to know
    if told.plan.ending == "incomplete" and told.received[rest.at :] == b"HTTP/1.1 100 Continue\r\n\r\n":
        return answers  # the client was asked to go on, and left instead
    kind = "unreadable" if isinstance(rest, Refusal) else "lost"
    findings.append(Finding(kind, f"the client's side: {rest}; {told.received[rest.at :][:300]!r}"))
    return answers


def _refused_head_request(told: Transcript, head: object) -> bool:
    line = told.sent[told.plan.refusal.at :] if told.plan.refusal else b""
    return isinstance(head, Response) and line.lstrip(b"\r\n").upper().startswith(b"HEAD")


def _saw(answer: Response) -> bytes | None:
    values = answer.all(SAW)
    return values[0] if values else None


def _deliveries(told: Transcript, answers: list[Response], findings: list[Finding]) -> None:
    """Each answer belongs to the request at its place."""
    requests = told.plan.requests
    for number, answer in enumerate(answers):
        saw = _saw(answer)
        if number < len(requests):
            request = requests[number]
            wanted = identity(request.method, expected_target(request), request.body)
            if saw is None:
                if 400 <= answer.status < 500 and not request.doubts:
                    findings.append(Finding("stricter", f"{answer.status} for {request.method!r} {request.target!r}"))
                elif answer.status >= 500 and not request.doubts:
                    findings.append(Finding("lost", f"{answer.status} for {request.method!r} {request.target!r}"))
            elif saw != wanted:
                findings.append(Finding("misdelivered", f"answer {number}: {saw!r} instead of {wanted!r}"))
            elif request.method != b"HEAD" and answer.body != saw:
                findings.append(Finding("misdelivered", f"answer {number} has the body {answer.body!r}"))
        elif told.follow_up is not None:
            wanted = identity(b"GET", told.follow_up, b"")
            if saw != wanted:
                kind = "misdelivered" if saw else "lost"
                findings.append(Finding(kind, f"the follow-up got {saw!r} {answer.status}"))
        elif saw is not None:
            rule = told.plan.refusal.rule if told.plan.refusal else "incomplete"
            findings.append(Finding("lenient", f"served {saw!r} although {rule}"))


def _back(told: Transcript, findings: list[Finding]) -> None:
    """What the backend read is, in order, what the front reading says, and nothing more."""
    expected = list(told.plan.requests)
    for connection in told.connections:
        if connection.broken is not None:
            findings.append(Finding("different", f"unreadable behind: {connection.broken}: {bytes(connection.data)!r}"))
    log = [request for _, request in told.log]
    if told.follow_up is not None and log and log[-1].target == told.follow_up:
        log.pop()
    position = 0
    for request in log:
        while position < len(expected) and not _same_message(expected[position], request):
            position += 1  # refused in front or answered by the proxy itself: it need not reach the backend
        if position == len(expected):
            kind = "lenient" if _is_refused_part(told, request) else "different"
            text = f"behind: {request.method!r} {request.target!r} {request.body[:80]!r} has no counterpart in front"
            findings.append(Finding(kind, text))
            return
        problems = differences(expected[position], request)
        findings.extend(Finding("different", problem) for problem in problems)
        position += 1


def _same_message(front: Request, back: Request) -> bool:
    return (front.method, expected_target(front), front.body) == (back.method, back.target, back.body)


def _is_refused_part(told: Transcript, request: Request) -> bool:
    """Whether the backend was given the very message that a strict recipient refuses."""
    refusal = told.plan.refusal
    return refusal is not None and request.target in told.sent[refusal.at :]


def _ending(told: Transcript, answers: list[Response], findings: list[Finding]) -> None:
    plan = told.plan
    local = [answer for answer in answers if _saw(answer) is None]
    refusals = [answer for answer in local if 400 <= answer.status < 500 or answer.status in (501, 505)]
    for answer in refusals:
        findings.extend(Finding("rude", problem) for problem in rudeness(answer, told.ended))
    if refusals or told.hung:
        return
    owed = len(plan.requests)
    if len(answers) < owed and not any(request.doubts for request in plan.requests):
        findings.append(Finding("lost", f"{len(answers)} of {owed} answers came, then {told.ended!r}"))
    if plan.ending == "refused" and len(answers) == owed:
        text = f"no refusal came, the stream ended with {told.ended!r}: {plan.refusal}"
        findings.append(Finding("rude", text))


def rudeness(answer: Response, ended: str) -> list[str]:
    """What a refusal lacks: problem+json with the request id, `Connection: close`, and the close itself."""
    problems: list[str] = []
    if answer.all(b"content-type") != [b"application/problem+json"]:
        problems.append(f"{answer.status} is no problem+json: {answer.fields}")
    elif answer.body:
        try:
            document = json.loads(answer.body)
        except ValueError:
            return [f"{answer.status} has a body that is no JSON: {answer.body!r}"]
        if document.get("status") != answer.status:
            problems.append(f"the problem's status is not {answer.status}: {document}")
        identifier = answer.all(b"x-request-id")
        if len(identifier) != 1 or identifier[0].decode("latin-1") not in json.dumps(document):
            problems.append(f"no request id, or not the problem's: {identifier} {document}")
    if answer.tokens(b"connection") != [b"close"]:
        problems.append(f"{answer.status} without Connection: close")
    if ended != "end":
        problems.append(f"{answer.status} but the connection ended with {ended!r}")
    return problems


def _after(told: Transcript, findings: list[Finding]) -> None:
    """A fresh client connection, over whatever backend connection is reused, gets its own answer."""
    answers, rest = read_responses(told.after_received, [b"GET"])
    if rest is not None or len(answers) != 1:
        findings.append(Finding("lost", f"no whole answer for the next client: {told.after_received!r}"))
    elif _saw(answers[0]) != identity(b"GET", told.after, b""):
        kind = "misdelivered" if _saw(answers[0]) else "lost"
        findings.append(Finding(kind, f"the next client got {answers[0]}"))
