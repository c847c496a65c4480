"""Gathers what there is to tell of an exchange: entered for those alone that are told, so that the others pay nothing.

Nothing of a body, the query or a header field is told, save the fields that the configuration names; what clients
choose is cut at `MOST_CHARACTERS`, as it waits in memory.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from ...filters.api import Message
from ..trace import SAMPLED, state_of
from .told import ToldCall, ToldExchange, ToldFlag, ToldPair

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ...config.snapshot import Endpoint, Flag, Shadow
    from ...filters.api import Failure
    from ..plane import Port
    from ..shadow import Copy
    from ..trace import Context
    from .account import Account

MOST_CHARACTERS: Final = 1024
CUT: Final = "…"
_WORDS: Final = {each.encode(): each for each in ("http", "https", "GET", "POST", "PUT", "DELETE", "HEAD")}
"""What most requests say, decoded: a word that is the same one each time is found faster, too."""


def exchange(account: Account, now: float, epoch_s: float) -> ToldExchange:
    """The exchange whole: its live call with the attempts before it, and its copies, of which some may be under way.
    `epoch_s` is what the function of that name said lately."""
    calls = _live_calls(account)
    for copy in account.copies:
        calls.append(_copy(account, copy, now))
    for _, shadow, reason in account.refused:
        calls.append(_refused(account, shadow, reason))
    return _told(account, calls, epoch_s)


def late(account: Account, copy: Copy) -> ToldExchange:
    """A copy that ended after its exchange was told."""
    told = _told(account, [_copy(account, copy, 0.0)], epoch_s())
    told.logged = told.live_told = False
    return told


def _told(account: Account, calls: list[ToldCall], epoch_s: float) -> ToldExchange:
    spans, end = account.spans, account.end
    since = end.started
    if not account.began_s:
        account.began_s = epoch_s + since
    return ToldExchange(
        traced=account.traced,
        logged=account.logged,
        began_s=account.began_s,
        trace_id=spans.trace_id,
        span_id=account.server_span_id,
        parent_id=spans.parent_id,
        trace_state=state_of(spans.carried) if spans.carried is not None else b"",
        sampled=spans.flags == SAMPLED,
        request_id=account.id,
        method=_WORDS.get(account.method) or text(account.method),
        path=_utf8(account.path),
        scheme=_WORDS.get(account.scheme) or text(account.scheme),
        client=account.client,
        port=account.port.number,
        http_version="1.1" if account.minor else "1.0",
        route=end.route.name,
        experiment=account.experiment,
        arm=account.arm,
        flags=_flags(account.flags, end.route.flags, account.chosen) if account.flags else [],
        config=end.config,
        status=end.status,
        reason=end.reason or "",
        first_byte_ms=(end.first_byte - since) * 1000 if end.first_byte else None,
        total_ms=(end.ended - since) * 1000,
        request_bytes=end.received,
        response_bytes=end.sent,
        calls=calls,
        fields=_fields(account) if account.teller.fields else {},
    )


def refusal(
    traced: bool, logged: bool, context: Context, failure: Failure, status: int, id: bytes, client: str, port: Port
) -> ToldExchange:
    """What was refused by its head. Its method and path are told empty: who sent it may have meant anything."""
    return ToldExchange(
        traced=traced,
        logged=logged,
        began_s=epoch_s() + time.monotonic(),
        trace_id=context.trace_id,
        span_id=context.span_id,
        parent_id=b"",
        trace_state=b"",
        sampled=False,
        request_id=id,
        method="",
        path=b"",
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
        first_byte_ms=None,
        total_ms=0.0,
        request_bytes=0,
        response_bytes=0,
        calls=[],
        fields={},
    )


def epoch_s() -> float:
    """When the monotonic clock began, by the wall clock as it shows now: seconds since 1970."""
    return time.time() - time.monotonic()  # noqa: TID251 - for logs and spans


def text(value: bytes) -> str:
    """What a client chose, within a bound. Bytes that are no UTF-8 are told as Latin-1, which HTTP took them for."""
    try:
        found = value.decode()
    except UnicodeDecodeError:
        found = value.decode("latin-1")
    return found if len(found) <= MOST_CHARACTERS else found[:MOST_CHARACTERS] + CUT


def _utf8(value: bytes) -> bytes:
    """The same as bytes."""
    return value if len(value) <= MOST_CHARACTERS and value.isascii() else text(value).encode()


def _live_calls(account: Account) -> list[ToldCall]:
    if not account.asked:
        return []
    end = account.end
    since = end.started
    backend, version = account.backend, account.version
    calls: list[ToldCall] = []
    if account.attempts is not None:
        for each in account.attempts:
            calls.append(
                ToldCall(
                    "live", backend, version, _label(each.endpoint), b"", each.span_id, (each.asked - since) * 1000,
                    None, (each.ended - since) * 1000, 0, each.outcome, False, len(calls), 0, 0, None, None,
                )
            )  # fmt: skip
    outcome = "complete" if end.answered else end.reason or "replaced"
    calls.append(
        ToldCall(
            "live", backend, version, end.endpoint_label, b"", account.spans.span_id,
            (account.asked - since) * 1000, (end.first_byte - since) * 1000 if end.first_byte else None,
            ((end.answered or end.ended) - since) * 1000, account.status, outcome, False, len(calls),
            end.received, end.sent, end.stream, None,
        )
    )  # fmt: skip
    return calls


def _copy(account: Account, copy: Copy, now: float) -> ToldCall:
    shadow = copy.shadow
    start_ms = (copy.mirrored.asked - account.end.started) * 1000
    if copy.over:
        end_ms, outcome = start_ms + copy.total * 1000, copy.reason or "complete"
    else:
        end_ms, outcome = (now - account.end.started) * 1000, "pending"
    return ToldCall(
        "shadow", shadow.backend.name, shadow.backend.version, _label(copy.endpoint), copy.trace_id,
        copy.span_id if copy.sent else b"", start_ms,
        start_ms + copy.first_byte * 1000 if copy.first_byte else None, end_ms, copy.status, outcome, copy.censored, 0,
        copy.request_bytes if copy.sent else 0, copy.response_bytes, copy.stream, _pair(account, copy),
    )  # fmt: skip


def _refused(account: Account, shadow: Shadow, reason: str) -> ToldCall:
    """A copy that was never made; nor was the live call perhaps, where that was beyond its backend's limit."""
    backend = shadow.backend
    at_ms = max(account.asked - account.end.started, 0.0) * 1000
    return ToldCall(
        "shadow", backend.name, backend.version, "", b"", b"", at_ms, None, at_ms, 0, reason, False, 0, 0, 0, None, None
    )


def _pair(account: Account, copy: Copy) -> ToldPair | None:
    """Latencies of two whole answers that nobody held back, statuses of any two."""
    delta_ms = ratio = agree = None
    live_s = account.total
    if live_s and copy.over and not copy.reason and not copy.held_back:
        delta_ms, ratio = (copy.total - live_s) * 1000, copy.total / live_s
    if copy.status and account.status:
        agree = copy.status == account.status
    return None if delta_ms is None and agree is None else ToldPair(delta_ms, ratio, agree)


def _label(endpoint: Endpoint | None) -> str:
    return "" if endpoint is None else endpoint.label


def _flags(names: list[str], rules: Mapping[str, Flag] | None, backend: str) -> list[ToldFlag]:
    """What each flag decided: the first of them that chooses a backend chose this one."""
    told: list[ToldFlag] = []
    chosen = False
    for name in names:
        rule = rules.get(name) if rules is not None else None
        if rule is None:  # of a filter that is none of ours
            told.append(ToldFlag(name, "", "unknown"))
        elif rule.backend is None or chosen:
            told.append(ToldFlag(name, rule.others, rule.reason, rule.about))
        else:
            chosen = True
            told.append(ToldFlag(name, rule.backend or backend, rule.reason, rule.about))
    return told


def _fields(account: Account) -> dict[str, str]:
    headers = account.headers if not account.authority else [*account.headers, (b"host", account.authority)]
    fields = Message(headers).fields
    names = account.teller.fields
    return {name: text(value) for name in names if (value := fields.get(name.encode())) is not None}
