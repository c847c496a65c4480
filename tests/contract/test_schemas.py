"""Every configuration type of FILTERS, active or not, is a good one."""

from __future__ import annotations

from typing import Any

import pytest
from understudy.filters import FILTERS
from understudy.filters.api import FilterConfig

from tests.contract.examples import each_example, examples_of, tag_of
from tests.contract.schema import check_docs, check_example, check_type


@pytest.mark.parametrize("config", FILTERS, ids=tag_of)
def test_the_type_is_named_frozen_and_strict(config: type[FilterConfig]) -> None:
    check_type(config)


@pytest.mark.parametrize("config", FILTERS, ids=tag_of)
def test_every_field_is_explained(config: type[FilterConfig]) -> None:
    check_docs(config)


@pytest.mark.parametrize("config", FILTERS, ids=tag_of)
def test_there_is_an_example(config: type[FilterConfig]) -> None:
    tag = tag_of(config)
    assert examples_of(config), f"list valid YAML texts as EXAMPLES in tests/filters/test_{tag}.py"


@pytest.mark.parametrize(("config", "example"), each_example())
def test_examples_are_valid_frozen_strict_and_travel(config: type[FilterConfig], example: dict[str, Any]) -> None:
    check_example(config, example)


def test_names_and_behaviour_belong_to_one_filter_each() -> None:
    tags = [tag_of(config) for config in FILTERS]
    assert len(set(tags)) == len(tags)
    active = [filter_type for filter_type in FILTERS.values() if filter_type is not None]
    assert len(set(active)) == len(active)
    for config, filter_type in FILTERS.items():
        assert config.active is (filter_type is not None), f"{tag_of(config)}: `active` tells what FILTERS tells"
