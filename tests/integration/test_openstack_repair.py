"""A server that a broken live migration left in error: its claim is put right before it is active again."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from restow.errors import CredentialError, PermanentError, TransientError
from support.openstack_documents import a_migration
from support.openstack_stand_in import StandIn, Trouble, host_name, standing_in, uuid

S0, H0, H1 = uuid(0), host_name(0), host_name(1)
MOVE = "00000000-0000-4000-8000-00000000aaaa"
CLAIM = {"resources": {"VCPU": 1, "MEMORY_MB": 2048}}


@dataclass
class BrokenMove(StandIn):
    """As Nova leaves it: the server claims the target, its migration the source."""

    claims: dict[str, dict[str, Any]] = field(
        default_factory=lambda: {S0: {uuid(1): CLAIM}, MOVE: {uuid(0): CLAIM}}
    )  # fmt: skip
    posted: list[Any] = field(default_factory=list)
    down: bool = False

    def _service(self, number):
        return super()._service(number) | ({"state": "down"} if self.down else {})

    def answer(self, method, path, query, body):
        match method, path.strip("/").split("/"):
            case "GET", ["placement", "allocations", consumer]:
                who = {"project_id": "p", "user_id": "u", "consumer_generation": 4, "consumer_type": "unknown"}
                return 200, {"allocations": self.claims.get(consumer, {}), **who}
            case "POST", ["placement", "allocations"]:
                self.posted.append(body)
                self.claims |= {consumer: one["allocations"] for consumer, one in body.items()}
                return 204, {}
            case _:
                return super().answer(method, path, query, body)


@pytest.fixture
def cloud():
    with standing_in(BrokenMove()) as serving:
        serving.changed[S0] = {"status": "ERROR", "OS-EXT-STS:vm_state": "error"}
        serving.migrations = [
            a_migration(3, uuid="00000000-0000-4000-8000-00000000bbbb"),
            a_migration(4, uuid=MOVE, status="error", source_compute=H0, dest_compute=H1),
        ]
        yield serving


@pytest.fixture
async def port(cloud, connected):
    clouds = connected(cloud)
    yield clouds.port("one")
    await clouds.close()


def resets(cloud):
    return [body for _, path, body in cloud.taken if path.endswith(f"/servers/{S0}/action")]


async def test_the_claim_of_the_source_goes_back_to_the_server_in_one_request(port, cloud):
    await port.clear_error(S0)
    (body,) = cloud.posted
    assert {one["consumer_generation"] for one in body.values()} == {4}  # nobody has changed them meanwhile
    assert cloud.claims == {S0: {uuid(0): CLAIM}, MOVE: {}}
    assert resets(cloud) == [{"os-resetState": {"state": "active"}}]


async def test_claims_that_are_right_are_left_alone(port, cloud):
    cloud.claims = {S0: {uuid(0): CLAIM}}
    await port.clear_error(S0)
    assert (cloud.posted, len(resets(cloud))) == ([], 1)


@pytest.mark.parametrize(
    "odd",
    [{"status": "ACTIVE"}, {"OS-EXT-STS:power_state": 4}, {"OS-EXT-STS:task_state": "migrating"}],
    ids=str,
)
async def test_a_server_that_is_not_in_error_does_not_run_or_has_a_task_is_left_alone(port, cloud, odd):
    cloud.changed[S0] |= odd
    with pytest.raises(PermanentError):
        await port.clear_error(S0)
    assert (cloud.posted, cloud.taken) == ([], [])


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ({"state": "shutdown"}, "is shutdown"), ({"state": "crashed"}, "is crashed"), ({}, "no known state"),
        (409, "409"), (404, "404"), (501, "501"), (500, "500"), (400, "400"),
    ],
    ids=str,
)  # fmt: skip
async def test_what_nova_remembers_of_a_guest_is_not_believed(port, cloud, told, why):
    """It is asked of its host now, and once: a host that does not answer takes its time."""
    if isinstance(told, int):
        cloud.troubles.append(Trouble("GET .*/diagnostics", times=9, status=told))
    else:
        cloud.diagnostics = told
    with pytest.raises(PermanentError, match=why):
        await port.clear_error(S0)
    assert (cloud.posted, cloud.taken) == ([], [])
    assert len([call for call in cloud.calls if call.endswith("/diagnostics")]) == 1


async def test_of_a_host_that_is_down_no_guest_is_asked_for(port, cloud):
    cloud.down = True
    with pytest.raises(PermanentError, match=f"{H0} is down"):
        await port.clear_error(S0)
    assert (cloud.posted, cloud.taken) == ([], [])
    assert not any(call.endswith("/diagnostics") for call in cloud.calls)


@pytest.mark.parametrize(("status", "error"), [(403, CredentialError), (503, TransientError)])
async def test_where_it_may_be_known_later_it_is_not_settled(port, cloud, status, error):
    cloud.troubles.append(Trouble("GET .*/diagnostics", times=9, status=status))
    with pytest.raises(error):
        await port.clear_error(S0)
    assert (cloud.posted, cloud.taken) == ([], [])


async def test_without_a_claim_to_give_back_nothing_is_declared(port, cloud):
    cloud.claims[MOVE] = {}
    with pytest.raises(PermanentError, match="placement does not hold"):
        await port.clear_error(S0)
    assert (cloud.posted, cloud.taken) == ([], [])
