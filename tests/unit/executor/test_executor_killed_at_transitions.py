"""Killed before and after each write by which a step of each kind may change its state: the same end, asked for once.

Both lists are those of the code: the actions, and the edges of the step's state machine. An action without a sample
or an edge without a fate fails here.
"""

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from sqlalchemy import select

from restow.cloud.model import ServerState
from restow.errors import NotFoundError, PermanentError
from restow.messages.plan import HOST_ACTIONS, Action
from restow.simulation.virtual_loop import run_virtual
from restow_executor.actions import ACTIONS, power_off, power_on
from restow_executor.actions.hosts import POWER
from restow_executor.journal import StepRow
from restow_executor.progress import StepSignal, StepState, step_after
from support.builders import a_cloud, a_host, a_server
from support.executing import ENDS, Bench, a_bench, host, rescue, step

SOON = {"execution": {"migration_timeout_s": 60}}
REQUEST = {"goal": "evacuate", "hosts": ["h1"], "mode": "auto"}
ONCE = ("live_migrate", "cold_migrate", "evacuate", "start", "stop", "shelve")
EDGES = {
    (state, after)
    for state in StepState
    for signal in StepSignal
    if (after := step_after(state, signal)) is not state
}  # fmt: skip
BEGIN = (StepState.WAITING, StepState.STARTED)


async def as_it_is(bench: Bench) -> None:
    del bench


async def h1_dead(bench: Bench) -> None:
    await bench.cloud.inject("host-crash", host("h1"))
    await bench.clock.sleep(120)


async def h3_closed(bench: Bench) -> None:
    await bench.cloud.disable(host("h3"), reason="tests")


async def h3_off(bench: Bench) -> None:
    await bench.cloud.disable(host("h3"), reason="tests")
    await bench.cloud.power(host("h3"), on=False)
    await bench.clock.sleep(120)


async def h3_dead_and_declared_so(bench: Bench) -> None:
    await bench.cloud.inject("host-crash", host("h3"))
    await bench.clock.sleep(120)
    await bench.cloud.disable(host("h3"), reason="tests")
    await bench.cloud.force_down(host("h3"), down=True)


@dataclass(frozen=True)
class Sample:
    """One step, named "it", of an action; `calls` are what it asks of the cloud, `first` the steps before it."""

    it: dict[str, Any]
    calls: tuple[str, ...]
    prepare: Callable[[Bench], Awaitable[None]] = as_it_is
    first: tuple[Any, ...] = ()
    after: tuple[str, ...] = ()


MOVE = {"server": "s1", "source": "h1", "target": "h2"}
SAMPLES = {
    Action.LIVE_MIGRATE: Sample(MOVE, ("live_migrate",)),
    Action.COLD_MIGRATE: Sample(MOVE, ("cold_migrate",)),
    Action.EVACUATE: Sample(MOVE, ("evacuate",), h1_dead, rescue("h1", []), ("off", "fence")),
    Action.START: Sample({"server": "s2", "source": "h1", "target": "h1"}, ("start",)),
    Action.STOP: Sample({"server": "s1", "source": "h1"}, ("stop",)),
    Action.SHELVE: Sample({"server": "s1", "source": "h1"}, ("shelve",)),
    Action.DISABLE_HOST: Sample({"host": "h3"}, ("disable",)),
    Action.ENABLE_HOST: Sample({"host": "h3"}, ("enable",), h3_closed),
    Action.FENCE: Sample({"host": "h1"}, ("power",), h1_dead),
    Action.POWER_OFF: Sample({"host": "h3"}, ("power",), h3_closed),
    Action.POWER_ON: Sample({"host": "h3"}, ("power",), h3_off),
}


class Contrary:
    """The cloud, but for one way in which it is contrary to the step: it holds for every process that uses it."""

    def __init__(self, cloud: Any, sample: Sample, way: str) -> None:
        self.cloud, self.sample, self.way = cloud, sample, way
        self.asked = False

    def __getattr__(self, name: str) -> Any:
        real = getattr(self.cloud, name)
        if name in self.sample.calls:
            return self._asking(real)
        if name in (("server",) if "server" in self.sample.it else ("host", "power_state")):
            return self._looking(real)
        return real

    def _asking(self, real: Any) -> Any:
        async def ask(*words: Any, **named: Any) -> Any:
            if self.way == "refuses":
                raise PermanentError("409 no")
            answer = await real(*words, **named)
            self.asked = True
            return answer

        return ask

    def _looking(self, real: Any) -> Any:
        async def look(*words: Any) -> Any:
            if self.way == "gone" or (self.way == "goes" and self.asked):
                raise NotFoundError(f"there is no {words[0]}")
            found = await real(*words)
            return replace(found, task="stuck") if self.way == "stuck" and self.asked else found

        return look


@dataclass(frozen=True)
class Fate:
    """How the world is when the step meets it. `done`: the same step was carried out before, by another plan."""

    way: str = ""
    done: bool = False
    prepare: Callable[[Bench], Awaitable[None]] | None = None
    alone: bool = False


def fate_of(action: Action, edge: tuple[StepState, StepState]) -> Fate | None:
    """What leads a step of this action over this edge; None where nothing does."""
    match edge:
        case StepState.WAITING, StepState.SKIPPED:
            return Fate(done=True)
        case StepState.WAITING, StepState.STALE:
            return Fate("gone")
        case StepState.WAITING, StepState.FAILED:  # only guards refuse for good
            guarded = {
                Action.EVACUATE: Fate(alone=True),  # no fence before it
                Action.ENABLE_HOST: Fate(prepare=h3_dead_and_declared_so),
            }
            return guarded.get(action)
        case StepState.STARTED, StepState.FINISHED:
            return Fate()
        case StepState.STARTED, StepState.STALE:
            return Fate("goes")
        case StepState.STARTED, StepState.MISSED:  # a host cannot be replaced by another
            return None if action in HOST_ACTIONS else Fate("refuses")
        case StepState.STARTED, StepState.FAILED:
            return Fate("refuses" if action in HOST_ACTIONS else "stuck")
        case _:
            raise AssertionError(f"nothing here leads a step over {edge}")


CASES = [
    pytest.param(action.name, edge, id=f"{action.name.value}-{edge[0].value}-{edge[1].value}")
    for action in ACTIONS
    for edge in sorted(EDGES - {BEGIN})
    if fate_of(action.name, edge) is not None
]  # fmt: skip


async def carried(path: Any, action: Action, fate: Fate, *, die_at: tuple[str, str, str] | None) -> dict[str, Any]:
    """What came of the plan; `edges` are those that its step took."""
    path.mkdir()
    sample = SAMPLES[action]
    cloud = a_cloud(
        [a_host("h1"), a_host("h2"), a_host("h3")],
        [a_server("s1", on="h1"), a_server("s2", on="h1", state=ServerState.STOPPED)],
    )
    async with a_bench(path, cloud) as bench:
        await (fate.prepare or sample.prepare)(bench)
        await bench.put_policy(SOON)
        first = () if fate.alone else sample.first
        it = step("it", action, **sample.it, after=() if fate.alone else sample.after)
        if fate.done:
            before = bench.start("before")
            await bench.approve("p0", [*first, it], request=REQUEST)
            assert (await bench.end_of("p0")).type == "restow.plan.finished"
            await before.stop()
            first, it = (), step("it", action, **sample.it)
        bench.port = Contrary(bench.cloud, sample, fate.way)
        one = bench.start("one")
        one.database.die_at = die_at
        await bench.approve_unseen("p1", [*first, it], request=REQUEST, planned_at=bench.clock.now())
        second = None
        for _ in range(1000):
            if one.database.dead and second is None:
                await one.kill()
                second = bench.start("two")
            events = [event for event in await bench.events() if event.data.get("plan") == "p1"]
            if any(event.type in ENDS for event in events):
                break
            bench.raise_broken()
            await bench.clock.sleep(5.0)
        assert (second is not None) == (die_at is not None), "it was killed where it should have been"
        asked = Counter(call[:2] for call in bench.calls(*ONCE))
        assert not asked or max(asked.values()) == 1, asked
        assert not bench.cloud.violations()
        told = Counter((event.type, event.data.get("step")) for event in events)
        assert max(told.values()) == 1, told
        async with bench.database.reading() as session:
            row = (await session.execute(select(StepRow).where(StepRow.run == "p1", StepRow.step == "it"))).scalar_one()
        began = ("restow.step.started", "it") in told
        end = StepState(row.state)
        result = {
            "edges": {BEGIN, (StepState.STARTED, end)} if began else {(StepState.WAITING, end)},
            "end": [event.type for event in events if event.type in ENDS],
            "servers": [sorted(bench.cloud.truth()[name]) for name in ("s1", "s2")],
            "hosts": [(one.enabled, one.forced_down, one.power) for one in (await bench.cloud.read()).hosts],
            "asked": dict(asked),
        }
        for running in (one, second):
            if running is not None:
                await running.stop()
        return result


@pytest.mark.parametrize(("action", "edge"), CASES)
def test_killed_at_each_transition_of_each_kind_of_step_it_comes_to_the_same_end(tmp_path, monkeypatch, action, edge):
    for module in (power_off, power_on):  # a quarter of an hour of waiting is much for a test
        monkeypatch.setattr(module, "POWER", replace(POWER, limit_s=200.0))
    fate = fate_of(action, edge)
    expected = run_virtual(carried(tmp_path / "whole", action, fate, die_at=None))
    assert edge in expected["edges"]
    changes = ("started", "ended") if edge == (StepState.STARTED, StepState.FINISHED) else ("ended",)
    for change in changes:
        for when in ("before", "after"):
            got = run_virtual(carried(tmp_path / f"{when}-{change}", action, fate, die_at=(when, "it", change)))
            assert got == expected, (when, change)


def test_no_edge_and_no_action_is_left_out():
    assert {action.name for action in ACTIONS} == set(Action) == set(SAMPLES)
    reached = {case.values[1] for case in CASES} | {BEGIN}
    assert reached == EDGES
