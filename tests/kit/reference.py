"""The reference of sticky draws, written from its description alone and sharing no code with what it judges.

XXH64 is written from the xxHash specification (https://github.com/Cyan4973/xxHash/blob/release/doc/xxhash_spec.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from math import log

_MASK = (1 << 64) - 1
_P1, _P2, _P3 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
_P4, _P5 = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5


def xxh64(data: bytes, seed: int = 0) -> int:
    """The 64-bit hash, as an unsigned integer."""
    at = 0
    if len(data) >= 32:
        lanes = [(seed + _P1 + _P2) & _MASK, (seed + _P2) & _MASK, seed, (seed - _P1) & _MASK]
        while at + 32 <= len(data):
            lanes = [_round(lane, _word(data, at + 8 * index, 8)) for index, lane in enumerate(lanes)]
            at += 32
        total = sum(_rotated(lane, bits) for lane, bits in zip(lanes, (1, 7, 12, 18), strict=True)) & _MASK
        for lane in lanes:
            total = ((total ^ _round(0, lane)) * _P1 + _P4) & _MASK
    else:
        total = (seed + _P5) & _MASK
    total = (total + len(data)) & _MASK
    while at + 8 <= len(data):
        total = (_rotated(total ^ _round(0, _word(data, at, 8)), 27) * _P1 + _P4) & _MASK
        at += 8
    if at + 4 <= len(data):
        total = (_rotated(total ^ (_word(data, at, 4) * _P1 & _MASK), 23) * _P2 + _P3) & _MASK
        at += 4
    for byte in data[at:]:
        total = _rotated(total ^ (byte * _P5 & _MASK), 11) * _P1 & _MASK
    total = (total ^ total >> 33) * _P2 & _MASK
    total = (total ^ total >> 29) * _P3 & _MASK
    return total ^ total >> 32


def u_of(salt: str, arm: str, key: bytes) -> float:
    """Where a key falls for one arm."""
    return (xxh64(key, xxh64(salt.encode() + bytes(1) + arm.encode())) // 4096 + 0.5) / 4503599627370496


def scores(salt: str, weights: Mapping[str, float], key: bytes) -> dict[str, float]:
    """The score of every arm that takes part."""
    return {arm: -weight / log(u_of(salt, arm, key)) for arm, weight in weights.items() if weight}


def winner(salt: str, weights: Mapping[str, float], key: bytes) -> str:
    """The arm that takes the key."""
    found = scores(salt, weights, key)
    return min(found, key=lambda arm: (-found[arm], arm.encode()))


def _word(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "little")


def _rotated(value: int, bits: int) -> int:
    return (value << bits | value >> (64 - bits)) & _MASK


def _round(lane: int, word: int) -> int:
    return _rotated((lane + word * _P2) & _MASK, 31) * _P1 & _MASK
