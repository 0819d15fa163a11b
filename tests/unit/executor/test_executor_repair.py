"""What a move leaves half done: mended where the policy lets us, named with what a person should do where not."""

from restow.cloud.model import ServerState
from restow.cloud.port import VERIFY
from restow.ids import ServerId
from restow.simulation.virtual_loop import run_virtual
from support.builders import a_cloud, a_host, a_server
from support.executing import a_bench, move, step


def two_hosts():
    return a_cloud([a_host("h1"), a_host("h2")], [a_server("s1", on="h1"), a_server("s2", on="h1")])


async def a_move_that_leaves_it_in_error(path, *, policy):
    """How the plan ended, and the state of the server then."""
    async with a_bench(path, two_hosts()) as bench:
        bench.cloud.trouble.fails(ServerId("s1"), why="qemu gave up", in_error=True)
        one = bench.start()
        await bench.put_policy({"execution": policy})
        await bench.approve("p1", [move("m1", "s1", "h1", "h2"), move("m2", "s2", "h1", "h2")])
        end = await bench.end_of("p1")
        assert await bench.where("s2") == "h2"  # the others go on
        assert len(bench.calls("live_migrate")) == 2
        after = await bench.cloud.server(ServerId("s1"))
        await one.stop()
        return end, after, bench.calls("clear_error")


def test_a_server_that_a_move_left_in_error_is_named_with_what_a_person_should_do(tmp_path):
    end, server, cleared = run_virtual(a_move_that_leaves_it_in_error(tmp_path, policy={}))
    assert end.type == "restow.plan.failed"
    assert "qemu gave up; s1 is in error on h1: a person must look" in end.data["why"]
    assert "openstack server set --state active s1" in end.data["why"]
    assert "first its claim, which placement has on h2" in end.data["why"]
    assert (server.state, cleared) == (ServerState.ERROR, [])


def test_where_the_policy_says_so_it_is_active_again_and_the_rest_is_planned_anew(tmp_path):
    end, server, cleared = run_virtual(a_move_that_leaves_it_in_error(tmp_path, policy={"clear_errors": True}))
    assert end.type == "restow.plan.stale"
    assert "qemu gave up" in end.data["why"]
    assert (server.state, server.host, cleared) == (ServerState.ACTIVE, "h1", [("clear_error", "s1")])


def test_an_error_that_was_there_before_is_nobodys_to_clear(tmp_path):
    async def story():
        cloud = a_cloud([a_host("h1"), a_host("h2")], [a_server("s1", on="h1", state=ServerState.ERROR)])
        async with a_bench(tmp_path, cloud) as bench:
            one = bench.start()
            await bench.put_policy({"execution": {"clear_errors": True}})
            await bench.approve("p1", [move("m1", "s1", "h1", "h2")])
            end = await bench.end_of("p1")
            assert end.type == "restow.plan.stale"
            assert bench.calls() == []
            await one.stop()

    run_virtual(story())


def test_a_cold_move_whose_executor_died_is_confirmed_by_the_next_one_however_late(tmp_path):
    async def story():
        async with a_bench(tmp_path, two_hosts()) as bench:
            one = bench.start("one")
            it = step("it", "cold-migrate", server="s1", source="h1", target="h2")
            await bench.approve_unseen("p1", [it])
            while not bench.calls("cold_migrate"):
                await bench.clock.sleep(0.1)
            await one.kill()
            await bench.clock.sleep(6 * 3600)  # longer than any limit of a step
            assert (await bench.cloud.server(ServerId("s1"))).task == VERIFY
            two = bench.start("two")
            assert (await bench.end_of("p1")).type == "restow.plan.finished"
            after = await bench.cloud.server(ServerId("s1"))
            assert (after.host, after.task) == ("h2", None)
            assert set(await bench.cloud.allocations(ServerId("s1"))) == {"h2"}
            assert bench.calls() == [("cold_migrate", "s1", "h2"), ("confirm_cold_migration", "s1")]
            await two.stop()

    run_virtual(story())
