"""How the keys of a split are spread, as a worker tells control: a constant key puts everyone in one arm."""

from __future__ import annotations

import msgspec


class KeyUse(msgspec.Struct, array_like=True):
    """The keys of one split, cumulative since the worker started; keytally.py counts them."""

    experiment: str
    requests: int = 0  # with a key
    missing: int = 0  # without one
    issued: int = 0  # that were sent a cookie of ours
    hot: dict[int, int] = {}  # the most frequent ones: hash and count
