"""What compiled code needs to call a method of several unrelated classes directly."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from mypy_extensions import trait as trait  # noqa: PLC0414  (passed on)
else:
    T = TypeVar("T")

    def trait(cls: type[T]) -> type[T]:
        """Marks a class without state that others derive from beside their own base."""
        return cls
