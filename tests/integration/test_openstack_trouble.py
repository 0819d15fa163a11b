"""What goes wrong between Restow and the APIs of a cloud, on real sockets: nothing is done twice."""

import pytest

from restow.clock import SystemClock
from restow.cloud.openstack.clouds import OpenStackClouds
from restow.cloud.openstack.settings import DomainSettings, OpenStackSettings
from restow.errors import (
    BadInputError,
    CredentialError,
    LostAnswerError,
    NotFoundError,
    PermanentError,
    TransientError,
)
from support.openstack_documents import a_migration
from support.openstack_stand_in import StandIn, Trouble, host_name, standing_in, uuid, write_clouds

REQUEST = "00000000-0000-4000-8000-000000000001"
SETTINGS = OpenStackSettings(answer_timeout_s=0.5, connect_timeout_s=0.5)
S0, H1 = uuid(0), host_name(1)


@pytest.fixture
def cloud():
    with standing_in(StandIn()) as serving:
        yield serving


@pytest.fixture
def clouds(cloud, connected):
    return connected(cloud, SETTINGS)


@pytest.fixture
async def port(clouds):
    yield clouds.port("one")
    await clouds.close()


def moves(cloud):
    return [body for _, path, body in cloud.taken if path.endswith(f"/servers/{S0}/action")]


async def evacuate(port):
    await port.evacuate(S0, to=H1, request_id=REQUEST)


async def test_a_move_is_asked_for_once_by_its_name_and_without_force(port, cloud):
    await evacuate(port)
    await port.live_migrate(S0, to=H1, request_id=REQUEST)
    await port.cold_migrate(S0, to=H1, request_id=REQUEST)
    assert moves(cloud) == [
        {"evacuate": {"host": H1}}, {"os-migrateLive": {"host": H1, "block_migration": "auto"}},
        {"migrate": {"host": H1}},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("server", "migration", "why"),
    [
        ({"OS-EXT-STS:task_state": "rebuilding"}, {}, "rebuilding"),
        ({"OS-EXT-STS:task_state": "migrating"}, {}, "migrating"),
        ({"status": "VERIFY_RESIZE"}, {}, "verify_resize"),
        ({}, {"migration_type": "evacuation", "status": "accepted"}, "accepted"),
        ({}, {"migration_type": "evacuation", "status": "pre-migrating"}, "pre-migrating"),
        ({"locked": True}, {}, "locked"),
    ],
)  # fmt: skip
async def test_before_it_evacuates_it_looks_for_what_is_under_way(port, cloud, server, migration, why):
    cloud.changed[S0] = server
    cloud.migrations = [a_migration(3), a_migration(4, **migration)]
    with pytest.raises(PermanentError, match=why):
        await evacuate(port)
    assert cloud.taken == []


async def test_what_has_ended_is_no_reason_not_to_evacuate(port, cloud):
    cloud.migrations = [a_migration(3, migration_type="evacuation", status="done"), a_migration(4, status="error")]
    await evacuate(port)
    assert len(moves(cloud)) == 1
    cloud.migrations.append(a_migration(5, migration_type="evacuation", status="accepted", dest_compute=H1))
    told = await port.migrations(S0)
    assert [(one.id, one.request_id) for one in told] == [("3", ""), ("4", ""), ("5", REQUEST)]


@pytest.mark.parametrize(
    "trouble",
    [
        {"cut": "after"}, {"status": 500}, {"status": 502}, {"status": 503}, {"status": 504},
        {"cut": "before", "wait_s": 0.1}, {"wait_s": 1.0},
    ],
    ids=str,
)  # fmt: skip
async def test_a_move_whose_answer_is_lost_is_in_doubt_and_never_sent_again(port, cloud, trouble):
    cloud.troubles.append(Trouble("POST .*/action", times=5, **trouble))
    with pytest.raises(LostAnswerError):
        await evacuate(port)
    assert len([one for one in cloud.calls if one.startswith("POST") and "action" in one]) == 1
    assert len(moves(cloud)) <= 1


async def test_clouds_yaml_cannot_make_it_repeat_itself(cloud, connected):
    more = {
        "compute_connect_retries": 3,
        "compute_status_code_retries": 3,
        "connect_retries": 3,
        "status_code_retries": 3,
    }
    clouds = connected(cloud, SETTINGS, **more)
    for trouble in (Trouble("POST .*/action", times=4, cut="after"), Trouble("POST .*/action", times=4, status=503)):
        cloud.troubles[:] = [trouble]
        cloud.calls.clear()
        with pytest.raises(LostAnswerError):
            await evacuate(clouds.port("one"))
        assert len([one for one in cloud.calls if one.startswith("POST") and "action" in one]) == 1
    await clouds.close()


@pytest.mark.parametrize(
    ("status", "error"), [(400, PermanentError), (403, CredentialError), (404, NotFoundError),
     (409, PermanentError), (429, TransientError)]
)  # fmt: skip
async def test_a_refusal_is_no_doubt(port, cloud, status, error):
    cloud.troubles.append(Trouble("POST .*/action", status=status))
    with pytest.raises(error) as caught:
        await evacuate(port)
    assert not isinstance(caught.value, LostAnswerError)
    assert str(status) in str(caught.value)
    assert moves(cloud) == []


@pytest.mark.parametrize(
    ("trouble", "error"),
    [
        ({"status": 500, "times": 4}, TransientError), ({"status": 503, "times": 4}, TransientError),
        ({"cut": "before", "times": 4}, TransientError),
        ({"wait_s": 1.0}, TransientError), ({"status": 403}, CredentialError),
        ({"status": 401, "times": 2}, CredentialError),
    ],
    ids=str,
)  # fmt: skip
async def test_a_read_that_fails_is_no_cloud_and_the_next_one_is(port, cloud, trouble, error):
    cloud.troubles.append(Trouble("GET .*/servers/detail", **trouble))
    with pytest.raises(error) as caught:
        await port.read()
    assert not isinstance(caught.value, LostAnswerError)
    assert len((await port.read()).servers) == 6


@pytest.mark.parametrize("trouble", [{"status": 500}, {"status": 504}, {"cut": "before"}, {"cut": "after"}], ids=str)
async def test_a_read_outlives_a_few_bad_answers_and_broken_connections(port, cloud, trouble):
    cloud.troubles.append(Trouble("GET .*/servers/detail", times=3, **trouble))
    assert len((await port.read()).servers) == 6


async def test_an_expired_token_is_renewed_and_the_move_asked_for_once(port, cloud):
    await port.read()
    cloud.expired.add("token-1")
    await evacuate(port)
    assert cloud.tokens == 2
    assert len(moves(cloud)) == 1


async def test_a_credential_that_is_refused_in_the_middle_of_a_move_is_no_doubt(port, cloud):
    await port.read()
    cloud.troubles += [Trouble("POST .*/action", status=401), Trouble("POST .*/auth/tokens", status=401)]
    with pytest.raises(CredentialError, match="see auth in clouds"):
        await evacuate(port)
    assert moves(cloud) == []


async def test_a_password_that_is_not_there_is_a_credential_too(cloud, tmp_path, monkeypatch):
    file = write_clouds(tmp_path, cloud.address)
    file.write_text(file.read_text().replace('"password": "secret", ', ""))
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(file))
    clouds = OpenStackClouds.of("stand-in", clock=SystemClock(), settings=SETTINGS)
    with pytest.raises(CredentialError, match="see auth in clouds"):
        await clouds.port("one").read()
    await clouds.close()


async def test_a_nova_that_was_down_at_the_first_call_is_found_at_the_next(port, cloud):
    cloud.troubles.append(Trouble("GET /compute/v2.1$", times=20, status=503))
    with pytest.raises(TransientError):
        await port.read()
    cloud.troubles.clear()
    assert len((await port.read()).hosts) == 3


async def test_a_cloud_that_is_not_there_is_transient_and_nothing_was_asked(connected):
    with standing_in(StandIn()) as gone:
        clouds = connected(gone, SETTINGS)
        await clouds.port("one").read()
    with pytest.raises(TransientError) as caught:
        await evacuate(clouds.port("one"))
    assert not isinstance(caught.value, LostAnswerError)
    await clouds.close()


async def test_a_wrong_password_an_unknown_region_and_a_missing_role_name_what_to_mend(cloud, tmp_path, monkeypatch):
    file = write_clouds(tmp_path, cloud.address)
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(file))
    for matching, status, named in (
        ("POST .*/auth/tokens", 401, "see auth in clouds.yaml"),
        ("POST .*/auth/tokens", 403, "see auth in clouds.yaml"),
        ("os-services", 403, "roles"),
    ):
        cloud.troubles[:] = [Trouble(matching, times=20, status=status)]
        clouds = OpenStackClouds.of("stand-in", clock=SystemClock(), settings=SETTINGS)
        with pytest.raises(CredentialError, match=named):
            await clouds.port("one").read()
        await clouds.close()
    cloud.troubles.clear()
    file.write_text(file.read_text().replace('"one"', '"two"'))
    clouds = OpenStackClouds.of("stand-in", clock=SystemClock(), settings=SETTINGS)
    with pytest.raises(PermanentError, match="see region_name"):
        await clouds.port("two").read()
    await clouds.close()
    with pytest.raises(BadInputError, match="the closest: stand-in"):
        OpenStackClouds.of("standin", clock=SystemClock(), settings=SETTINGS)
    wrong = OpenStackSettings(domains={"d": DomainSettings(region="three")})
    with pytest.raises(BadInputError, match=r"domains\.d\.region"):
        OpenStackClouds.of("stand-in", clock=SystemClock(), settings=wrong)


async def test_domains_of_one_region_share_its_hosts_out(clouds, cloud):
    await clouds.close()
    domains = {"a": DomainSettings(hosts=("host-00000",)), "b": DomainSettings(zones=("az1", "az2"))}
    parts = OpenStackClouds.of("stand-in", clock=SystemClock(), settings=OpenStackSettings(domains=domains))
    first, second = await parts.port("a").read(), await parts.port("b").read()
    assert [host.name for host in first.hosts] == [host_name(0)]
    assert [host.name for host in second.hosts] == [host_name(1), host_name(2)]
    assert {server.id for server in first.servers}.isdisjoint(server.id for server in second.servers)
    assert len(first.servers) + len(second.servers) == 6
    with pytest.raises(NotFoundError):
        await parts.port("a").disable(H1, reason="not ours")
    assert cloud.taken == []
    await parts.close()
