"""What all spans of a kind say: attributes, by the semantic conventions of OpenTelemetry as of the SDK in use, or with
names that begin with `understudy.`.

A shadow's span has no error, whatever befell it, so that alerts on errors speak of live calls alone; what befell it is
`understudy.outcome`. A client that left is no error either.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias, cast

from ...filters.api import Reason
from ..ending import is_failure
from ..rescue import RESCUES
from .otlp import Value

if TYPE_CHECKING:
    from .places import Address
    from .told import ToldCall, ToldExchange, ToldFlag

Attributes: TypeAlias = dict[str, Value]

ERROR: Final = "error.type"
_NO_FAILURE: Final = frozenset({"complete", "client_gone", "replaced"})  # by the client's or a filter's will


def of_exchange(told: ToldExchange, method: str, answering: ToldCall | None, template: str | None) -> Attributes:
    """Of a SERVER span. `method` is told's, or `_OTHER`; `answering` the last of its live calls."""
    error = _server_error(told)
    found: Attributes = {
        "http.request.method": method,
        "url.scheme": told.scheme,
        "network.protocol.version": told.http_version,
        "understudy.role": "live",
        "understudy.outcome": told.reason or "complete",
        "understudy.sampled": told.sampled,
        "understudy.config.version": told.config,
    }
    if template is not None:
        found["http.route"] = template
    if told.route:
        found["understudy.route"] = told.route
    if told.port:
        found["network.local.port"] = told.port
    if told.status:
        found["http.response.status_code"] = told.status
    if error is not None:
        found[ERROR] = error
    if answering is not None:
        found["understudy.backend"] = answering.backend
        found["understudy.version"] = answering.version
    _add_arm(found, told)
    if told.flags:
        found |= of_flag(told.flags[0])
    return found


def of_call(told: ToldExchange, method: str, call: ToldCall, address: Address | None) -> Attributes:
    """Of a CLIENT span."""
    is_shadow = call.role == "shadow"
    error = None if is_shadow else _client_error(call)
    found: Attributes = {
        "http.request.method": method,
        "network.protocol.version": "1.1",
        "understudy.route": told.route,
        "understudy.role": call.role,
        "understudy.backend": call.backend,
        "understudy.version": call.version,
        "understudy.outcome": call.outcome,
    }
    if call.status:
        found["http.response.status_code"] = call.status
    if call.resent:
        found["http.request.resend_count"] = call.resent
    if is_shadow:
        found["understudy.censored"] = call.censored
    else:
        _add_arm(found, told)
    if address is not None:
        found["server.address"] = address.host
        if address.port is None:
            found["network.transport"] = "unix"
        else:
            found["server.port"] = address.port
    if error is not None:
        found[ERROR] = error
    return found


def of_flag(flag: ToldFlag) -> Attributes:
    """Of a SERVER span, and of the event of each flag's evaluation."""
    found: Attributes = {
        "feature_flag.key": flag.key,
        "feature_flag.result.variant": flag.variant,
        "feature_flag.result.reason": flag.reason,
    }
    for name, value in flag.about.items():
        found[f"understudy.flag.{name}"] = value
    return found


def _add_arm(found: Attributes, told: ToldExchange) -> None:
    if told.experiment:
        found["understudy.experiment"] = told.experiment
    if told.arm:
        found["understudy.arm"] = told.arm


def _server_error(told: ToldExchange) -> str | None:
    """The reason of a failure, or else its status; None where it was the client's doing: by OpenTelemetry's rule a
    server's 4xx is no error, and by ours no answer is that broke off for what the client did."""
    if not is_failure(told.status, told.reason or None):
        return None
    if told.status >= 500:
        return told.reason or str(told.status)
    rescue = RESCUES.get(cast(Reason, told.reason))
    return told.reason if told.status < 400 and rescue is not None and rescue.blame != "client" else None


def _client_error(call: ToldCall) -> str | None:
    """The reason, or else the status: of 4xx too, since it was we who asked."""
    if call.outcome not in _NO_FAILURE:
        return call.outcome
    return str(call.status) if call.status >= 400 else None
