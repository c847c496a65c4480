"""Small damages to good and bad messages, drawn from a seed: the same seed gives the same bytes everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

SPECIAL = (
    *(b"\r", b"\n", b"\r\n", b"\0", b" ", b"\t", b":", b";", b",", b"\x0b", b"\x7f", b"\x85", b"\xa0", b"\xff"),
    *(b"0", b"1", b"-", b"+", b"/", b"..", b"%", b"%2e", b"#", b"?", b"@", b"_", b'"', b"\\"),
    *(b"\r\n\r\n", b"0\r\n\r\n", b"chunked", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"),
    *(b"Connection: close\r\n", b"Host: b.test\r\n", b"GET /smuggled HTTP/1.1\r\nHost: b.test\r\n\r\n", b" HTTP/1.1"),
)


def mutant(rng: Random, segments: Sequence[bytes], others: Sequence[bytes] = ()) -> list[bytes]:
    """One to three damages to the bytes, then perhaps another cut into segments. `others` lend whole messages."""
    data = b"".join(segments)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        data = rng.choice(_DAMAGES)(rng, data)
    if others and rng.random() < 0.1:
        data += rng.choice(others)
    return split(rng, data) if rng.random() < 0.3 else [data]


def split(rng: Random, data: bytes, most: int = 4) -> list[bytes]:
    """The same bytes in several segments."""
    borders = sorted({rng.randint(0, len(data)) for _ in range(rng.randint(1, most))} | {0})
    return [data[start:end] for start, end in zip(borders, [*borders[1:], len(data)], strict=True)]


def _flip_bit(rng: Random, data: bytes) -> bytes:
    at = rng.randrange(len(data)) if data else 0
    return data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :] if data else data


def _replace_byte(rng: Random, data: bytes) -> bytes:
    at = rng.randrange(len(data)) if data else 0
    return data[:at] + rng.choice(SPECIAL) + data[at + 1 :]


def _insert(rng: Random, data: bytes) -> bytes:
    at = rng.randint(0, len(data))
    return data[:at] + rng.choice(SPECIAL) + data[at:]


def _insert_at_border(rng: Random, data: bytes) -> bytes:
    """Special bytes where they hurt: beside a line end, a colon or a space."""
    borders = [at for at, byte in enumerate(data[:4096]) if byte in b"\r\n: ;,"] or [0]
    at = rng.choice(borders) + rng.randint(0, 1)
    return data[:at] + rng.choice(SPECIAL) + data[at:]


def _delete(rng: Random, data: bytes) -> bytes:
    at = rng.randint(0, len(data))
    return data[:at] + data[at + rng.choice((1, 1, 1, 2, 4, 16)) :]


def _truncate(rng: Random, data: bytes) -> bytes:
    return data[: rng.randint(0, len(data))]


def _duplicate_line(rng: Random, data: bytes) -> bytes:
    lines = data.split(b"\r\n")
    at = rng.randrange(len(lines))
    return b"\r\n".join([*lines[: at + 1], *lines[at:]])


def _swap_lines(rng: Random, data: bytes) -> bytes:
    lines = data.split(b"\r\n")
    one, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[one], lines[other] = lines[other], lines[one]
    return b"\r\n".join(lines)


def _drop_line(rng: Random, data: bytes) -> bytes:
    lines = data.split(b"\r\n")
    del lines[rng.randrange(len(lines))]
    return b"\r\n".join(lines)


def _shift_number(rng: Random, data: bytes) -> bytes:
    digits = [at for at, byte in enumerate(data[:4096]) if byte in b"0123456789"]
    if not digits:
        return data
    at = rng.choice(digits)
    return data[:at] + str((data[at] - 48 + rng.choice((1, 9, 5))) % 10).encode() + data[at + 1 :]


def _change_case(rng: Random, data: bytes) -> bytes:
    at = rng.randint(0, len(data))
    end = at + rng.randint(1, 12)
    return data[:at] + data[at:end].swapcase() + data[end:]


def _change_line_ends(rng: Random, data: bytes) -> bytes:
    return data.replace(b"\r\n", rng.choice((b"\n", b"\r", b"\r\r\n", b"\n\r")), rng.randint(1, 3))


_DAMAGES = (
    *(_flip_bit, _replace_byte, _insert, _insert, _insert_at_border, _insert_at_border, _delete, _truncate),
    *(_duplicate_line, _swap_lines, _drop_line, _shift_number, _change_case, _change_line_ends),
)
