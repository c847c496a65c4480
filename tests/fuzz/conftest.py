"""The whole program for the fuzz tests, as for the wire tests."""

from tests.wire.conftest import wire

__all__ = ["wire"]
