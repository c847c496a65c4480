"""What an OTLP exporter can be told, by the file or by a variable: names and values of headers, and endpoints."""

from __future__ import annotations

from string import ascii_letters, digits
from urllib.parse import urlsplit

from ..filters import fields

PROTOCOLS = ("http/protobuf", "grpc")
_METADATA = frozenset(ascii_letters + digits + "_.-")


def name_texts(name: str, protocol: str | None) -> list[str]:
    """What is wrong with a header's name; gRPC sends headers as metadata, which knows fewer of them."""
    texts = fields.name_texts(name)
    if not texts and protocol == "grpc" and (not _METADATA.issuperset(name) or name.lower().endswith("-bin")):
        return [f"{name} is no name that gRPC sends; allowed: letters, digits, _ . and -, without -bin at the end"]
    return texts


def value_text(value: str) -> str | None:
    """What is wrong with a header's value, or None. The text does not hold the value."""
    text = fields.value_text(value)
    if text is None and not (value.isascii() and value.isprintable()):
        return "has a tab or a character beyond ASCII, which exporters do not send; allowed: visible ASCII"
    return text


def is_endpoint(text: str, protocol: str) -> bool:
    """Whether it can be asked: http or https, and over gRPC whatever else gRPC resolves, such as host:4317.

    One that names a user cannot: gRPC would take them for a part of the host's name, and over HTTP nobody is sent them.
    So it is with a query over gRPC, and what gRPC takes for a name it tells in its errors.
    """
    if not (text.isascii() and text.isprintable()) or " " in text:
        return False
    if protocol == "grpc" and ("?" in text or "#" in text):
        return False
    if protocol == "grpc" and not text.lower().startswith(("http://", "https://")):
        return "@" not in text
    try:
        url = urlsplit(text)
        return url.scheme in ("http", "https") and bool(url.hostname) and "@" not in url.netloc and url.port != 0
    except ValueError:
        return False
