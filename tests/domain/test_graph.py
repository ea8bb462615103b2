"""Who waits for whom: circles are found, and all that is beneath."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from steeple.domain.graph import beneath, in_circles

GRAPHS = st.dictionaries(st.integers(0, 9), st.lists(st.integers(0, 9), max_size=4), max_size=10)


def ancestors(graph: dict[int, list[int]], node: int) -> set[int]:
    """By brute force."""
    found: set[int] = set()
    left = list(graph.get(node, ()))
    while left:
        each = left.pop()
        if each not in found:
            found.add(each)
            left += graph.get(each, ())
    return found


@given(GRAPHS)
def test_what_waits_for_itself_is_in_a_circle(graph: dict[int, list[int]]) -> None:
    own = {node for node in graph if node in ancestors(graph, node)}
    found = in_circles(graph)
    assert own <= found
    for node in found - own:  # between two circles
        assert ancestors(graph, node) & own
        assert any(node in ancestors(graph, other) for other in own)


@given(GRAPHS, st.sets(st.integers(0, 9), max_size=3))
def test_beneath_are_those_that_have_one_of_them_above(graph: dict[int, list[int]], above: set[int]) -> None:
    assert beneath(graph, above) == {node for node in graph if ancestors(graph, node) & above}


def test_a_long_chain_takes_no_long_time_and_no_deep_stack() -> None:
    chain = {child: [parent] for parent, child in pairwise(range(100_000))}
    assert in_circles(chain) == set()
    assert len(beneath(chain, [0])) == 99_999
