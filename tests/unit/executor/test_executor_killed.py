"""Killed at any moment and started again, the executor comes to the same end, and asks for nothing twice."""

from collections import Counter

from restow.simulation.virtual_loop import run_virtual
from support.builders import a_cloud, a_host, a_server
from support.executing import ENDS, a_bench, host, move, rescue

SERVERS = ("s1", "s2")


def a_cloud_with_two_on_h1():
    return a_cloud([a_host("h1"), a_host("h2"), a_host("h3")], [a_server(name, on="h1") for name in SERVERS])


async def killed_once(path, *, steps, request, crash=False, before=None, after=None):
    """Carry the plan out, with the first process killed at this write; what came of it, and how many writes it took."""
    path.mkdir()
    async with a_bench(path, a_cloud_with_two_on_h1()) as bench:
        if crash:
            await bench.cloud.inject("host-crash", host("h1"))
            await bench.clock.sleep(120)
        one = bench.start("one")
        one.database.writes = 0
        one.database.die_before, one.database.die_after = before, after
        await bench.approve_unseen("p1", steps, request=request)
        second = None
        for _ in range(4000):
            if one.database.dead and second is None:
                await one.kill()
                second = bench.start("two")
            if any(event.type in ENDS for event in await bench.events()):
                break
            bench.raise_broken()
            await bench.clock.sleep(0.5)
        end = await bench.end_of("p1", within_s=1)
        told = Counter((event.type, event.data.get("step") or event.subject) for event in await bench.events())
        result = {
            "end": end.type,
            "counts": sum(end.data["counts"].values()),
            "where": [await bench.where(name) for name in SERVERS],
            "truth": [sorted(bench.cloud.truth()[name]) for name in SERVERS],
        }
        asked = Counter(call[:2] for call in bench.calls("live_migrate", "evacuate"))
        assert not bench.cloud.violations()
        assert max(told.values()) == 1, told
        assert max(asked.values()) == 1, asked
        await one.stop()
        if second is not None:
            await second.stop()
        return result, one.database.writes


def same_end_wherever_it_is_killed(path, **story):
    expected, writes = run_virtual(killed_once(path / "whole", **story))
    assert expected["end"] == "restow.plan.finished"
    assert writes > 10
    for number in range(1, writes + 1):
        for when in ("before", "after"):
            got, _ = run_virtual(killed_once(path / f"{when}{number}", **story, **{when: number}))
            assert got == expected, (when, number)


def test_a_rearrangement_killed_at_every_write_ends_the_same(tmp_path):
    steps = [move("m1", "s1", "h1", "h2"), move("m2", "s2", "h1", "h3", after=["m1"])]
    request = {"goal": "evacuate", "hosts": ["h1"], "mode": "auto"}
    same_end_wherever_it_is_killed(tmp_path, steps=steps, request=request)


def test_a_recovery_killed_at_every_write_ends_the_same(tmp_path):
    request = {"goal": "recover", "hosts": ["h1"], "mode": "auto"}
    steps = rescue("h1", [("s1", "h2"), ("s2", "h3")])
    same_end_wherever_it_is_killed(tmp_path, steps=steps, request=request, crash=True)
