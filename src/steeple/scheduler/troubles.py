"""What is wrong at present, said once when it begins and once when it is over, however often it is met."""

import threading

from steeple.telemetry import events


class Troubles:
    """Shared by the threads of a scheduler. A trouble is known by what it is with: the database, the broker, a tick."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._present: set[str] = set()

    def began(self, with_what: str, error: BaseException) -> None:
        with self._lock:
            is_news = with_what not in self._present
            self._present.add(with_what)
        if is_news:
            events.trouble_began(with_what, error)

    def over(self, with_what: str) -> None:
        with self._lock:
            is_news = with_what in self._present
            self._present.discard(with_what)
        if is_news:
            events.trouble_over(with_what)
