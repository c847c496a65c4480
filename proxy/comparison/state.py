"""The mergeable state of a comparison as `/compare` carries it: to be added up over replicas, not to be read.

Its fields are those of the sums (sums.py), which are classes of their own for the sake of speed. Sketches count
durations by logarithmic bucket (proxy/telemetry/sketch.py); sums are of ln(shadow / live).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from ..telemetry.sketch import add

if TYPE_CHECKING:
    from .sums import Series, Sums


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


def state_of(sums: Sums) -> State:
    """A copy that stays as it is."""
    return msgspec.convert(sums, State, from_attributes=True)


def add_state(sums: Sums | Series, state: State | SeriesState) -> None:
    """Add what another one has seen."""
    for name in state.__struct_fields__:
        seen, more = getattr(sums, name), getattr(state, name)
        if isinstance(more, SeriesState):
            add_state(seen, more)
        elif isinstance(more, dict):
            add(seen, more)
        else:
            setattr(sums, name, seen | more if isinstance(more, bool) else seen + more)
