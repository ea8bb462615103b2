"""Statements that end many jobs, some of which wait for others among them."""

from collections.abc import Callable
from functools import partial

import pytest

from operating import Operating
from playground import Playground
from steeple.domain.job import ParentFailure
from steeple.domain.operation import Action, OperationState, Order
from steeple.store import transitions
from steeple.store.purges import count_pending, purge


def _expire_all(playground: Playground) -> None:
    playground.sql("UPDATE jobs SET expires_at = now() - interval '1 s'")
    with playground.engine.begin() as connection:
        transitions.expire(connection)


def _purge_all(playground: Playground) -> None:
    with playground.engine.begin() as connection:
        purge(connection, "default", until=count_pending(connection, "default").at)


def _operate(playground: Playground, action: Action) -> None:
    operating = Operating(playground, None)
    found = operating.run(Order(action))
    assert found.state is OperationState.DONE


@pytest.mark.parametrize(
    "act",
    [_expire_all, _purge_all, partial(_operate, action=Action.CANCEL), partial(_operate, action=Action.DELETE)],
    ids=["expire", "purge", "cancel", "delete"],
)
@pytest.mark.parametrize("policy", ParentFailure)
def test_a_chain_of_jobs_is_ended_by_one_statement(
    playground: Playground, act: Callable[[Playground], None], policy: ParentFailure
) -> None:
    """Whom the end of a parent ends is ended by the statement that follows, too."""
    first = playground.add(now=None)
    second = playground.add_after(first, on_parent_failure=policy)
    playground.add_after(first, second, on_parent_failure=policy)
    act(playground)
    assert playground.value("SELECT count(*) FROM jobs WHERE state IN ('PENDING', 'RUNNING')") == 0
    assert playground.value("SELECT count(*) FROM job_parents WHERE ended_as IS NULL") == 0
