import pytest

from restow.cloud.connect import connect
from restow.cloud.simulated.generate import generate_cloud
from restow.cloud.snapshot import dump_cloud
from restow.errors import BadInputError, TransientError
from restow_planner.rules import RULES
from support.builders import a_cloud, a_host
from support.clocks import ManualClock

CLOCK = ManualClock()


async def test_simulated_is_a_generated_cloud_of_ten_hosts():
    clouds = connect("simulated:", clock=CLOCK, seed=3)
    assert clouds.domains() == ("region-one",)
    cloud = await clouds.port("region-one").read()
    assert len(cloud.hosts) == 10
    assert len(cloud.servers) > 20


async def test_options_tell_size_and_domains():
    clouds = connect("simulated:?hosts=3&servers-per-host=2&domains=a,b", clock=CLOCK)
    assert clouds.domains() == ("a", "b")
    one, two = await clouds.port("a").read(), await clouds.port("b").read()
    assert (len(one.hosts), len(one.servers), one.domain) == (3, 6, "a")
    assert {server.id for server in one.servers}.isdisjoint(server.id for server in two.servers)


async def test_a_snapshot_is_played_on():
    snapshot = a_cloud([a_host("h1")], domain="mine")
    clouds = connect("simulated:", clock=CLOCK, snapshot=snapshot)
    assert clouds.domains() == ("mine",)
    assert [host.name for host in (await clouds.port("mine").read()).hosts] == ["h1"]


@pytest.mark.parametrize(
    "url",
    [
        "", "simulatd:", "simulated:hosts", "simulated:?host=3", "simulated:?hosts=0", "simulated:?hosts=x",
        "simulated:?domains=a,a", "openstack:", "http://", "http://h:99999", "ftp://x",
    ],
)  # fmt: skip
def test_a_wrong_setting_is_told_with_what_is_possible(url):
    with pytest.raises(BadInputError) as caught:
        connect(url, clock=CLOCK)
    assert caught.value.errors[0].field == "cloud"


async def test_a_remote_cloud_that_is_not_there_is_trouble_that_may_pass():
    clouds = connect("http://127.0.0.1:9", clock=CLOCK)
    with pytest.raises(TransientError, match=r"127\.0\.0\.1:9"):
        clouds.domains()
    await clouds.close()


@pytest.mark.parametrize("arguments", [{"servers_per_host": 10}, {"utilisation": 0.9}, {}])
def test_a_generated_cloud_breaks_no_rule_and_tells_every_load(arguments):
    cloud = generate_cloud(hosts=24, seed=2, **arguments)
    where = {server.id: (server.host,) for server in cloud.servers}
    assert [violation for rule in RULES for violation in rule.violations(cloud, where)] == []
    assert all(server.load and server.dirty_mib_s is not None for server in cloud.servers)
    assert cloud.groups
    assert {host.zone for host in cloud.hosts} == {"az1", "az2", "az3"}
    assert dump_cloud(cloud) == dump_cloud(generate_cloud(hosts=24, seed=2, **arguments))
    assert dump_cloud(cloud) != dump_cloud(generate_cloud(hosts=24, seed=3, **arguments))


def test_a_generated_cloud_is_as_full_as_asked():
    cloud = generate_cloud(hosts=20, utilisation=0.8, seed=4)
    used = sum(server.demand["memory_mib"] for server in cloud.servers)
    assert used / sum(host.capacity["memory_mib"] for host in cloud.hosts) == pytest.approx(0.8, abs=0.02)
