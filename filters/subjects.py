"""How the parts of a request are read before they are compared: path, host, query and cookies.

Pure functions over bytes. A backend reads the same bytes with its own parser, so where readers differ these choose
the reading by which a spelling cannot escape a match; nothing that is read here is ever sent on.
"""

from __future__ import annotations

from collections.abc import Mapping

_ESCAPES: Mapping[bytes, bytes] = {
    f"{high}{low}".encode(): bytes([int(f"{high}{low}", 16)])
    for high in "0123456789abcdefABCDEF"
    for low in "0123456789abcdefABCDEF"
}
_PERCENT = ord("%")  # a number is looked for at once; bytes would first be tried as one, which costs an exception
_KEPT_IN_PATHS = frozenset(b"/\\%?#\x7f") | frozenset(range(0x20))
_PATH_ESCAPES: Mapping[bytes, bytes] = {
    code: b"%" + code.upper() if byte[0] in _KEPT_IN_PATHS else byte for code, byte in _ESCAPES.items()
}


def normal_path(path: bytes) -> bytes:
    """The one spelling under which a path is compared; apply it to both sides.

    Percent-escapes are decoded once, as servers do before they choose a handler: without that, `/%61dmin` would pass
    by a route for `/admin` and arrive there all the same. Escapes of `/ \\ % ? #` and of control bytes stay, in upper
    case: decoding them would change where segments end. A `%` that begins no escape is itself, hence `%25`.
    """
    return path if _PERCENT not in path else _decoded(path, _PATH_ESCAPES, b"%25")


def behind_prefix(path: bytes, prefix: bytes) -> bytes | None:
    """What stands behind a prefix of the path, as it came; None where the prefix does not stand on a segment border.

    Spellings compare as in a match, so that whatever matched a prefix can have it replaced. `prefix` is in its
    `normal_path` spelling. No escape makes or unmakes a `/`, so both spellings have their borders at the same slashes.
    """
    end = -1
    for _ in range(prefix.count(b"/")):
        end = path.find(b"/", end + 1)
        if end < 0:
            return None
    if prefix.endswith(b"/"):
        end += 1
    else:
        end = path.find(b"/", end + 1)
        end = len(path) if end < 0 else end
    return path[end:] if normal_path(path[:end]) == prefix else None


def host_of(authority: bytes) -> bytes:
    """The host of an authority, case folded, without its port and the root's trailing dot."""
    name, colon, port = authority.rpartition(b":")
    host = name if colon and not port.endswith(b"]") else authority
    return host.lower().removesuffix(b".")


def parameters(query: bytes, name: bytes) -> list[bytes]:
    """The decoded values of one parameter, in order: application/x-www-form-urlencoded (WHATWG URL, section 5.1)."""
    if name not in query and b"%" not in query and b"+" not in query:
        return []
    found = []
    for pair in query.split(b"&"):
        key, _, value = pair.partition(b"=")
        if pair and _form_decoded(key) == name:
            found.append(_form_decoded(value))
    return found


def cookies(header: bytes, name: bytes) -> list[bytes]:
    """The values of one cookie, in order, of a `Cookie` field: RFC 6265 section 4.2.1; enclosing quotes are dropped."""
    if name not in header:
        return []
    found = []
    for pair in header.split(b";"):
        key, equals, value = pair.partition(b"=")
        if equals and key.strip(b" \t") == name:
            value = value.strip(b" \t")
            quoted = len(value) > 1 and value.startswith(b'"') and value.endswith(b'"')
            found.append(value[1:-1] if quoted else value)
    return found


def _form_decoded(text: bytes) -> bytes:
    text = text.replace(b"+", b" ")
    return text if b"%" not in text else _decoded(text, _ESCAPES, b"%")


def _decoded(text: bytes, escapes: Mapping[bytes, bytes], percent: bytes) -> bytes:
    first, *rest = text.split(b"%")
    pieces = [first]
    for piece in rest:
        byte = escapes.get(piece[:2])
        pieces.append(percent + piece if byte is None else byte + piece[2:])
    return b"".join(pieces)
