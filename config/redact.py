"""A configuration as it may be shown: secrets never.

It works on the typed document, where a reference is a `SecretRef` and not a map that looks like one, and a condition
knows what it is about.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from ..filters.redact import HIDDEN, Redaction, is_secret
from .schema import Document, OtlpPart, RewritePart


def redacted(document: Document, stand_in: Callable[[str], str] = lambda secret: HIDDEN) -> Document:
    """The document with a stand-in for every literal secret, those of `Redaction`, and what a JSON body is told under
    such a name at any depth, and the headers of the OTLP export."""
    shown = _OfDocument(stand_in).shown(document)
    assert isinstance(shown, Document)
    return shown


class _OfDocument(Redaction):
    def field(self, owner: msgspec.Struct, name: str, value: Any) -> Any:
        if isinstance(owner, RewritePart) and name == "json":
            return self._json(value)
        if isinstance(owner, OtlpPart) and name == "headers":
            return self.hidden(value)
        return super().field(owner, name, value)

    def _json(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: self.hidden(each) if is_secret(name) else self._json(each) for name, each in value.items()}
        if isinstance(value, list):
            return [self._json(each) for each in value]
        return self.shown(value)
