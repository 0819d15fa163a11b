"""A recorded decision, to be made again: the snapshot and the plan as they were stored."""

from restow.cloud.model import Cloud
from restow.cloud.snapshot import read_cloud
from restow.database.documents import get_document
from restow.database.engine import Database
from restow.errors import NotFoundError
from restow.messages.base import parse
from restow.messages.plan import Plan
from restow_planner import store

NOT_COMPARED = frozenset({"solve_s", "engine"})
DIFFERENCES_MAX = 50


async def recorded(url: str, plan_id: str) -> tuple[Cloud, Plan]:
    """The snapshot that the plan was made from, and the plan. Raises NotFoundError, DatabaseAwayError."""
    database = Database(url)
    try:
        row = await store.known_plan(database, plan_id)
        if row is None or row.document is None or row.snapshot is None:
            raise NotFoundError(f"no plan {plan_id} with a document in this installation")
        cloud = read_cloud(await get_document(database, row.snapshot))
        return cloud, parse(Plan, await get_document(database, row.document), what="plan")
    finally:
        await database.close()


def compare(before: Plan, again: Plan) -> list[str]:
    """Where two answers differ; times of solving do not count."""
    old, new = before.dump(), again.dump()
    found = []
    for key in old:
        if key in NOT_COMPARED or old[key] == new[key]:
            continue
        if key == "steps":
            steps = {step["id"]: step for step in new[key]}
            changed = [step["id"] for step in old[key] if steps.get(step["id"]) != step]
            found.append(f"steps: {len(old[key])} then, {len(new[key])} now; different: {', '.join(changed) or '-'}")
        else:
            found.append(f"{key}: {old[key]!r} then, {new[key]!r} now")
    return found[:DIFFERENCES_MAX]
