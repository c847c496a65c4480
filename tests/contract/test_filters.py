"""The contract of filters/api.py, kept by every active entry of FILTERS with every example of its YAML."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from understudy.filters import FILTERS
from understudy.filters.api import Filter, FilterConfig

from tests.contract import behaviour
from tests.contract.examples import each_example, tag_of
from tests.contract.schema import decoded
from tests.kit.services import FakeServices

ACTIVE = [(config, example) for config, example in each_example() if FILTERS[config] is not None]

pytestmark = pytest.mark.parametrize(
    ("config", "example"), ACTIVE, ids=[f"{tag_of(config)}-{at}" for at, (config, _) in enumerate(ACTIVE)]
)


def maker(config: type[FilterConfig], example: dict[str, Any]) -> behaviour.Make:
    def make(services: FakeServices) -> Filter:
        filter_type = FILTERS[config]
        assert filter_type is not None
        return filter_type(decoded(config, resolved(example)), services)

    return make


def resolved(value: Any) -> Any:
    """References to secrets become values before a filter is built."""
    if isinstance(value, dict):
        if value.keys() in ({"env"}, {"file"}):
            return "s3cret"
        return {key: resolved(each) for key, each in value.items()}
    return [resolved(each) for each in value] if isinstance(value, list) else value


def test_its_hooks_are_of_the_right_kind(config: type[FilterConfig], example: dict[str, Any]) -> None:
    behaviour.check_hooks(maker(config, example))


def test_every_life_of_an_exchange_passes_through_it(config: type[FilterConfig], example: dict[str, Any]) -> None:
    asyncio.run(behaviour.check_lives(maker(config, example)))


def test_it_keeps_nothing_of_what_is_over(config: type[FilterConfig], example: dict[str, Any]) -> None:
    asyncio.run(behaviour.check_keeps_nothing(maker(config, example)))


def test_exchanges_that_overlap_do_not_meet_in_it(config: type[FilterConfig], example: dict[str, Any]) -> None:
    asyncio.run(behaviour.check_shared(maker(config, example)))
