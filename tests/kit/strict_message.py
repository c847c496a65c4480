"""What the strict reader reads: messages, and the three ways in which bytes are no message."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from . import strict_grammar as grammar

Fields: TypeAlias = list[tuple[bytes, bytes]]
Framing: TypeAlias = Literal["none", "length", "chunked", "close"]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A message that a strict recipient does not serve."""

    at: int  # offset of the message's first byte
    rule: str
    statuses: frozenset[int] = frozenset({400})


@dataclass(slots=True)
class Incomplete:
    """The bytes end inside a message: `head` is there when only the body is missing."""

    at: int
    head: Request | Response | None = None


@dataclass(slots=True)
class Message:
    """What requests and responses share. Offsets count from the stream's first byte; `end` is one past the last."""

    at: int
    version: bytes
    fields: Fields
    head_end: int = 0
    end: int = 0
    framing: Framing = "none"
    body: bytes = b""
    trailers: Fields = field(default_factory=list)
    trailer_bytes: int = 0
    extension_bytes: int = 0  # of all chunks together
    doubts: list[str] = field(default_factory=list)

    def all(self, name: bytes) -> list[bytes]:
        """The values of every line of this name, in order; the name in lower case."""
        return [value for each, value in self.fields if each.lower() == name]

    def tokens(self, name: bytes) -> list[bytes]:
        """The lower-case elements of a list field, empty ones left out."""
        return [element.lower() for element in grammar.list_elements(self.all(name)) if element]

    @property
    def keeps_alive(self) -> bool:
        """Whether the connection may carry another message after this one (RFC 9112 9.3)."""
        options = self.tokens(b"connection")
        if b"close" in options or self.framing == "close":
            return False
        return self.version == b"HTTP/1.1" or b"keep-alive" in options


@dataclass(slots=True)
class Request(Message):
    """A request, its target as sent."""

    method: bytes = b""
    target: bytes = b""


@dataclass(slots=True)
class Response(Message):
    """A final response and the interim ones before it."""

    status: int = 0
    reason: bytes = b""
    interim: list[Response] = field(default_factory=list)


class Broken(Exception):
    """Raised inside the reader: the rule that the bytes break."""

    def __init__(self, rule: str, *statuses: int) -> None:
        super().__init__(rule)
        self.statuses = frozenset(statuses or (400,))


class Short(Exception):
    """Raised inside the reader: the bytes end too early."""
