"""The shop, over real PostgreSQL: an order and its job are there together, or neither is."""

import importlib
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, text

from steeple import Context, Priority, Reject, Settings
from steeple.store.engine import create_engine

ORDER = {"customer": "Ada", "item": "lamp", "quantity": 2}


@pytest.fixture
def shop(database_url: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module as a new process has it: its app and engine are those of this test's database."""
    monkeypatch.setenv("STEEPLE_DATABASE_URL", database_url)
    monkeypatch.delitem(sys.modules, "examples.shop", raising=False)
    return importlib.import_module("examples.shop")


@pytest.fixture
def client(shop: ModuleType) -> Iterator[TestClient]:
    with TestClient(shop.web) as client:
        yield client


@pytest.fixture
def rows(database_url: str) -> Iterator[Callable[[str], list[Any]]]:
    engine: Engine = create_engine(Settings(database_url=database_url))

    def read(query: str) -> list[Any]:
        with engine.begin() as connection:
            return [tuple(row) for row in connection.execute(text(query))]

    yield read
    engine.dispose()


Rows = Callable[[str], list[Any]]


@pytest.mark.parametrize(
    ("path", "priority", "tags"),
    [("/orders", Priority.DEFAULT, ["shop"]), ("/express-orders", Priority.HIGH, [])],
)
def test_an_order_and_its_job_are_committed_together(
    client: TestClient, rows: Rows, path: str, priority: Priority, tags: list[str]
) -> None:
    reply = client.post(path, json=ORDER)

    assert reply.status_code == 201, reply.text
    order = reply.json()
    assert {name: order[name] for name in ORDER} == ORDER
    (job,) = rows("SELECT CAST(id AS text), task, CAST(args AS text), priority, tags, CAST(state AS text) FROM jobs")
    args = f'{{"order_id":{order["id"]},"quantity":2}}'
    assert job == (order["job_id"], "shop.pack", args, priority.rank, tags, "PENDING")
    assert client.get(f"/orders/{order['id']}").json() == order | {"job": "PENDING"}


@pytest.mark.parametrize("path", ["/orders", "/express-orders"])
def test_what_the_task_will_not_take_rolls_the_order_back(client: TestClient, rows: Rows, path: str) -> None:
    reply = client.post(path, json=ORDER | {"quantity": 101})

    assert reply.status_code == 422
    assert reply.json() == {
        "title": "We cannot pack that.",
        "faults": [{"field": "quantity", "fault": "Input should be less than or equal to 100"}],
    }
    assert (rows("SELECT * FROM jobs"), rows("SELECT * FROM shop_orders")) == ([], [])


@pytest.mark.parametrize("path", ["/orders", "/express-orders"])
def test_a_fault_after_the_job_was_submitted_takes_both_back(
    shop: ModuleType, client: TestClient, rows: Rows, path: str
) -> None:
    # The last statement of the transaction is the one that puts the job's id on the order.
    with shop.engine().begin() as connection:
        connection.execute(text("ALTER TABLE shop_orders ADD CHECK (job_id IS NULL)"))

    with TestClient(shop.web, raise_server_exceptions=False) as careless:
        assert careless.post(path, json=ORDER).status_code == 500
    assert (rows("SELECT * FROM jobs"), rows("SELECT * FROM shop_orders")) == ([], [])


def test_the_task_packs_an_order_once(shop: ModuleType, client: TestClient, rows: Rows) -> None:
    order = client.post("/orders", json=ORDER).json()
    context = Context.testing()

    first = shop.pack(order["id"], 2, context=context)
    again = shop.pack(order["id"], 2, context=context)

    assert first == again
    assert (first["order_id"], first["item"]) == (order["id"], "lamp")
    assert rows("SELECT packed_at FROM shop_orders") == [(first["packed_at"],)]


def test_an_order_that_is_not_there_is_rejected(shop: ModuleType, client: TestClient) -> None:
    with pytest.raises(Reject, match="there is no order 7"):
        shop.pack(7, 1, context=Context.testing())
    assert client.get("/orders/7").status_code == 404


def test_an_order_outlives_its_job(client: TestClient, rows: Rows) -> None:
    order = client.post("/orders", json=ORDER).json()
    rows("DELETE FROM jobs RETURNING id")
    assert client.get(f"/orders/{order['id']}").json() == order | {"job": None}


def test_without_a_database_the_shop_does_not_start(shop: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STEEPLE_DATABASE_URL")
    monkeypatch.delenv("DATABASE_URL", raising=False)
    with pytest.raises(RuntimeError, match="set STEEPLE_DATABASE_URL"), TestClient(shop.web):
        pass
