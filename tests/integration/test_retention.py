"""What ended long ago is forgotten wholly, what has not ended stays, on both databases."""

from datetime import timedelta

import pytest
from sqlalchemy import select, text

from restow.database import retention
from restow.database.engine import Database
from restow.database.retention import forget
from restow.database.schema import upgrade_database
from restow.database.tables import DeadLetterRow, DocumentRow, EventRow, InboxRow, PositionRow
from restow_api.store import AuditRow, IncidentViewRow, PlanViewRow, StepViewRow
from restow_detector.store import IncidentRow
from restow_executor.journal import OrderRow, RunRow, StepRow
from restow_planner.store import PlanRow
from support.builders import NOON

KEEP, KEEP_AUDIT = timedelta(days=90), timedelta(days=400)
KEPT = {"keep": KEEP, "keep_audit": KEEP_AUDIT, "keep_inbox": KEEP}
LONG_AGO, LATELY = NOON - timedelta(days=200), NOON - timedelta(days=10)
TABLES = (
    "audit", "dead_letter", "document", "event_log", "inbox", "incident", "incident_view", "plan", "plan_view", "run",
    "run_order", "run_step", "step_view",
)  # fmt: skip


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.real)])
async def database(request, tmp_path):
    sqlite = request.param == "sqlite"
    url = f"sqlite:///{tmp_path}/r.db" if sqlite else request.getfixturevalue("postgres_url")
    database = Database(url)
    await upgrade_database(database)
    yield database
    await database.close()


def a_plan(name, *, began, ended):
    """Its rows in every table."""
    state = "proposed" if ended is None else "finished"
    yield PlanViewRow(
        id=name, domain="d", state=state, goal="evacuate", mode="propose", request="{}", correlation=f"c-{name}",
        attempt=1, created_at=began, created_by="ann", updated_at=ended or began, document=f"plan-{name}",
        snapshot=f"cloud-{name}", why="", ended_at=ended, counts="{}",
    )  # fmt: skip
    yield StepViewRow(plan=name, step="s1", state="finished", seconds=1.0, why="", request_ids="[]")
    yield PlanRow(
        id=name, domain="d", state=state, goal="evacuate", mode="propose", optional=0, document=f"plan-{name}",
        snapshot=f"cloud-{name}", requested_by="ann", why="", created_at=began, changed_at=ended or began,
    )  # fmt: skip
    yield from a_run(name, kind="plan", began=began, ended=ended)
    yield OrderRow(plan=name, verb="undo", by="ann", why="", event=f"o-{name}", at=began)
    for kind in ("plan", "cloud"):
        yield DocumentRow(digest=f"{kind}-{name}", kind=kind, body=b"", at=began)
    yield an_event(f"e-{name}", story=f"c-{name}", subject=name, at=began)


def a_run(name, *, kind, began, ended):
    yield RunRow(
        id=name, kind=kind, domain="d", state="running" if ended is None else "finished", subject=name, goal="evacuate",
        mode="auto", attempt=1, by="ann", cause="x", correlation=f"c-{name}", why="", created_at=began, ended_at=ended,
    )  # fmt: skip
    yield StepRow(
        run=name, step="s1", position=0, state="finished", definition="{}", asked="[]", before="{}", facts="{}", why=""
    )


def an_incident(name, *, opened, closed):
    yield IncidentViewRow(
        id=name, domain="d", state="open" if closed is None else "closed", symptom="hot-host", hosts="[]", body="{}",
        opened_at=opened, updated_at=opened, closed_at=closed,
    )  # fmt: skip
    yield IncidentRow(
        id=name, domain="d", symptom="hot-host", state="open", why="", opened_at=opened, closed_at=closed, body="{}"
    )
    yield an_event(f"e-{name}", story=f"e-{name}", subject=name, at=opened)


def an_event(name, *, story, subject, at):
    return EventRow(
        id=name, topic="restow.healing.v1", type="restow.x", source="t", domain="d", subject=subject, time=at,
        data="{}", correlation=story,
    )  # fmt: skip


async def fill(database):
    """`old` ended long ago and `new` lately; `open` began long ago and has not ended."""
    rows = [
        *a_plan("old", began=LONG_AGO, ended=LONG_AGO), *a_plan("open", began=LONG_AGO, ended=None),
        *a_plan("new", began=LATELY, ended=LATELY), *a_run("chore-old", kind="chore", began=LONG_AGO, ended=LONG_AGO),
        *an_incident("i-old", opened=LONG_AGO, closed=LONG_AGO), *an_incident("i-open", opened=LONG_AGO, closed=None),
        *an_incident("i-new", opened=LATELY, closed=LATELY),
        an_event("e-follow", story="e-i-open", subject="host-1", at=LONG_AGO),
        InboxRow(consumer="api", event="old", at=LONG_AGO), InboxRow(consumer="api", event="new", at=LATELY),
        *(
            DeadLetterRow(id=state, consumer="api", event="{}", reason="", attempts=1, at=LONG_AGO, state=state)
            for state in ("dead", "replayed")
        ),
        *(
            AuditRow(at=at, by="ann", role="admin", action="x", subject=subject, domain="d", result="done", why="")
            for at, subject in ((LONG_AGO, "kept"), (LONG_AGO - KEEP_AUDIT, "gone"))
        ),
    ]  # fmt: skip
    async with database.writing() as transaction:
        for row in rows:
            transaction.session.add(row)
            await transaction.session.flush()


async def counts(database):
    async with database.reading() as session:
        return {name: (await session.execute(text(f"select count(*) from {name}"))).scalar_one() for name in TABLES}


async def names(database, column):
    async with database.reading() as session:
        return sorted((await session.execute(select(column))).scalars())


@pytest.mark.parametrize("bite", [1, 1000])
async def test_what_ended_long_ago_is_gone_and_all_else_is_there(database, monkeypatch, bite):
    monkeypatch.setattr(retention, "BITE", bite)
    await fill(database)
    before = await counts(database)
    gone = await forget(database, now=NOON, **KEPT)
    assert gone == {
        "plan_view": 1, "step_view": 1, "plan": 1, "run": 2, "run_step": 2, "run_order": 1, "document": 2,
        "incident": 1, "incident_view": 1, "event_log": 2, "inbox": 1, "dead_letter": 1, "audit": 1,
    }  # fmt: skip
    assert await counts(database) == {name: many - gone.get(name, 0) for name, many in before.items()}
    assert await names(database, PlanViewRow.id) == await names(database, PlanRow.id) == ["new", "open"]
    assert await names(database, RunRow.id) == ["new", "open"]
    assert await names(database, DocumentRow.digest) == ["cloud-new", "cloud-open", "plan-new", "plan-open"]
    assert await names(database, IncidentRow.id) == ["i-new", "i-open"]
    assert await names(database, EventRow.id) == ["e-follow", "e-i-new", "e-i-open", "e-new", "e-open"]
    assert await names(database, DeadLetterRow.state) == ["dead"]
    assert await names(database, AuditRow.subject) == ["kept"]
    assert await forget(database, now=NOON, **KEPT) == {}


async def test_an_event_that_the_broker_does_not_have_stays(database):
    await fill(database)
    async with database.writing() as transaction:
        transaction.session.add(PositionRow(consumer="relay", seq=0))
    assert "event_log" not in await forget(database, now=NOON, **KEPT)


@pytest.mark.parametrize("held", [timedelta(days=300), retention.FOR_EVER])
async def test_what_a_broker_may_deliver_again_is_known_as_done_for_as_long(database, held):
    await fill(database)
    gone = await forget(database, now=NOON, keep=KEEP, keep_audit=KEEP_AUDIT, keep_inbox=held)
    assert "inbox" not in gone
    assert gone["plan"] == 1
