"""Who waits for whom, as a graph. Pure."""

from collections import deque
from collections.abc import Collection, Hashable, Iterable, Mapping
from typing import TypeVar

T = TypeVar("T", bound=Hashable)


def in_circles(parents: Mapping[T, Collection[T]]) -> set[T]:
    """Those that would wait for ever: on a way that leads back to itself, or between two such ways."""
    return _peel(_peel(set(parents), parents), _turned_round(parents))


def beneath(parents: Mapping[T, Collection[T]], above: Iterable[T]) -> set[T]:
    """All that wait for one of ``above``, directly or by way of others."""
    children = _turned_round(parents)
    found: set[T] = set()
    left = deque(above)
    while left:
        new = set(children.get(left.popleft(), ())) - found
        found |= new
        left.extend(new)
    return found


def _peel(nodes: set[T], parents: Mapping[T, Collection[T]]) -> set[T]:
    """What is left when those go that have no parent among the others, over and over."""
    missing = {node: len(nodes.intersection(parents.get(node, ()))) for node in nodes}
    children = _turned_round({node: set(parents.get(node, ())) for node in nodes})
    free = deque(node for node, count in missing.items() if not count)
    while free:
        node = free.popleft()
        del missing[node]
        for child in children.get(node, ()):
            missing[child] -= 1
            if not missing[child]:
                free.append(child)
    return set(missing)


def _turned_round(parents: Mapping[T, Collection[T]]) -> dict[T, list[T]]:
    children: dict[T, list[T]] = {}
    for child, its_parents in parents.items():
        for parent in set(its_parents):
            children.setdefault(parent, []).append(child)
    return children
