"""A recorded decision, to be made again: where it is, the snapshot and the plan as they were stored."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from restow.cloud.model import Cloud
from restow.cloud.snapshot import read_cloud
from restow.database.documents import get_document
from restow.database.engine import Database
from restow.errors import BadInputError, FieldError, NotFoundError
from restow.messages.base import parse
from restow.messages.plan import Plan
from restow.runtime.settings import read_settings
from restow_planner import store
from restow_planner.beside import BESIDE, DIFFERENCE

NOT_COMPARED = frozenset({"solve_s", "engine"})
DIFFERENCES_MAX = 50


def database_of(data: Path | None, environment: Mapping[str, str]) -> str:
    """The database of the data directory, where one is named; else RESTOW_DATABASE_URL, else that of the default one.

    Raises BadInputError where there is none: SQLite would make an empty one.
    """
    settings = read_settings(environment, **({} if data is None else {"data_dir": data}))
    if data is None and settings.database_url is not None and settings.database_url.get_secret_value():
        return settings.database()
    local = settings.data_dir.expanduser() / "restow.db"
    if not local.exists():
        expected = "the data directory of `restow up` (--data, RESTOW_DATA_DIR), or --database URL"
        raise BadInputError("replay", (FieldError(str(local), "(absent)", expected),))
    return f"sqlite:///{local}"


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


def _alone(plan: Plan) -> dict[str, Any]:
    """The plan without the other plan that a what-if puts beside it: only the snapshot of the one is kept."""
    metadata = {key: value for key, value in plan.metadata.items() if key not in (BESIDE, DIFFERENCE)}
    return plan.model_copy(update={"metadata": metadata}).dump()


def compare(before: Plan, again: Plan) -> list[str]:
    """Where two answers differ; times of solving do not count."""
    old, new = (_alone(plan) for plan in (before, again))
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
