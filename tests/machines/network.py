"""Several machines on this one: hosts with addresses of their own, each on a cable to one switch. Linux, root only.

A host is a network namespace, which lives as long as this process has it open: nothing is left behind, however the
tests end. What runs on a host is whatever is started while the main thread is ``inside`` it. Files, and so Unix
sockets, are common to all hosts.

Only iproute2 is needed. A *cut* cable is a port of the switch that is down. A host is made unable to reach another,
one way only, by an entry in its table of neighbours: its packets go to a network card that nobody has, and are lost
on the way without a word to anybody.
"""

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

_CLONE_NEWNET = 0x40000000
_HERE = "/proc/thread-self/ns/net"
_NOBODYS_CARD = "02:00:00:00:00:ff"
_PORT = "port-{host}"


class CannotBuild(Exception):
    """What this machine lacks, in words."""


class Network:
    """Hosts by their names, all whole. Raises ``CannotBuild`` naming what is missing."""

    def __init__(self, hosts: Sequence[str]) -> None:
        self.hosts = tuple(hosts)
        self._open = ExitStack()
        try:
            _require_tools()
            self._switch = self._new_namespace()
            self._namespaces = {host: self._new_namespace() for host in hosts}
            self._build()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._open.close()

    def address(self, host: str) -> str:
        return f"10.0.0.{self.hosts.index(host) + 1}"

    @contextmanager
    def inside(self, host: str) -> Iterator[None]:
        """For this thread, and for whatever it starts meanwhile."""
        with _within(self._namespaces[host]):
            yield

    def cut(self, *hosts: str) -> None:
        """Pull their cables: nothing comes through, either way."""
        for host in hosts:
            self._on_the_switch("link", "set", _PORT.format(host=host), "down")

    def lose(self, sender: str, receiver: str) -> None:
        """Packets of the one to the other are lost; those that come the other way are not."""
        with self.inside(sender):
            _ip(
                "neighbour",
                "replace",
                self.address(receiver),
                "lladdr",
                _NOBODYS_CARD,
                "nud",
                "permanent",
                "dev",
                "card",
            )

    def part(self, one: str, other: str) -> None:
        """They cannot reach each other; everybody else can reach both."""
        self.lose(one, other)
        self.lose(other, one)

    def heal(self) -> None:
        """All cables are in, nothing is lost."""
        for host in self.hosts:
            self._on_the_switch("link", "set", _PORT.format(host=host), "up")
            with self.inside(host):
                _ip("neighbour", "flush", "all", "nud", "permanent")

    def _build(self) -> None:
        self._on_the_switch("link", "add", "switch", "type", "bridge")
        self._on_the_switch("link", "set", "switch", "up")
        for host, namespace in self._namespaces.items():
            port, card = (
                _PORT.format(host=host),
                ("peer", "name", "card", "netns", f"/proc/{os.getpid()}/fd/{namespace}"),
            )
            self._on_the_switch("link", "add", port, "type", "veth", *card)
            self._on_the_switch("link", "set", port, "master", "switch", "up")
            with self.inside(host):
                _ip("link", "set", "lo", "up")
                _ip("address", "add", f"{self.address(host)}/24", "dev", "card")
                _ip("link", "set", "card", "up")

    def _new_namespace(self) -> int:
        descriptor = _make_namespace()
        self._open.callback(os.close, descriptor)
        return descriptor

    def _on_the_switch(self, *words: str) -> None:
        with _within(self._switch):
            _ip(*words)


def _require_tools() -> None:
    if not Path(_HERE).exists():
        raise CannotBuild("this kernel has no network namespaces")
    if os.geteuid() != 0:
        raise CannotBuild("network namespaces take root")
    if shutil.which("ip") is None:
        raise CannotBuild("there is no command `ip` (Debian's package iproute2)")


def _ip(*words: str) -> None:
    """Where the calling thread is."""
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotBuild(f"`ip {' '.join(words)}` says: {done.stderr.strip()}")


def _make_namespace() -> int:
    """An open descriptor of it; the calling thread stays where it is."""
    former = os.open(_HERE, os.O_RDONLY)
    try:
        _call("unshare", _CLONE_NEWNET)
        try:
            return os.open(_HERE, os.O_RDONLY)
        finally:
            _call("setns", former, _CLONE_NEWNET)
    finally:
        os.close(former)


@contextmanager
def _within(namespace: int) -> Iterator[None]:
    former = os.open(_HERE, os.O_RDONLY)
    try:
        _call("setns", namespace, _CLONE_NEWNET)
        try:
            yield
        finally:
            _call("setns", former, _CLONE_NEWNET)
    finally:
        os.close(former)


def _call(function: str, *arguments: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, function)(*arguments) != 0:
        raise CannotBuild(f"{function}: {os.strerror(ctypes.get_errno())} (in a container? It takes CAP_SYS_ADMIN)")
