"""One event to one handler: inbox, effect, bounded retry, dead letter. The only place that catches to carry on."""

import json
from dataclasses import asdict, dataclass

import structlog
from sqlalchemy import select

from restow.clock import Clock
from restow.database.engine import Database, DatabaseAwayError, Transaction
from restow.database.tables import DeadLetterRow, InboxRow
from restow.errors import PermanentError
from restow.ids import id_of_effect
from restow.log.port import Handler
from restow.messages.events import Event
from restow.runtime.metrics import DEAD_LETTERS, HANDLED

RETRY_DELAYS_S = (1.0, 2.0, 5.0, 10.0, 30.0)
DATABASE_AWAY_MAX_S = 600.0  # then the process gives up and its supervisor starts a new one
DATABASE_RETRY_S = 1.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Delivery:
    """How events reach a handler: exactly one effect each, or a dead letter with the reason."""

    database: Database
    clock: Clock

    async def deliver(self, handler: Handler, event: Event) -> None:
        """Return when the event has had its effect, had it before, or was set aside.

        Raises DatabaseAwayError when the database stays away for DATABASE_AWAY_MAX_S: the caller must not
        move its offset, so that nothing is lost.
        """
        attempts, away_s = 0, 0.0
        with structlog.contextvars.bound_contextvars(
            event_id=event.id, event_type=event.type, domain=event.domain, correlation=event.correlation
        ):
            while True:
                try:
                    await self._once(handler, event)
                    HANDLED.labels(handler.group, event.type, "done").inc()
                    return
                except DatabaseAwayError:
                    if away_s >= DATABASE_AWAY_MAX_S:
                        raise
                    away_s += DATABASE_RETRY_S
                    await self.clock.sleep(DATABASE_RETRY_S)
                except Exception as error:  # noqa: BLE001  (the bus carries on; the reason is kept)
                    attempts += 1
                    useless = isinstance(error, PermanentError) or attempts > len(RETRY_DELAYS_S)
                    if useless and await self._set_aside(handler, event, error, attempts):
                        return
                    if not useless:
                        log.warning("event not handled, will be tried again", attempt=attempts, error=repr(error))
                        await self.clock.sleep(RETRY_DELAYS_S[attempts - 1])

    async def _once(self, handler: Handler, event: Event) -> None:
        async with self.database.reading() as session:
            if await session.get(InboxRow, (handler.group, event.id)) is not None:
                return
        effect = await handler.handle(event)
        async with self.database.writing() as transaction:
            if await self._first_time(transaction, handler.group, event) and effect is not None:
                await effect(transaction)

    async def _first_time(self, transaction: Transaction, group: str, event: Event) -> bool:
        seen = select(InboxRow.event).where(InboxRow.consumer == group, InboxRow.event == event.id)
        if (await transaction.session.execute(seen)).first() is not None:
            return False
        transaction.session.add(InboxRow(consumer=group, event=event.id, at=self.clock.now()))
        await transaction.session.flush()  # a rival's insert of the same key ends this transaction here
        return True

    async def _set_aside(self, handler: Handler, event: Event, error: Exception, attempts: int) -> bool:
        """Keep the event with its reason and note it as seen; False if the database is away just now."""
        letter = DeadLetterRow(
            id=id_of_effect(event.id, f"dead/{handler.group}"), consumer=handler.group,
            event=json.dumps({**asdict(event), "time": event.time.isoformat()}),
            reason=f"{type(error).__name__}: {error}", attempts=attempts, at=self.clock.now(), state="dead",
        )  # fmt: skip
        try:
            async with self.database.writing() as transaction:
                if await self._first_time(transaction, handler.group, event):
                    await transaction.session.merge(letter)
        except DatabaseAwayError:
            return False
        DEAD_LETTERS.labels(handler.group).inc()
        HANDLED.labels(handler.group, event.type, "dead").inc()
        log.error(
            "event set aside: read the reason, mend the cause, then `restow dead replay`",
            reason=letter.reason,
            dead_letter=letter.id,
        )
        return True
