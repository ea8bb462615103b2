"""The promise holds whoever moves when, whatever breaks: a short run, always the same; ``make soak`` is for long."""

import pytest
from chance import play
from worlds import Worlds

pytestmark = pytest.mark.soak

_EXAMPLES = 50


@pytest.mark.timeout(900)
def test_the_promise_holds_in_every_order_of_steps(worlds: Worlds) -> None:
    play(worlds, _EXAMPLES)
