"""The mergeable state of a comparison as `/compare` carries it: to be added up over replicas, not to be read.

Sketches count durations by logarithmic bucket (proxy/telemetry/sketch.py); sums are of ln(shadow / live).
"""

from __future__ import annotations

import msgspec

from .sums import Sums


class SeriesState(msgspec.Struct):
    """One measure."""

    pairs: int = 0
    censored: int = 0
    low: float = 0.0
    low_squares: float = 0.0
    high: float = 0.0
    high_squares: float = 0.0
    live: dict[int, int] = {}
    shadow: dict[int, int] = {}
    cut: dict[int, int] = {}


class State(msgspec.Struct):
    """One comparison."""

    calibration: bool = False
    selected: int = 0
    sent: int = 0
    complete: int = 0
    censored: int = 0
    tainted: int = 0
    live_failed: int = 0
    other_class: int = 0
    dropped: dict[str, int] = {}
    failed: dict[str, int] = {}
    statuses: dict[int, int] = {}
    total: SeriesState = msgspec.field(default_factory=SeriesState)
    first_byte: SeriesState = msgspec.field(default_factory=SeriesState)
    gap: SeriesState = msgspec.field(default_factory=SeriesState)
    first_token: SeriesState = msgspec.field(default_factory=SeriesState)
    per_chunk: SeriesState = msgspec.field(default_factory=SeriesState)


_SERIES = SeriesState.__struct_fields__
_MEASURES = ("total", "first_byte", "gap", "first_token", "per_chunk")
_PLAIN = tuple(name for name in State.__struct_fields__ if name not in _MEASURES)


def state_of(sums: Sums) -> State:
    """A copy that stays as it is."""
    state = State()
    _copy(sums, state)
    return state


def sums_of(state: State) -> Sums:
    """The sums that `state_of` copied."""
    sums = Sums()
    _copy(state, sums)
    return sums


def _copy(source: Sums | State, target: Sums | State) -> None:
    for name in _PLAIN:
        setattr(target, name, _copied(getattr(source, name)))
    for measure in _MEASURES:
        of, to = getattr(source, measure), getattr(target, measure)
        for name in _SERIES:
            setattr(to, name, _copied(getattr(of, name)))


def _copied(value: object) -> object:
    return dict(value) if isinstance(value, dict) else value
