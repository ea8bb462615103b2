"""The network of the tests: what is cut is silent, and what is healed goes on."""

import socket
from collections.abc import Iterator
from contextlib import closing

import pytest
from network import Network

_SOON = 1.0
_PATIENCE = 20.0


@pytest.fixture
def connected(network: Network) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A TCP connection from the scheduler's host to that of PostgreSQL, and its ends."""
    with network.inside("postgres"):
        listener = socket.create_server((network.address("postgres"), 0))
    with network.inside("scheduler"):
        near = socket.create_connection(listener.getsockname(), _PATIENCE)
    far, _ = listener.accept()
    with closing(listener), closing(near), closing(far):
        yield near, far
        network.heal()


def test_cut_cable_is_silent_and_what_was_sent_arrives_after_it_is_in_again(
    network: Network, connected: tuple[socket.socket, socket.socket]
) -> None:
    near, far = connected
    network.cut("postgres")
    near.sendall(b"near")
    far.sendall(b"far")
    assert not _arrives(far, _SOON)
    assert not _arrives(near, _SOON)
    network.heal()
    assert (_arrives(far), _arrives(near)) == (b"near", b"far")


def test_packets_are_lost_one_way_only(network: Network, connected: tuple[socket.socket, socket.socket]) -> None:
    near, far = connected
    network.lose("scheduler", "postgres")
    near.sendall(b"near")
    far.sendall(b"far")
    assert _arrives(near) == b"far"
    assert not _arrives(far, _SOON)
    network.heal()
    assert _arrives(far) == b"near"


def test_those_who_are_parted_can_reach_others(
    network: Network, connected: tuple[socket.socket, socket.socket]
) -> None:
    near, far = connected
    network.part("scheduler", "postgres")
    near.sendall(b"near")
    assert not _arrives(far, _SOON)
    with network.inside("api"), socket.create_server((network.address("api"), 0)) as listener:
        for host in ("scheduler", "postgres"):
            with network.inside(host):
                socket.create_connection(listener.getsockname(), _PATIENCE).close()


def _arrives(end: socket.socket, patience: float = _PATIENCE) -> bytes:
    """What does; nothing if nothing does in time."""
    end.settimeout(patience)
    try:
        return end.recv(16)
    except TimeoutError:
        return b""
