"""`type: headers` sets, appends and removes header fields of requests and of answers.

In YAML::

    - type: headers
      request:
        set: {x-model-version: "7", authorization: {env: MODEL_TOKEN}}
        append: {x-tag: canary}
        remove: [x-internal]
      response:
        remove: [server]
"""

from __future__ import annotations

import msgspec

from .api import Exchange, Filter, FilterConfig, Message, Response, Services, Told
from .fields import lines, remove_mistakes, set_mistakes
from .matching import Mistakes
from .units import FieldValue


class HeaderChanges(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """What becomes of the fields of one message. Removals come first, then what is set, then what is appended."""

    set: dict[str, FieldValue] = {}  # name: value; replaces every line of this name
    append: dict[str, FieldValue] = {}  # name: value; one more line of this name
    remove: tuple[str, ...] = ()  # names; nothing happens where there is none

    def mistakes(self) -> Mistakes:
        """Names and values that cannot be sent, and changes that would undo each other."""
        found = set_mistakes(self.set, "set") + set_mistakes(self.append, "append")
        found += remove_mistakes(self.remove, "remove")
        written = {name.lower(): name for name in self.set}
        for at, name in enumerate(self.remove):
            if name.lower() in written:
                found.append((("remove", at), f"{name} is set as well, which replaces every line of it; keep one"))
        return found


class HeadersConfig(FilterConfig, frozen=True, tag="headers"):
    """The YAML of `type: headers`."""

    request: HeaderChanges = HeaderChanges()  # what the backend receives: set, append, remove
    response: HeaderChanges = HeaderChanges()  # what the client receives, local answers included: set, append, remove

    def mistakes(self) -> Mistakes:
        """What types cannot say."""
        found: Mistakes = []
        for side, changes in (("request", self.request), ("response", self.response)):
            found += [((side, *path), text) for path, text in changes.mistakes()]
        if self.request == HeaderChanges() == self.response:
            found.append(((), "changes nothing; give request or response at least one of set, append, remove"))
        return found


class HeadersFilter(Filter):
    """Changes heads only, and holds nothing."""

    def __init__(self, config: HeadersConfig, services: Services) -> None:
        super().__init__(config, services)
        self._request = _Edit(config.request)
        self._response = _Edit(config.response)

    def on_request(self, exchange: Exchange) -> None:
        """Change what the backend will receive."""
        self._request.apply(exchange.request)

    def explain(self, exchange: Exchange) -> Told:
        """Change the request, and tell which fields of both messages: names alone, since a value may be a secret."""
        self.on_request(exchange)
        facts = {"request": _names(self.config.request), "response": _names(self.config.response)}
        told = [
            f"{side} {verb} {', '.join(names)}"
            for side, verbs in facts.items()
            for verb, names in verbs.items()
            if names
        ]
        return Told((f"headers: {'; '.join(told)}",), facts)

    def on_response(self, exchange: Exchange, response: Response) -> Response:
        """Change what the client will receive."""
        self._response.apply(response)
        return response


def _names(changes: HeaderChanges) -> dict[str, list[str]]:
    return {"set": list(changes.set), "append": list(changes.append), "remove": list(changes.remove)}


class _Edit:
    """`HeaderChanges` as bytes, ready to send."""

    def __init__(self, changes: HeaderChanges) -> None:
        self._removed = [name.lower().encode() for name in changes.remove]
        self._set = lines(changes.set)
        self._appended = lines(changes.append)

    def apply(self, message: Message) -> None:
        for name in self._removed:
            message.remove(name)
        for name, value in self._set:
            message.set(name, value)
        for name, value in self._appended:
            message.append(name, value)
