"""The judge of hostile answers: what the client was told of what the backend said.

Findings have the kinds of `judge`: `different` a whole answer that the backend did not give, `misdelivered` bytes of
one answer given to another request, `unreadable`, `hang`, `lost`; `lenient` a broken answer passed on as whole,
`stricter` a whole one withheld, `rude` a 502 without its problem+json or request id.
"""

from __future__ import annotations

import json

from tests.kit.raw import SAW, identity
from tests.kit.strict import Incomplete, Refusal, Response, read_response, read_responses

from .corpus.answers import Hostile
from .judge import Finding
from .transcript import Transcript


def first_answer(told: Transcript) -> Response | Incomplete | Refusal:
    """What the client got for its first request; a stream cut short is `Incomplete`."""
    method = told.plan.requests[0].method
    return read_response(told.received, method=method, closed=told.ended == "end")


def safety(told: Transcript) -> list[Finding]:
    """What must hold whatever the backend said: everybody later gets his own answer, and the stream is HTTP."""
    findings: list[Finding] = []
    if told.hung:
        findings.append(Finding("hang", f"no end within the deadline; received {told.received[:300]!r}"))
    first = first_answer(told)
    if isinstance(first, Refusal):
        findings.append(Finding("unreadable", f"{first}: {told.received[:300]!r}"))
    if isinstance(first, Response):
        rest = told.received[first.end :]
        if told.follow_up is None:
            if rest:
                findings.append(Finding("misdelivered", f"bytes behind the answer: {rest[:200]!r}"))
        else:
            findings.extend(_own_answer(rest, told.follow_up))
    findings.extend(_own_answer(told.after_received, told.after))
    return findings


def _own_answer(data: bytes, target: bytes) -> list[Finding]:
    answers, rest = read_responses(data, [b"GET"])
    if rest is not None or len(answers) != 1:
        return [Finding("lost", f"no whole answer for {target!r}: {data[:200]!r}")]
    if answers[0].all(SAW) != [identity(b"GET", target, b"")]:
        kind = "misdelivered" if answers[0].all(SAW) else "lost"
        return [Finding(kind, f"{target!r} got {answers[0].status} {answers[0].fields}"[:300])]
    return []


def against_oracle(told: Transcript, answer: bytes, *, closed: bool) -> list[Finding]:
    """Compare what the client got with the strict reading of what the backend sent."""
    method = told.plan.requests[0].method
    said = read_response(answer, method=method, closed=closed)
    if b"\t" in answer and isinstance(said, Response):
        said.doubts.append("RFC 9110 5.6.3: tabs, perhaps around the value of a framing field")
    if isinstance(said, Response) and _is_large(said):
        said.doubts.append("a recipient may limit heads, extensions, trailers and interim answers")
    got = first_answer(told)
    if not isinstance(got, Response):
        whole = isinstance(said, Response) and not said.doubts
        return [Finding("stricter", f"cut, though {said}"[:300])] if whole else []
    if got.status == 502 and not (isinstance(said, Response) and said.status == 502):
        whole = isinstance(said, Response) and not said.doubts and said.status != 101
        return [Finding("stricter", f"502, though {said}"[:300])] if whole else []
    if not answer and method != b"POST" and got.all(SAW):
        return []  # nothing came on a reused connection: a safe method is sent once more
    if not isinstance(said, Response):
        return [Finding("lenient", f"{got.status} {got.body[:80]!r} although {said}"[:300])]
    if (got.status, got.body) != (said.status, said.body):
        return [Finding("different", f"{got.status} {got.body[:80]!r} for {said.status} {said.body[:80]!r}")]
    return []


def _is_large(said: Response) -> bool:
    overhead = said.extension_bytes + said.trailer_bytes
    return said.head_end - said.at > 32_000 or len(said.fields) > 100 or overhead > 2048 or len(said.interim) > 8


def wrongs(case: Hostile, told: Transcript) -> list[str]:
    """What went otherwise than the case's verdict, as sentences."""
    got = first_answer(told)
    problems: list[str] = []
    if case.dropped and len(told.log) > 1 and told.log[0][0] is told.log[1][0]:
        problems.append("the backend connection was used again")
    if case.verdict == "bad" or (case.verdict == "cut" and isinstance(got, Response)):
        problems.extend(_bad_gateway(got))
    elif case.verdict == "passed":
        problems.extend(_passed(case, got))
    return problems


def _bad_gateway(got: Response | Incomplete | Refusal) -> list[str]:
    if not isinstance(got, Response) or got.status != 502:
        return [f"not 502: {got}"[:300]]
    if got.all(b"content-type") != [b"application/problem+json"]:
        return [f"502 is no problem+json: {got.fields}"]
    document = json.loads(got.body) if got.body else None
    identifier = got.all(b"x-request-id")
    if len(identifier) != 1 or (document and identifier[0].decode() not in json.dumps(document)):
        return [f"502 without its request id: {got.fields} {document}"]
    return []


def _passed(case: Hostile, got: Response | Incomplete | Refusal) -> list[str]:
    if not isinstance(got, Response):
        return [f"no whole answer: {got}"[:300]]
    problems = [f"Date: {got.all(b'date')}"] if len(got.all(b"date")) != 1 else []
    if (got.status, got.body) != (case.status, case.body):
        problems.append(f"{got.status} {got.body[:80]!r}, not {case.status} {case.body[:80]!r}")
    for name, value in case.has.items():
        values = b"|".join(got.all(name.encode())).decode("latin-1")
        if values != value:
            problems.append(f"{name}: {values!r}, not {value!r}")
    if tuple(each.status for each in got.interim) != case.interim:
        problems.append(f"interim {[each.status for each in got.interim]}, not {case.interim}")
    problems.extend(f"{name} went on" for name in case.lacks if got.all(name.encode()) or _in(got.trailers, name))
    return problems


def _in(fields: list[tuple[bytes, bytes]], name: str) -> bool:
    return any(each.lower() == name.encode() for each, _ in fields)
