"""Reads on real sockets: of full hosts, of a cell that does not answer, of answers that nobody foresaw."""

from dataclasses import dataclass, field, replace

import pytest
from structlog.testing import capture_logs

from restow.cloud.model import AtMostPer, HostState, Reserve, TogetherIn
from restow.cloud.openstack.settings import DomainSettings, OpenStackSettings
from restow.errors import TransientError
from restow.messages.base import parse
from support.openstack_stand_in import LAST_WEEK, StandIn, host_name, standing_in, uuid

S0, S1, H0, H1, H2 = uuid(0), uuid(1), host_name(0), host_name(1), host_name(2)


@dataclass
class Odd(StandIn):
    """`answers`: to GETs whose path ends so; `silent`: hosts whose cell does not answer; `bare`: without hypervisor."""

    answers: dict = field(default_factory=dict)
    services: dict = field(default_factory=dict)
    silent: frozenset = frozenset()
    bare: frozenset = frozenset()

    def answer(self, method, path, query, body):
        told = next((told for end, told in self.answers.items() if method == "GET" and path.endswith(end)), None)
        if told is not None:
            return 200, told
        status, found = super().answer(method, path, query, body)
        if path.endswith("/servers/detail"):
            found["servers"] = [one for one in found["servers"] if one["OS-EXT-SRV-ATTR:host"] not in self.silent]
        if path.endswith("/os-hypervisors/detail"):
            found["hypervisors"] = [one for one in found["hypervisors"] if one["service"]["host"] not in self.bare]
        return status, found

    def _service(self, number):
        host = host_name(number)
        if host in self.silent:
            return {"binary": "nova-compute", "host": host, "status": "UNKNOWN"}
        return super()._service(number) | self.services.get(host, {})


@pytest.fixture
def cloud():
    with standing_in(Odd()) as serving:
        yield serving


@pytest.fixture
async def port(cloud, connected):
    clouds = connected(cloud)
    yield clouds.port("one")
    await clouds.close()


# --- full hosts ---------------------------------------------------------------------------------------------


def of_placement(cloud):
    return [call.removeprefix("GET /placement/") for call in cloud.calls if call.startswith("GET /placement/")]


async def test_full_hosts_cost_no_calls_of_their_own_until_something_changes_there(connected):
    with standing_in(StandIn(hosts=60, servers=120, full_every=2)) as cloud:
        clouds = connected(cloud)
        port = clouds.port("one")
        first = await port.read()
        asked = of_placement(cloud)
        assert (asked.count("allocation_candidates"), len(asked)) == (2, 2 + 1 + 3 * 8)  # 22 of 30 have VCPUs left
        cloud.calls.clear()
        again = await port.read()
        assert of_placement(cloud) == ["allocation_candidates", "resource_providers"]
        assert replace(again, taken_at=first.taken_at) == first
        await clouds.close()


@pytest.mark.parametrize("hosts", [8, 60])
async def test_of_a_full_host_what_is_held_beyond_its_own_servers_is_no_room(connected, hosts):
    with standing_in(StandIn(hosts=hosts, servers=2 * hosts, full_every=2)) as cloud:
        clouds = connected(cloud)
        seen = await clouds.port("one").read()
        free = {
            host.name: {one: host.capacity[one] - seen.used(host.name)[one] for one in seen.resources}
            for host in seen.hosts
        }
        assert free[H1] == {"vcpu": 0, "memory_mib": 0, "disk_gib": 0}
        assert free[host_name(3)]["memory_mib"] == 0
        assert free[host_name(3)]["vcpu"] > 0
        assert all(free[H0].values())
        await clouds.close()


async def test_a_full_host_whose_generation_changed_is_looked_at_again(connected):
    with standing_in(StandIn(hosts=8, servers=8, full_every=2)) as cloud:
        clouds = connected(cloud)
        await clouds.port("one").read()
        cloud.generations[uuid(1)] = 2
        cloud.calls.clear()
        await clouds.port("one").read()
        asked = [call for call in of_placement(cloud) if call.startswith("resource_providers/")]
        assert sorted(asked) == [f"resource_providers/{uuid(1)}/{what}" for what in ("inventories", "traits", "usages")]
        await clouds.close()


# --- hosts --------------------------------------------------------------------------------------------------


async def test_a_host_without_a_hypervisor_is_what_its_service_says(port, cloud):
    cloud.bare = frozenset({H0})
    cloud.services[H0] = {"state": "down", "status": "disabled", "disabled_reason": "maintenance", "forced_down": True}
    for host in (await port.host(H0), (await port.read()).host_by_name[H0], await port.host(H0)):
        assert (host.state, host.enabled, host.maintenance, host.forced_down) == (HostState.DOWN, False, True, True)
        assert not any(host.capacity.values())


# --- a cell that does not answer ----------------------------------------------------------------------------


async def test_while_a_cell_does_not_answer_the_cloud_cannot_be_told_whole(port, cloud):
    await port.read()
    cloud.silent = frozenset({H1})
    for call in (port.read(), port.host(H1)):
        with pytest.raises(TransientError, match=f"the cell of host {H1}"):
            await call
    assert {word.host for word in await port.heartbeats()} == {H0, H2}  # nothing is said of the other
    assert (await port.host(H0)).name == H0


async def test_servers_that_a_read_left_out_are_not_missing_from_the_next(cloud, connected):
    """The other domain's cell: this one is read all the same."""
    domains = {"a": DomainSettings(hosts=(H0, H2)), "b": DomainSettings(hosts=(H1,))}
    clouds = connected(cloud, OpenStackSettings(domains=domains))
    cloud.silent = frozenset({H1})
    assert {host.name for host in (await clouds.port("a").read()).hosts} == {H0, H2}
    cloud.silent = frozenset()
    cloud.changed[S1] = {"updated": LAST_WEEK}
    assert {server.host for server in (await clouds.port("b").read()).servers} == {H1}
    await clouds.close()


async def test_a_silent_cell_of_a_domain_that_is_chosen_by_zone_is_not_overlooked(cloud, connected):
    clouds = connected(cloud, OpenStackSettings(domains={"a": DomainSettings(zones=("az1",))}))
    cloud.silent = frozenset({H1})
    with pytest.raises(TransientError, match="cell"):
        await clouds.port("a").read()
    await clouds.close()


# --- rules that Nova has no word for --------------------------------------------------------------------------


async def test_hints_of_users_and_rules_of_the_operator_bind_the_cloud(cloud, connected):
    document = {"rules": [{"kind": "reserve", "hosts": ["*"], "keep_free": {"vcpu": 2}}]}
    clouds = connected(cloud, parse(OpenStackSettings, document, what="settings"))
    port = clouds.port("one")
    before = await port.read()
    assert before.rules == (Reserve((H0, H1, H2), {"vcpu": 2}),)
    partner = next(one.id for one in before.servers if one.host == H0 and one.id != S0)
    cloud.changed[S0] = {"scheduler_hints": {"different_host": [S1], "same_host": partner}}
    assert (await port.read()).rules == (
        *before.rules,
        AtMostPer((S0, S1), "host", 1),
        TogetherIn((S0, partner), "host"),
    )
    await clouds.close()


# --- answers of odd shapes ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("/os-aggregates", "aggregates"), ("/os-services", "services"), ("/servers/detail", "servers"),
        ("/os-hypervisors/detail", "hypervisors"), ("/os-server-groups", "server groups"),
        ("/allocation_candidates", "allocation candidates"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("told", [{"maintenance": "please wait"}, ["a list"], 7, None], ids=str)
async def test_an_answer_of_an_odd_shape_is_trouble_that_may_pass_and_is_named(port, cloud, path, what, told):
    cloud.answers[path] = [None] if told is None else told
    with capture_logs() as logs, pytest.raises(TransientError, match=f"^{what}: an answer of an unexpected shape"):
        await port.read()
    assert [(one["what"], one["log_level"], one["exc_info"]) for one in logs if "shape" in one["event"]][:1] == [
        (what, "error", True)
    ]
    cloud.answers.clear()
    assert len((await port.read()).hosts) == 3


async def test_an_odd_answer_about_one_server_is_trouble_that_may_pass(port, cloud):
    cloud.answers[f"/servers/{S0}"] = {"server": {"status": "ACTIVE"}}
    for call in (port.server(S0), port.evacuate(S0, to=H1, request_id="r"), port.allocations(S0)):
        with pytest.raises(TransientError, match=f"^server {S0}: an answer of an unexpected shape"):
            await call
    assert cloud.taken == []


async def test_a_broken_promise_of_our_own_is_no_trouble_of_the_cloud(port):
    def broken():
        raise AssertionError("a bug")

    with pytest.raises(AssertionError):
        await port._in_thread("a test", broken)
