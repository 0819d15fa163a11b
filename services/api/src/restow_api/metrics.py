"""How the stories go, in Prometheus form: what came of plans and steps, what is open and for how long, what waits.

Counted where the read views are kept, once for each event in the whole installation. What is open is read from
the views by every process alike: take the largest, not the sum.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import product
from typing import get_args

from prometheus_client import Counter, Gauge, Histogram
from sqlalchemy import func, select

from restow.database.engine import Database
from restow.database.tables import PositionRow
from restow.log.embedded import end_of_log
from restow.log.relay import POSITION
from restow.messages.plan import Action
from restow.messages.request import AnyRequest
from restow.policy import Symptom
from restow_api.folding import ENDED, STATES
from restow_api.store import IncidentViewRow, PlanViewRow

PLANS = Counter("restow_plans_total", "Plans that came into this state.", ["domain", "goal", "state"])
REFUSALS = Counter("restow_refusals_total", "What was not done, by the guard that stopped it.", ["domain", "guard"])
STEPS = Counter("restow_steps_total", "Steps that ended so.", ["domain", "action", "end"])
STEP_SECONDS = Histogram(
    "restow_step_seconds", "From the start of a step to its proven end.", ["action"],
    buckets=(1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800),
)  # fmt: skip
REACTION = Histogram(
    "restow_incident_reaction_seconds", "From the incident to the first step of its plan.", ["symptom"],
    buckets=(0.5, 1, 2, 5, 10, 30, 60, 120, 300, 900, 3600),
)  # fmt: skip
OPEN_INCIDENTS = Gauge("restow_open_incidents", "Incidents that are open.", ["domain", "symptom"])
OPEN_PLANS = Gauge("restow_open_plans", "Plans that have not ended, by state.", ["domain", "state"])
OLDEST_INCIDENT = Gauge("restow_oldest_open_incident_seconds", "Age of the oldest open incident.", ["domain"])
OLDEST_PLAN = Gauge("restow_oldest_open_plan_seconds", "How long a plan has been in this state.", ["domain", "state"])
RELAY_POSITION = Gauge("restow_relay_position", "Number of the last event that the broker has acknowledged.")
RELAY_BEHIND = Gauge("restow_relay_behind_events", "Events that the broker has not acknowledged yet.")
MEASURED = Gauge("restow_stories_measured_timestamp_seconds", "When what is open was last read.")
STEP_ENDS = frozenset({"finished", "failed", "skipped"})
GOALS = tuple(get_args(kind.model_fields["goal"].annotation)[0] for kind in get_args(get_args(AnyRequest)[0]))
# those by which a service keeps from acting; what else stops a request is counted from its first time on
GUARDS = (
    "blast-radius", "cloud-unreachable", "cool-down", "empty-cloud", "fence", "maintenance", "no-data", "no-rule",
    "observe", "open-plans", "plan-state", "quorum", "readable-cloud", "recovery-first", "server-cool-down",
    "snapshot-age",
)  # fmt: skip


def start_at_zero(domains: Iterable[str]) -> None:
    """What is counted is there before it happens: a first occurrence is then seen to be one."""
    for action in Action:
        STEP_SECONDS.labels(action.value)
    for symptom in get_args(Symptom):
        REACTION.labels(symptom)
    for domain in domains:
        for guard in GUARDS:
            REFUSALS.labels(domain, guard)
        for action, end in product(Action, sorted(STEP_ENDS)):
            STEPS.labels(domain, action.value, end)
        for goal, state in product(GOALS, STATES):
            PLANS.labels(domain, goal, state)


@dataclass(frozen=True, slots=True)
class Open:
    """What is open of one kind in one domain. `kind`: a symptom, or a state of plans."""

    domain: str
    kind: str
    number: int
    oldest: datetime


async def measure(database: Database, *, now: datetime) -> None:
    """Bring what is open up to date. Raises DatabaseAwayError; then the old figures stay, with their time."""
    incidents, plans = await _open(database)
    for gauge in (OPEN_INCIDENTS, OPEN_PLANS, OLDEST_INCIDENT, OLDEST_PLAN):
        gauge.clear()
    for one in incidents:
        OPEN_INCIDENTS.labels(one.domain, one.kind).set(one.number)
    for domain, oldest in _oldest(incidents).items():
        OLDEST_INCIDENT.labels(domain).set(max(0.0, (now - oldest).total_seconds()))
    for one in plans:
        OPEN_PLANS.labels(one.domain, one.kind).set(one.number)
        OLDEST_PLAN.labels(one.domain, one.kind).set(max(0.0, (now - one.oldest).total_seconds()))
    await _measure_relay(database)
    MEASURED.set(now.timestamp())


async def _measure_relay(database: Database) -> None:
    """Without a broker nobody relays, and nothing is behind."""
    async with database.reading() as session:
        relay = await session.get(PositionRow, POSITION)
    if relay is not None:
        RELAY_POSITION.set(relay.seq)
        RELAY_BEHIND.set(max(0, await end_of_log(database) - relay.seq))


def _oldest(found: Iterable[Open]) -> dict[str, datetime]:
    oldest: dict[str, datetime] = {}
    for one in found:
        oldest[one.domain] = min(oldest.get(one.domain, one.oldest), one.oldest)
    return oldest


async def _open(database: Database) -> tuple[list[Open], list[Open]]:
    incident, plan = IncidentViewRow, PlanViewRow
    of_incidents = (
        select(incident.domain, incident.symptom, func.count(), func.min(incident.opened_at))
        .where(incident.state != "closed")
        .group_by(incident.domain, incident.symptom)
    )
    of_plans = (
        select(plan.domain, plan.state, func.count(), func.min(plan.updated_at))
        .where(plan.state.not_in(sorted(ENDED)))
        .group_by(plan.domain, plan.state)
    )
    async with database.reading() as session:
        incidents = [Open(*row) for row in await session.execute(of_incidents)]
        plans = [Open(*row) for row in await session.execute(of_plans)]
    return incidents, plans
