"""What the server was sent by those who have lost sight of it, and does nevertheless, later."""

from functools import partial

from actors import Conductor, Doing, Sent

from steeple.store.engine import DatabaseError, Engine

_LONGEST_SECONDS = 30.0
"""As long as the engines' ``statement_timeout``: what the server has not done by then, it never does."""


class Past:
    """Does one statement at a time, each a transaction by itself, as an actor of its own."""

    def __init__(self, conductor: Conductor, engine: Engine) -> None:
        self.actor = conductor.actor("the past")
        self.has_landed = False
        """Something was done that nobody knows of."""
        self._conductor = conductor
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")

    @property
    def can_land(self) -> bool:
        return bool(self._conductor.under_way) and self.actor.doing is Doing.NOTHING

    def land(self) -> None:
        """The server does what it was sent longest ago."""
        sent, at = self._conductor.under_way.pop(0)
        age = self._conductor.clock() - at
        if age <= _LONGEST_SECONDS:
            self.has_landed = True
            self._conductor.begin(self.actor, f"{sent.name}, sent {age:g} s ago", partial(self._do, sent))

    def _do(self, sent: Sent) -> None:
        try:
            with self._engine.connect() as connection:
                connection.exec_driver_sql(sent.statement, sent.parameters)
        except DatabaseError as error:
            self._conductor.note(self.actor, f"comes to nothing: {error.orig!r}")
