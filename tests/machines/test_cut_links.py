"""Cables pulled and put in again, packets lost one way only, under load all the time. After each the fleet goes on."""

from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import pytest
from crowd import Crowd
from distant import HOSTS, PARTS, SERVERS, DistantFleet, DistantServers
from network import Network
from returning import Return
from stage import Stage

from parts import Part
from steeple.cli.exits import ExitCode
from steeple.embedded.processes import wait_until

LEASE = 4.0
"""Seconds. Longer than a worker may be silent; schedulers look every half second."""

LONG = 20.0
"""Seconds. Longer than any connection is believed in that says nothing. In the midst of it, TCP left to itself would be
silent for as long again."""

PROMISED = 5.0
"""Seconds from the healing until every part works again."""

Cut = Callable[[Network], None]
Report = Callable[[str, object], None]


def cut(*hosts: str) -> Cut:
    return lambda network: network.cut(*hosts)


def apart(one: str, other: str) -> Cut:
    return lambda network: network.part(one, other)


def lose(sender: str, receiver: str) -> Cut:
    return lambda network: network.lose(sender, receiver)


QUICK_ONES = {
    "worker-1 alone": cut("worker-1"),
    "postgres deaf to the scheduler": lose("scheduler", "postgres"),
    "valkey and postgres alone": cut("valkey", "postgres"),
}

ONE_BY_ONE = {f"{host} alone": cut(host) for host in HOSTS}

IN_PAIRS = {f"{one} and {other} alone": cut(one, other) for one, other in combinations(HOSTS, 2)}

APART = {f"{one} and {other} apart": apart(one, other) for one in PARTS for other in SERVERS}

ONE_WAY = {
    f"{sender} to {receiver} lost": lose(sender, receiver)
    for one in PARTS
    for other in SERVERS
    for sender, receiver in ((one, other), (other, one))
}


class Links:
    def __init__(self, stage: Stage, fleet: DistantFleet, servers: DistantServers, report: Report) -> None:
        self._stage = stage
        self._fleet = fleet
        self._servers = servers
        self._report = report

    def break_for(self, seconds: float, crowd: Crowd, what: str, make: Cut) -> None:
        """Break it, heal it, and return when every part works again."""
        with self._stage.trouble():
            make(self._fleet.network)
            self._stage.sleep(seconds)
            self._fleet.network.heal()
            returning = Return(self._stage, self._fleet, self._servers, crowd)
            self._fleet.start()
            took = returning.wait()
        self._report(f"link healed after {seconds:g} s, all work: {what}", f"{took:.2f} s; promised {PROMISED:g} s")
        assert took < 2 * PROMISED, (returning.seconds, self._fleet.said)


@pytest.fixture
def links(stage: Stage, fleet: DistantFleet, servers: DistantServers, record_property: Report) -> Links:
    return Links(stage, fleet, servers, record_property)


def test_links_cut_and_healed_one_after_the_other(stage: Stage, links: Links) -> None:
    with stage.load() as crowd:
        for what, make in QUICK_ONES.items():
            links.break_for(LEASE, crowd, what, make)


@pytest.mark.soak
@pytest.mark.parametrize("what", ONE_BY_ONE)
@pytest.mark.parametrize("seconds", [LEASE, LONG])
def test_one_link_cut(stage: Stage, links: Links, what: str, seconds: float) -> None:
    with stage.load() as crowd:
        links.break_for(seconds, crowd, what, ONE_BY_ONE[what])


@pytest.mark.soak
@pytest.mark.parametrize("what", IN_PAIRS)
def test_two_links_cut(stage: Stage, links: Links, what: str) -> None:
    with stage.load() as crowd:
        links.break_for(LEASE, crowd, what, IN_PAIRS[what])


@pytest.mark.soak
@pytest.mark.parametrize("what", APART)
@pytest.mark.parametrize("seconds", [LEASE, LONG])
def test_part_cut_off_from_one_server(stage: Stage, links: Links, what: str, seconds: float) -> None:
    with stage.load() as crowd:
        links.break_for(seconds, crowd, what, APART[what])


@pytest.mark.soak
@pytest.mark.parametrize("what", ONE_WAY)
@pytest.mark.parametrize("seconds", [LEASE, LONG])
def test_packets_lost_one_way(stage: Stage, links: Links, what: str, seconds: float) -> None:
    with stage.load() as crowd:
        links.break_for(seconds, crowd, what, ONE_WAY[what])


@pytest.mark.soak
def test_job_of_a_worker_that_is_cut_off_runs_elsewhere(
    stage: Stage, links: Links, fleet: DistantFleet, servers: DistantServers
) -> None:
    with stage.load() as crowd:
        job_id = stage.held()
        host = next(each for each in PARTS if fleet.on(each) is stage.worker_of(job_id))
        with stage.trouble():
            fleet.network.cut(host)
            stage.let_go()
            job = stage.wait_ended(job_id)
            fleet.network.heal()
            Return(stage, fleet, servers, crowd).wait()
    assert (job["state"], job["crashes"], job["attempt"]) == ("SUCCESS", 1, 2)
    assert stage.job(job_id)["fence"] == job["fence"]


@pytest.mark.soak
@pytest.mark.parametrize("host", PARTS)
def test_postgresql_lets_go_of_a_host_that_is_cut_off(stage: Stage, servers: DistantServers, host: str) -> None:
    """Otherwise the connections of those that come and go would add up, until there is none left."""
    with stage.load(), stage.trouble():
        assert servers.backends_of(host) > 0
        servers.network.cut(host)
        assert wait_until(lambda: servers.backends_of(host) == 0, 2 * LONG)


@pytest.mark.soak
@pytest.mark.parametrize("make", [apart("worker-1", "valkey"), lose("valkey", "worker-1")], ids=["apart", "one way"])
def test_worker_notices_that_its_broker_is_silent(stage: Stage, fleet: DistantFleet, make: Cut) -> None:
    """TCP would wait, and after the healing for as long again: no wake-up would come."""
    worker = fleet.on("worker-1")
    noticed = worker.said.count("broker_away")
    with stage.trouble():
        make(fleet.network)
        assert wait_until(lambda: worker.said.count("broker_away") > noticed, LONG)


@pytest.mark.soak
@pytest.mark.parametrize("words", [("scheduler",), ("db", "upgrade")])
def test_part_that_cannot_reach_the_database_says_so_soon(
    servers: DistantServers, tmp_path: Path, words: tuple[str, ...]
) -> None:
    servers.network.lose("postgres", "scheduler")
    with servers.network.inside("scheduler"):
        part = Part(words, tmp_path / "log", servers.addresses)
    try:
        assert part.process.wait(LONG) == ExitCode.UNREACHABLE, part.said
    finally:
        part.kill()
        servers.network.heal()
