"""Programs for the tests of `up`: stand-ins for the parts, and `up` itself over them.

``stand_ins.py api|worker|stubborn|broken`` is a part; ``stand_ins.py up JSON`` runs the supervisor;
``stand_ins.py owner FOLDER IDENTITY`` owns a PostgreSQL until it is killed.
"""

import json
import os
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

_STATES: list[dict[str, Any]] = [
    {"state": "PENDING"},
    {"state": "RUNNING", "progress": {"fraction": 0.5, "text": "half of it"}},
    {"state": "SUCCESS", "result": {"months": [{"month": "2026-01", "rain": 12.5}]}},
]


class _Api(BaseHTTPRequestHandler):
    polls = 0

    def do_GET(self) -> None:
        if self.path == "/readyz":
            self._reply({})
        elif self.path == "/v1/workers":
            self._reply({"workers": [{"name": "w"}]})
        else:
            type(self).polls += 1
            self._reply({"id": "1"} | _STATES[min(self.polls, 2)])

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._reply({"id": "1"} | _STATES[0])

    def _reply(self, body: object) -> None:
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def api() -> None:
    with ThreadingHTTPServer((os.environ["STEEPLE_HOST"], int(os.environ["STEEPLE_PORT"])), _Api) as server:
        signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
        print("listening", os.getpid())
        server.serve_forever()
    print("leaves")


def worker() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(print("leaves")))
    print("database", os.environ["STEEPLE_DATABASE_URL"])
    print("level", os.environ.get("STEEPLE_LOG_LEVEL"))
    print("runs", os.getpid())
    while True:
        signal.pause()


def stubborn() -> None:
    signal.signal(signal.SIGTERM, lambda *_: print("stays"))
    print("runs", os.getpid())
    while True:
        signal.pause()


def broken() -> None:
    sys.exit("no such luck")


def up(options: dict[str, Any]) -> int:
    from steeple.embedded import restarts, supervisor
    from steeple.embedded.parts import Part

    restarts._FIRST_DELAY = 0.05  # the doubling itself is tested with a clock of the test's own
    parts = [
        Part(name, (sys.executable, __file__, program), stops_first=name == "api")
        for name, program in options["parts"].items()
    ]
    preparation = [Part(program, (sys.executable, __file__, program)) for program in options["preparation"]]
    return supervisor.run(
        options["app"],
        host="127.0.0.1",
        port=options["port"],
        slots=1,
        data_dir=Path(options["data_dir"]),
        quiet=options["quiet"],
        parts=parts,
        preparation=preparation,
    )


def owner(folder: Path, identity_name: str) -> None:
    from steeple.embedded import privileges
    from steeple.embedded.postgres import EmbeddedPostgres

    known = [privileges.ourselves(), privileges.in_user_namespace()]
    identity = next((each for each in known if each.name == identity_name), None)
    with EmbeddedPostgres(
        folder / "data", folder / "s", fast=True, identity=identity or privileges.unprivileged_user(identity_name)
    ) as server:
        print(server.pid, flush=True)
        signal.pause()


if __name__ == "__main__":
    if sys.argv[1] == "up":
        sys.exit(up(json.loads(sys.argv[2])))
    if sys.argv[1] == "owner":
        owner(Path(sys.argv[2]), sys.argv[3])
    globals()[sys.argv[1]]()
