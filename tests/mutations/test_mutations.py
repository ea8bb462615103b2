"""Every deliberate fault is caught, and what catches it catches nothing in the product as it is."""

from collections.abc import Callable

import pytest
from deliberate_faults import MUTATIONS, Mutation
from scenarios import SCENARIOS
from trial import catches
from worlds import Worlds


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_product_comes_well_out_of(worlds: Worlds, scenario: str) -> None:
    assert catches(worlds, SCENARIOS[scenario]) is None


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_is_caught(worlds: Worlds, mutation: Mutation, record_property: Callable[[str, object], None]) -> None:
    with mutation.apply():
        caught = catches(worlds, SCENARIOS[mutation.scenario])
    record_property(f"deliberate fault: {mutation.name}", f"in {mutation.scenario}: {caught}")
    assert caught is not None
