"""What goes wrong between the remote cloud and its server, on real sockets."""

import asyncio

import httpx2
import pytest

from restow.clock import SystemClock
from restow.cloud.simulated import SimulatedCloud, SimulatedClouds
from restow.cloud.simulated.remote import RemoteCloud
from restow.errors import BadInputError, LostAnswerError, TransientError
from restow.ids import DomainName
from support.builders import a_cloud, a_host, a_server
from support.remote_cloud import served

CLOUD = a_cloud([a_host("h1"), a_host("h2")], [a_server("s1", on="h1")], domain="a domain/1")


@pytest.fixture
def embedded():
    return SimulatedClouds({CLOUD.domain: SimulatedCloud(CLOUD, SystemClock())})


async def test_an_answer_that_does_not_come_in_time_is_lost_for_actions_and_transient_for_reads(embedded):
    cloud = embedded.port(CLOUD.domain)
    async with served(embedded, answer_timeout_s=0.3) as remote:
        port = remote.port(CLOUD.domain)
        cloud.trouble.slow_answers(0.6)
        with pytest.raises(TransientError) as caught:
            await port.read()
        assert not isinstance(caught.value, LostAnswerError)
        with pytest.raises(LostAnswerError):
            await port.disable("h1", reason="tests")
        cloud.trouble.slow_answers(0.0)
        await asyncio.sleep(0.5)  # the answer of real sockets: no clock of ours rules them
        assert (await port.host("h1")).enabled is False


async def test_nobody_listening_is_transient_and_nothing_was_asked():
    async with httpx2.AsyncClient(base_url="http://127.0.0.1:9", trust_env=False) as http:
        with pytest.raises(TransientError) as caught:
            await RemoteCloud(DomainName("a"), http).disable("h1", reason="")
        assert not isinstance(caught.value, LostAnswerError)


async def test_the_witness_and_the_trouble_travel_too(embedded):
    async with served(embedded) as remote:
        port = remote.port(CLOUD.domain)
        await port.trouble.lose_answers(1, when="before", methods=["disable"])
        with pytest.raises(LostAnswerError):
            await port.disable("h1", reason="tests")
        await port.trouble.never_converges("s1")
        await port.trouble.fails("s1", why="tests", in_error=True)
        await port.trouble.break_fence("h1", how="error")
        await port.trouble.mend_fence("h1")
        await port.trouble.silence("storage")
        await port.trouble.hear("storage")
        await port.trouble.stale_reads(0)
        await port.trouble.slow_answers(0)
        with pytest.raises(BadInputError, match="management-network"):
            await port.trouble.silence("rumour")
        await port.add_server(a_server("s2", on="h2"))
        assert await port.truth() == {"s1": {"h1"}, "s2": {"h2"}}
        await port.remove_server("s2")
        assert await port.violations() == ()
        assert [held.server for held in await port.history()] == ["s1", "s2", "s2"]
        assert [(call.method, call.outcome) for call in await port.calls()] == [("disable", "lost before")]


async def test_the_server_refuses_what_it_does_not_know(embedded):
    async with served(embedded) as remote, httpx2.AsyncClient(base_url=remote._url, trust_env=False) as http:
        assert (await http.get("/livez")).status_code == 200
        for path, body in (
            ("/v1/methods/close?domain=a+domain%2F1", b"{}"),
            ("/v1/methods/_catch_up?domain=a+domain%2F1", b"{}"),
            ("/v1/methods/read?domain=elsewhere", b"{}"),
            ("/v1/methods/read", b"{}"),
            ("/v1/methods/read?domain=a+domain%2F1", b"[]"),
            ("/v1/methods/read?domain=a+domain%2F1", b"{"),
            ("/v1/methods/add_server?domain=a+domain%2F1", b"{}"),
        ):
            answer = await http.post(path, content=body)
            assert (answer.status_code, set(answer.json())) == (400, {"error"}), path
        port = remote.port(CLOUD.domain)
        with pytest.raises(BadInputError, match="arguments of host"):
            await port.call("host", nmae="h1")
