"""The base of all tables: how columns' types follow from hints, and what constraints are called."""

from datetime import datetime
from typing import Any

from sqlalchemy import ARRAY, DateTime, Double, Enum, Integer, LargeBinary, MetaData, Text
from sqlalchemy.dialects.postgresql import JSON
from sqlalchemy.orm import DeclarativeBase

from steeple.domain.states import State

job_state = Enum(State, name="job_state", values_callable=lambda states: [state.value for state in states])


class Table(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "pk": "%(table_name)s_pkey",
            "fk": "%(table_name)s_%(column_0_name)s_fkey",
            "ck": "%(table_name)s_%(constraint_name)s_check",
        }
    )
    type_annotation_map = {  # noqa: RUF012 - read by SQLAlchemy
        datetime: DateTime(timezone=True),
        str: Text(),
        bytes: LargeBinary(),
        float: Double(),
        int: Integer(),
        dict[str, Any]: JSON(),
        list[str]: ARRAY(Text()),
        list[datetime]: ARRAY(DateTime(timezone=True)),
    }
