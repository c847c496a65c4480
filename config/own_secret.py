"""The program's own secret: where it is kept, how it is made, and the 32 bytes that come of it. It reaches no message.

It keys issued cookies, fingerprints and rewritten idempotency keys. Replicas that are given the same one agree on them.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import tempfile

from ..filters.units import SecretRef
from .schema import Document
from .secrets import MAX_BYTES, absolute

BYTES = 32
LEAST_BYTES = 16


def kept_at(document: Document) -> SecretRef | None:
    """Where the secret outlives the program; None: nowhere, and each start draws a new one."""
    if document.secret is not None:
        return document.secret
    ledger = document.stores.ledger if document.stores is not None else ""
    return SecretRef(file=ledger.removeprefix("sqlite://") + ".secret") if ledger.startswith("sqlite://") else None


def known(document: Document, base: str) -> bytes | None:
    """The 32 bytes, as far as they are there to be read. Raises ValueError for what is no secret."""
    ref = kept_at(document)
    if ref is None or (ref.file is not None and not os.path.exists(absolute(ref.file, base))):
        return None
    return read(ref, base)


def resolve(document: Document, base: str) -> bytes | None:
    """The 32 bytes; a file that is missing is made. None where the secret is kept nowhere.

    Raises ValueError for what is no secret or cannot be read or made.
    """
    ref = kept_at(document)
    if ref is None:
        return None
    if ref.file is not None:
        _make_if_missing(absolute(ref.file, base), ref.file)
    return read(ref, base)


def read(ref: SecretRef, base: str) -> bytes:
    """The 32 bytes that come of a variable or a file. Raises ValueError with what is wrong, never with the value."""
    if ref.env is not None:
        value = os.environ.get(ref.env)
        if value is None:
            raise ValueError(f"the environment has no variable {ref.env}")
        material = os.fsencode(value)
    else:
        material = _file_material(absolute(ref.file or "", base), ref.file or "")
    if len(material) < LEAST_BYTES:
        raise ValueError(f"the secret has {len(material)} bytes; allowed: {LEAST_BYTES} or more, random")
    return material if len(material) == BYTES else hashlib.sha256(material).digest()


def others_may_read(ref: SecretRef, base: str) -> str | None:
    """The mode of a file that more than its owner may read or change, as chmod writes it."""
    if ref.file is None:
        return None
    try:
        mode = os.stat(absolute(ref.file, base)).st_mode & 0o777
    except (OSError, ValueError):
        return None
    return f"{mode:04o}" if mode & 0o077 else None


def _file_material(path: str, written: str) -> bytes:
    """The bytes of a file, text or not; of text without one trailing line break."""
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise ValueError(f"the file {written} cannot be read: {_reason(error)}") from None
    if len(data) > MAX_BYTES:
        raise ValueError(f"the file {written} is larger than {MAX_BYTES // 1024} KiB")
    return data if len(data) == BYTES else data.removesuffix(b"\n").removesuffix(b"\r")


def _make_if_missing(path: str, written: str) -> None:
    """Whole or not at all: a link appears with its content, and of two programs the second finds the first one's."""
    if os.path.exists(path):
        return
    try:
        descriptor, draft = tempfile.mkstemp(dir=os.path.dirname(path), prefix=".secret-")  # mode 0600
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_hex(BYTES) + "\n")
                file.flush()
                os.fsync(file.fileno())
            os.link(draft, path)
        finally:
            os.unlink(draft)
    except FileExistsError:
        return
    except (OSError, ValueError) as error:
        raise ValueError(f"the file {written} cannot be made: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or "no path can hold NUL"
