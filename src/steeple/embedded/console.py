"""What ``steeple up`` says: messages and the parts' output on stderr, and the one ready line on stdout.

The only place of this package that writes to either. Safe to use from several threads.
"""

import sys
import threading
from typing import IO

from rich.console import Console as RichConsole
from rich.console import RenderableType

_COLOURS = {"api": "36", "scheduler": "35", "worker": "32", "database": "34"}
_OWN_NAME = "steeple"


class Console:
    """With ``quiet``, only warnings and what the parts print are shown; they print only warnings then, too."""

    def __init__(self, *, quiet: bool = False, messages: IO[str] | None = None, data: IO[str] | None = None) -> None:
        self._quiet = quiet
        self._messages = messages or sys.stderr
        self._data = data or sys.stdout
        self._has_colour = self._messages.isatty()
        self._lock = threading.Lock()
        self._is_open = True

    def say(self, text: str) -> None:
        if not self._quiet:
            self.line(_OWN_NAME, text)

    def warn(self, text: str) -> None:
        self.line(_OWN_NAME, text, colour="33")

    def line(self, name: str, text: str, colour: str = "") -> None:
        """One line, or several, each behind the name of the part that it comes from."""
        prefix = f"{name:<9} | "
        if self._has_colour:
            prefix = f"\x1b[{colour or _COLOURS.get(name, '1')}m{prefix}\x1b[0m"
        self._write("".join(f"{prefix}{each}\n" for each in text.splitlines() or [""]))

    def show(self, renderable: RenderableType) -> None:
        """Something that rich lays out, behind our own name."""
        if self._quiet:
            return
        terminal = RichConsole(file=self._messages, width=100, force_terminal=self._has_colour)
        with terminal.capture() as capture:
            terminal.print(renderable)
        self.line(_OWN_NAME, capture.get())

    def ready(self, url: str) -> None:
        """The one line on stdout, for programs that wait for it."""
        with self._lock:
            self._data.write(f"ready {url}\n")
            self._data.flush()

    def _write(self, text: str) -> None:
        with self._lock:
            if not self._is_open:
                return
            try:
                self._messages.write(text)
                self._messages.flush()
            except BrokenPipeError:  # nobody reads any more; the parts must not block on us for that
                self._is_open = False
