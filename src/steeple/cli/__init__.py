"""The command line. ``main`` is the console script; the commands are in ``root`` and one file per group.

stdout is data, stderr is messages, exit codes are in ``exits``. What a command needs is imported when it runs, so that
``steeple --help`` is quick and a light install can say what is missing.
"""

import sys

_SERVER_EXTRA = frozenset({"typer", "rich", "pydantic_settings"})


def main() -> None:
    try:
        from steeple.cli.root import app
    except ModuleNotFoundError as missing:
        if missing.name not in _SERVER_EXTRA:
            raise
        sys.exit(
            "error: this is the light install, the client only; for the command line: pip install 'steeple[server]'"
        )
    app(prog_name="steeple")
