"""Dead letters as people see them: list them, and order them to be delivered again."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select, update

from restow.database.engine import Database
from restow.database.tables import DeadLetterRow
from restow.errors import NotFoundError
from restow.messages.events import Event

LIST_MAX = 1000


@dataclass(frozen=True, slots=True)
class Letter:
    """An event that was set aside. `state`: dead, replay (ordered, not done yet) or replayed."""

    id: str
    consumer: str
    event: Event
    reason: str
    attempts: int
    at: datetime
    state: str


async def list_letters(database: Database, *, every: bool = False) -> tuple[Letter, ...]:
    """The newest LIST_MAX letters, newest first; without `every` only those not replayed."""
    wanted = select(DeadLetterRow).order_by(DeadLetterRow.at.desc(), DeadLetterRow.id).limit(LIST_MAX)
    if not every:
        wanted = wanted.where(DeadLetterRow.state != "replayed")
    async with database.reading() as session:
        return tuple(letter_of(row) for row in (await session.execute(wanted)).scalars())


async def order_replay(database: Database, letter: str | None) -> int:
    """Have this letter, or with None every dead one, delivered again by its consumer group; how many.

    Raises NotFoundError where there is no such letter in state dead.
    """
    wanted = update(DeadLetterRow).where(DeadLetterRow.state == "dead").values(state="replay")
    if letter is not None:
        wanted = wanted.where(DeadLetterRow.id == letter)
    async with database.writing() as transaction:
        result = await transaction.session.execute(wanted.returning(DeadLetterRow.id))
        count = len(result.all())
    if letter is not None and not count:
        raise NotFoundError(f"no dead letter {letter} waits: it is unknown, ordered already, or replayed")
    return count


def letter_of(row: DeadLetterRow) -> Letter:
    return Letter(
        id=row.id, consumer=row.consumer, event=event_from(json.loads(row.event)), reason=row.reason,
        attempts=row.attempts, at=row.at, state=row.state,
    )  # fmt: skip


def event_as_json(event: Event) -> dict[str, Any]:
    """All fields of an event as JSON values; `event_from` reads them back."""
    return {**asdict(event), "time": event.time.isoformat()}


def event_from(values: Mapping[str, Any]) -> Event:
    return Event(**{**values, "time": datetime.fromisoformat(values["time"])})
