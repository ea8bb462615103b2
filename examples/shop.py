"""A shop of your own, whose orders and jobs are committed together, or not at all.

``app`` is the Steeple part, for ``steeple up examples.shop:app``: what is done in the background. ``web`` is the
shop's own FastAPI application, for ``uvicorn examples.shop:web``: it submits jobs from its request handlers inside its
own SQLAlchemy transactions. The shop's tables and Steeple's are in one database; that is all it takes.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import datetime
from functools import cache
from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import DateTime, Engine, Identity, create_engine, func, make_url, update
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from steeple import Context, Reject, Retry, Settings, Steeple
from steeple.errors import InvalidArguments, JobNotFound

app = Steeple()


class Table(DeclarativeBase):
    pass


class Order(Table):
    __tablename__ = "shop_orders"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    customer: Mapped[str]
    item: Mapped[str]
    quantity: Mapped[int]
    placed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    packed_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    job_id: Mapped[UUID | None]


# In the background


@app.task("shop.pack", retry=Retry(max_attempts=5, initial=1.0), timeout=120.0)
def pack(order_id: int, quantity: Annotated[int, Field(ge=1, le=100)], *, context: Context) -> dict[str, Any]:
    """Pack an order. Packing it again changes nothing: the order keeps the time at which it was packed first."""
    change = update(Order).where(Order.id == order_id).values(packed_at=func.coalesce(Order.packed_at, func.now()))
    with Session(engine()) as session, session.begin():
        order = session.scalars(change.returning(Order)).one_or_none()
        if order is None:
            raise Reject(f"there is no order {order_id}")
        context.log("packed", item=order.item, quantity=quantity)
        return {"order_id": order.id, "item": order.item, "packed_at": order.packed_at}


@cache
def engine() -> Engine:
    """Opened where it is first used: by a request of the shop, or by a task in its own process."""
    return create_engine(_database_url())


def _database_url() -> str:
    """Steeple's own database, from ``STEEPLE_DATABASE_URL``."""
    url = Settings().database_url
    if url is None:
        raise RuntimeError("set STEEPLE_DATABASE_URL to the database that the jobs are in")
    return make_url(url.get_secret_value()).set(drivername="postgresql+psycopg").render_as_string(hide_password=False)


# On the web


@asynccontextmanager
async def _lifespan(web: FastAPI) -> AsyncIterator[None]:
    Table.metadata.create_all(engine())
    web.state.async_engine = create_async_engine(_database_url())
    yield
    await web.state.async_engine.dispose()
    engine().dispose()
    app.close()


web = FastAPI(title="A shop", lifespan=_lifespan)


def _session() -> Iterator[Session]:
    with Session(engine()) as session:
        yield session


async def _async_session(request: Request) -> AsyncIterator[AsyncSession]:
    async with AsyncSession(request.app.state.async_engine, expire_on_commit=False) as session:
        yield session


Database = Annotated[Session, Depends(_session)]
AsyncDatabase = Annotated[AsyncSession, Depends(_async_session)]


class NewOrder(BaseModel):
    customer: str
    item: str
    quantity: int = 1


class OrderReply(BaseModel):
    """``job``: the state of the order's job, null once that is no longer kept."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    customer: str
    item: str
    quantity: int
    placed_at: datetime
    packed_at: datetime | None
    job_id: UUID
    job: str | None = None


@web.post("/orders", status_code=HTTPStatus.CREATED)
def place_order(new: NewOrder, session: Database) -> OrderReply:
    """The order and its job are one transaction: whatever raises in here, neither of them is there."""
    with session.begin():
        order = Order(**new.model_dump())
        session.add(order)
        session.flush()  # gives the order its id
        handle = app.submit("shop.pack", _pack_arguments(order), connection=session, tags=["shop"])
        order.job_id = handle.id
    return OrderReply.model_validate(order)


@web.post("/express-orders", status_code=HTTPStatus.CREATED)
async def place_express_order(new: NewOrder, session: AsyncDatabase) -> OrderReply:
    """The same with asyncio; and its job goes before others."""
    async with session.begin():
        order = Order(**new.model_dump())
        session.add(order)
        await session.flush()
        handle = await app.submit_async("shop.pack", _pack_arguments(order), connection=session, priority="high")
        order.job_id = handle.id
    return OrderReply.model_validate(order)


def _pack_arguments(order: Order) -> dict[str, Any]:
    return {"order_id": order.id, "quantity": order.quantity}


@web.get("/orders/{order_id}")
def show_order(order_id: int, session: Database) -> OrderReply:
    order = session.get(Order, order_id)
    if order is None or order.job_id is None:
        raise HTTPException(HTTPStatus.NOT_FOUND, f"there is no order {order_id}")
    reply = OrderReply.model_validate(order)
    try:
        reply.job = app.handle(order.job_id).state()
    except JobNotFound:  # jobs that ended are kept for some days only
        reply.job = None
    return reply


@web.exception_handler(InvalidArguments)
def refuse_order(_: Request, error: InvalidArguments) -> JSONResponse:
    """What the task will not take: the order was rolled back, and its customer is told why."""
    faults = [{"field": fault.pointer.removeprefix("/args/"), "fault": fault.detail} for fault in error.errors]
    return JSONResponse({"title": "We cannot pack that.", "faults": faults}, HTTPStatus.UNPROCESSABLE_ENTITY)
