"""Whether a conversation went as its case says: refused with the right status, or served and read as it must be."""

from __future__ import annotations

from tests.kit.raw import SAW
from tests.kit.strict import Request, Response, read_responses

from .corpus.case import Case, Seen
from .transcript import Transcript


def wrongs(case: Case, told: Transcript) -> list[str]:
    """What went otherwise than the case's verdict, as sentences."""
    if case.verdict == "either":
        return []
    log = [request for _, request in told.log]
    if told.follow_up is not None and log and log[-1].target == told.follow_up:
        log.pop()
    problems = [problem for seen, request in zip(case.seen, log, strict=False) for problem in _unlike(seen, request)]
    if len(log) != len(case.seen):
        problems.append(f"the backend read {[request.target for request in log]}, not {len(case.seen)} requests")
    answers = _answers(told)
    served = [answer for answer in answers if answer.all(SAW)]
    if case.verdict == "serve":
        wanted = len(case.seen) + (told.follow_up is not None)
        if len(served) != wanted or len(answers) != wanted:
            problems.append(f"{len(served)} of {wanted} were served; statuses {[each.status for each in answers]}")
        if told.plan.ending == "open" and told.follow_up is None:
            problems.append("the connection was not kept alive")
    elif not answers or answers[-1].status not in case.statuses:
        problems.append(f"statuses {[each.status for each in answers]}, not {sorted(case.statuses)}")
    return problems


def _answers(told: Transcript) -> list[Response]:
    methods = [request.method for request in told.plan.requests] + [b"GET"]
    return read_responses(told.received, methods, closed=told.ended == "end")[0]


def _unlike(seen: Seen, request: Request) -> list[str]:
    problems: list[str] = []
    if (seen.method, seen.target, seen.body) != (request.method, request.target, request.body):
        problems.append(f"behind: {request.method!r} {request.target!r} {request.body[:80]!r}, not {seen}"[:400])
    for name, value in seen.has.items():
        got = b"|".join(request.all(name.encode("latin-1"))).decode("latin-1")
        if got != value:
            problems.append(f"behind: {name[:80]}: {got[:80]!r}, not {value[:80]!r}")
    spelled = {name.lower().replace(b"_", b"-") for name, _ in request.fields}
    problems.extend(f"behind: {name} went on" for name in seen.lacks if name.replace("_", "-").encode() in spelled)
    return problems
