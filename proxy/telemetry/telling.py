"""Makes the record of an exchange that is told: entered for those alone, so that the others pay for none of it.

Nothing of a body, the query or a header field reaches a record, save the fields that the configuration names; what
clients choose is cut at `MOST_CHARACTERS`, as records wait in memory.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ..trace import SAMPLED, state_of
from .records import ToldCall, ToldExchange, ToldFlag

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ...config.snapshot import Endpoint, Flag
    from ...filters.api import Failure
    from ..plane import Port
    from ..trace import Context
    from .teller import Account

MOST_CHARACTERS = 1024
CUT = "…"


def exchange(account: Account) -> ToldExchange:
    """The exchange whole: its live call with the attempts before it, and its copies."""
    spans = account.spans
    since = account.started
    return ToldExchange(
        traced=account.traced,
        logged=account.logged,
        began_s=wall_clock(since),
        trace_id=spans.trace_id.decode(),
        span_id=account.server_span_id.decode(),
        parent_id=spans.parent_id.decode(),
        trace_state=state_of(spans.carried).decode(),
        sampled=spans.flags == SAMPLED,
        request_id=account.id.decode(),
        method=text(account.method),
        path=text(account.path),
        scheme=text(account.scheme),
        client=account.client,
        port=account.port.number,
        http_version="1.1" if account.minor else "1.0",
        route=account.route.name,
        experiment=account.experiment,
        arm=account.arm,
        flags=_flags(account.flags, account.route.flags, account.backend) if account.flags else [],
        config=account.config,
        status=account.response_status,
        reason=account.reason,
        first_byte_ms=(account.first_byte - since) * 1000 if account.first_byte else None,
        total_ms=(account.now - since) * 1000,
        request_bytes=account.received,
        response_bytes=account.sent,
        calls=_live_calls(account),
        fields=_fields(account) if account.teller.fields else {},
    )


def refusal(
    traced: bool, logged: bool, context: Context, failure: Failure, status: int, id: bytes, client: str, port: Port
) -> ToldExchange:
    """What was refused by its head. Its method and path are told empty: who sent it may have meant anything."""
    return ToldExchange(
        traced=traced,
        logged=logged,
        began_s=wall_clock(time.monotonic()),
        trace_id=context.trace_id.decode(),
        span_id=context.span_id.decode(),
        parent_id="",
        trace_state="",
        sampled=False,
        request_id=id.decode(),
        method="",
        path="",
        scheme=port.scheme.decode(),
        client=client,
        port=port.number,
        http_version="1.1",
        route="",
        experiment="",
        arm="",
        flags=[],
        config=0,
        status=status,
        reason=failure.reason,
        first_byte_ms=0.0,
        total_ms=0.0,
        request_bytes=0,
        response_bytes=0,
        calls=[],
        fields={},
    )


def wall_clock(then_s: float) -> float:
    """Seconds since 1970 of a moment of the monotonic clock."""
    return time.time() - (time.monotonic() - then_s)  # noqa: TID251 - for logs and spans


def text(value: bytes) -> str:
    """What a client chose, within a bound. Bytes that are no UTF-8 are told as Latin-1, which HTTP took them for."""
    try:
        found = value.decode()
    except UnicodeDecodeError:
        found = value.decode("latin-1")
    return found if len(found) <= MOST_CHARACTERS else found[:MOST_CHARACTERS] + CUT


def _live_calls(account: Account) -> list[ToldCall]:
    if not account.asked:
        return []
    since = account.started
    backend, version = account.backend, account.version
    calls = [
        ToldCall(
            "live", backend, version, _label(each.endpoint), "", each.span_id.decode(), (each.asked - since) * 1000,
            None, (each.ended - since) * 1000, 0, each.outcome, False, resent, 0, 0, None, None,
        )
        for resent, each in enumerate(account.attempts or ())
    ]  # fmt: skip
    outcome = "complete" if account.ended else account.reason or "replaced"
    calls.append(
        ToldCall(
            "live", backend, version, _label(account.endpoint), "", account.spans.span_id.decode(),
            (account.asked - since) * 1000, (account.first_byte - since) * 1000 if account.first_byte else None,
            ((account.ended or account.now) - since) * 1000, account.status, outcome, False, len(calls),
            account.received, account.sent, account.stream, None,
        )
    )  # fmt: skip
    return calls


def _label(endpoint: Endpoint | None) -> str:
    return "" if endpoint is None else endpoint.label


def _flags(names: list[str], rules: Mapping[str, Flag] | None, backend: str) -> list[ToldFlag]:
    """What each flag decided: the first of them that chooses a backend chose the one that was asked."""
    told: list[ToldFlag] = []
    chosen = False
    for name in names:
        rule = rules.get(name) if rules is not None else None
        if rule is None:  # of a filter that is none of ours
            told.append(ToldFlag(name, "", "unknown"))
        elif rule.backend is None or chosen:
            told.append(ToldFlag(name, rule.others, rule.reason))
        else:
            chosen = True
            told.append(ToldFlag(name, rule.backend or backend, rule.reason))
    return told


def _fields(account: Account) -> dict[str, str]:
    fields = {**account.fields, b"host": account.authority} if account.authority else account.fields
    names = account.teller.fields
    return {name: text(value) for name in names if (value := fields.get(name.encode())) is not None}
