"""The witness: judges the promises from what the simulated cloud's physics and the log have recorded.

It reads the ledger of the physics (where guests truly ran, who held which claim) and the log, and asks the planner's
rules and its memory through the entry point `restow.referees`; it trusts no word of the services about themselves.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import entry_points
from typing import Protocol

from sqlalchemy import select

from restow.cloud.model import Cloud
from restow.cloud.simulated.cloud import SimulatedCloud
from restow.database.documents import get_document
from restow.database.engine import Database, event_of
from restow.database.tables import DeadLetterRow, EventRow
from restow.ids import DomainName, HostName, ServerId
from restow.messages.events import Event

REFEREES_GROUP = "restow.referees"
ENDS = ("finished", "failed", "rejected", "cancelled", "stale")


@dataclass(frozen=True, slots=True)
class Verdict:
    """One promise of the design, whether it held, and what was looked at or found."""

    promise: int
    text: str
    held: bool
    facts: str


class Broken(Protocol):
    """A broken rule, as the planner's referee tells it."""

    @property
    def rule(self) -> str: ...
    @property
    def subject(self) -> str: ...
    @property
    def amount(self) -> float: ...
    @property
    def why(self) -> str: ...


class Referee(Protocol):
    """What the witness asks of the planner."""

    def violations(self, cloud: Cloud, where: Mapping[ServerId, tuple[HostName, ...]]) -> Iterable[Broken]:
        """Every broken hard rule for servers standing so; a server on its way stands on both ends."""

    def decide_again(self, snapshot: bytes, plan: bytes) -> str | None:
        """None if the same snapshot and request give the same plan; else what differs."""


def installed_referee() -> Referee:
    """The planner's. An AssertionError where no planner is installed: nothing can be judged without it."""
    found = tuple(entry_points(group=REFEREES_GROUP))
    assert found, "no distribution offers an entry point in restow.referees: install restow-planner"
    referee: Referee = found[0].load()
    return referee


@dataclass(frozen=True, slots=True)
class Witness:
    clouds: Mapping[DomainName, SimulatedCloud]
    database: Database
    referee: Referee
    replays_max: int = 20  # decisions that are made again; each costs a solve

    async def judge(self, *, settled: bool) -> tuple[Verdict, ...]:
        """`settled`: the story is over, so that everything opened must be closed by now."""
        events = await self._events()
        return (
            self._one_place(),
            self._rules(),
            self._fenced(),
            self._incidents(events, settled=settled),
            await self._once(events, settled=settled),
            self._doubt(events),
            await self._again(events),
        )

    # --- 1 to 3: the physics ------------------------------------------------------------------

    def _one_place(self) -> Verdict:
        broken = [one for cloud in self.clouds.values() for one in cloud.violations() if one.kind == "two-places"]
        guests = sum(len(cloud.truth()) for cloud in self.clouds.values())
        facts = "; ".join(f"{one.server} {one.detail}" for one in broken[:3]) or f"{guests} guests watched throughout"
        return Verdict(1, "No server ever runs in two places", not broken, facts)

    def _rules(self) -> Verdict:
        found: list[str] = []
        changes = 0
        for cloud in self.clouds.values():
            broken = cloud.violations()
            found += [f"{b.host}: {b.detail} when {b.server} came" for b in broken if b.kind == "capacity"]
            worse, looked = _sweep(cloud, self.referee)
            found += worse
            changes += looked
        facts = "; ".join(found[:3]) or f"{changes} changes of claims judged against every rule"
        return Verdict(2, "No step breaks a rule that held before it", not found, facts)

    def _fenced(self) -> Verdict:
        broken = [one for cloud in self.clouds.values() for one in cloud.unfenced()]
        evacuations = sum(a.kind == "evacuate" for cloud in self.clouds.values() for a in cloud.attempts())
        found = "; ".join(f"{one.server} from {one.host}: {one.detail}" for one in broken[:3])
        facts = found or f"{evacuations} evacuations, each from a host without power"
        return Verdict(3, "Nothing is evacuated from a host that is not fenced", not broken, facts)

    # --- 4 to 7: the log ----------------------------------------------------------------------

    def _incidents(self, events: Sequence[Event], *, settled: bool) -> Verdict:
        opened = {event.data["id"] for event in events if event.type == "restow.incident.opened"}
        closed = Counter(event.data["id"] for event in events if event.type == "restow.incident.closed")
        mute = [e.data["id"] for e in events if e.type == "restow.incident.closed" and not e.data["why"]]
        open_now = sorted(opened - set(closed)) if settled else []
        twice = [incident for incident, times in closed.items() if times > 1]
        wrong = [*(f"{i} never closed" for i in open_now), *(f"{i} closed twice" for i in twice), *mute]
        facts = "; ".join(wrong[:3]) or f"{len(opened)} incidents, {len(closed)} closed with an outcome and a reason"
        return Verdict(4, "No incident is lost; each ends with an outcome", not wrong, facts)

    async def _once(self, events: Sequence[Event], *, settled: bool) -> Verdict:
        wrong: list[str] = []
        for cloud in self.clouds.values():
            wrong += [f"{b.server}: {b.detail}" for b in cloud.violations() if b.kind == "evacuated-twice"]
            taken = Counter(attempt.request_id for attempt in cloud.attempts())
            wrong += [f"request {request} taken {times} times" for request, times in taken.items() if times > 1]
        ended = Counter((e.data["plan"], e.data["step"]) for e in events if e.type == "restow.step.finished")
        wrong += [f"step {step} of plan {plan} finished twice" for (plan, step), times in ended.items() if times > 1]
        if settled:
            asked = {e.data["plan"] for e in events if e.type == "restow.plan.requested"}
            over = {e.data["plan"] for e in events if e.type in {f"restow.plan.{end}" for end in ENDS}}
            wrong += [f"plan {plan} never ended" for plan in sorted(asked - over)]
        async with self.database.reading() as session:
            dead = (await session.execute(select(DeadLetterRow.reason))).scalars().all()
        wrong += [f"set aside: {reason}" for reason in dead]
        facts = (
            "; ".join(wrong[:3]) or f"{len(events)} events, {len(ended)} steps finished, each once; nothing set aside"
        )
        return Verdict(5, "No step is done twice; no event is lost", not wrong, facts)

    def _doubt(self, events: Sequence[Event]) -> Verdict:
        refusals = [event for event in events if event.type == "restow.refusal"]
        mute = [event for event in refusals if not event.data["why"]]
        ends = [e for e in events if e.type in ("restow.plan.failed", "restow.plan.stale", "restow.plan.rejected")]
        mute += [event for event in ends if not event.data["why"]]
        unproven = [
            f"{source} was evacuated, though it never truly failed"
            for cloud in self.clouds.values()
            for source in sorted(_evacuated(cloud) - _truly_failed(cloud))
        ]
        wrong = [*unproven, *(f"{event.type} {event.id} without a reason" for event in mute)]
        facts = (
            "; ".join(wrong[:3]) or f"{len(refusals)} refusals and {len(ends)} plans that stopped, each with its reason"
        )
        return Verdict(6, "When in doubt nothing moves, and the reason is on record", not wrong, facts)

    async def _again(self, events: Sequence[Event]) -> Verdict:
        proposed = [event for event in events if event.type == "restow.plan.proposed"]
        every = max(1, len(proposed) // self.replays_max)
        wrong: list[str] = []
        chosen = proposed[::every][: self.replays_max]
        for event in chosen:
            snapshot = await get_document(self.database, event.data["snapshot"])
            plan = await get_document(self.database, event.data["document"])
            difference = self.referee.decide_again(snapshot, plan)
            if difference is not None:
                wrong.append(f"plan {event.data['plan']}: {difference}")
        facts = "; ".join(wrong[:3]) or f"{len(chosen)} of {len(proposed)} decisions made again, all the same"
        return Verdict(7, "Every decision can be made again with the same result", not wrong, facts)

    async def _events(self) -> list[Event]:
        async with self.database.reading() as session:
            rows = (await session.execute(select(EventRow).order_by(EventRow.seq))).scalars().all()
        return [event_of(row) for row in rows]


def _sweep(cloud: SimulatedCloud, referee: Referee) -> tuple[list[str], int]:
    """Play the claims' history and judge each state: no (rule, subject) may get worse than it was before."""
    given = cloud.given
    known = {server.id: server for server in given.servers}
    where: dict[ServerId, tuple[HostName, ...]] = {s.id: () if s.host is None else (s.host,) for s in given.servers}
    was = {(one.rule, one.subject): one.amount for one in referee.violations(given, where)}
    dead_from = _forced_down(cloud)
    found: list[str] = []
    looked = 0
    for held in cloud.history():
        if held.server not in known:
            continue  # a user's server that was not in the snapshot
        hosts = held.hosts
        if len(hosts) > 1:  # a dead host keeps the claim of a server that runs elsewhere
            hosts = tuple(host for host in hosts if not _is_down(dead_from.get(host, ()), held.at)) or hosts[-1:]
        if where.get(held.server) == hosts:
            continue
        where[held.server] = hosts
        looked += 1
        now = {(one.rule, one.subject): one for one in referee.violations(given, where)}
        worse = [one for key, one in now.items() if one.amount > was.get(key, 0.0) + 1e-9]
        found += [f"{one.rule} at {one.subject}: {one.why}" for one in worse]
        was = {key: one.amount for key, one in now.items()}
    return found, looked


def _forced_down(cloud: SimulatedCloud) -> dict[HostName, list[tuple[float, bool]]]:
    changes: dict[HostName, list[tuple[float, bool]]] = {}
    for call in cloud.calls:
        if call.method == "force_down":
            host, state = call.args
            changes.setdefault(HostName(host), []).append((call.at.timestamp(), state == "down"))
    return changes


def _is_down(changes: Iterable[tuple[float, bool]], at: float) -> bool:
    down = False
    for moment, value in changes:
        if moment <= at:
            down = value
    return down


def _evacuated(cloud: SimulatedCloud) -> set[HostName]:
    return {attempt.source for attempt in cloud.attempts() if attempt.kind == "evacuate"}


def _truly_failed(cloud: SimulatedCloud) -> set[HostName]:
    """Hosts that crashed or hung at some time: faults set on purpose, or down in the snapshot."""
    failed = {host for _, kind, host in cloud.faults_injected if kind in ("host-crash", "host-hang")}
    return failed | {host.name for host in cloud.given.hosts if not host.takes_servers}


def report(verdicts: Iterable[Verdict]) -> str:
    """One line a promise, for a terminal without colours."""
    return "\n".join(f"{'held  ' if v.held else 'BROKEN'} {v.promise}. {v.text}: {v.facts}" for v in verdicts)


def as_json(verdicts: Iterable[Verdict], *, seed: int, at: datetime) -> str:
    """The verdicts of a run, to keep and compare."""
    rows = [{"promise": v.promise, "held": v.held, "facts": v.facts} for v in verdicts]
    return json.dumps({"seed": seed, "at": at.isoformat(), "promises": rows})
