"""One event to one handler: inbox, effect, bounded retry, dead letter. The only place that catches to carry on."""

import asyncio
import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from weakref import WeakValueDictionary

import structlog
from sqlalchemy import delete, select, update

from restow.clock import Clock
from restow.database.engine import Database, DatabaseAwayError, Transaction
from restow.database.tables import DeadLetterRow, InboxRow
from restow.errors import PermanentError
from restow.ids import id_of_effect
from restow.log.dead import Letter, event_as_json, letter_of
from restow.log.port import Handler
from restow.messages.events import DeadLetter, Event, effect_of
from restow.metrics import DEAD_LETTERS, HANDLED, HANDLER_SECONDS, RETRIES
from restow.tracing import handling

RETRY_DELAYS_S = (1.0, 2.0, 5.0, 10.0, 30.0)
DATABASE_AWAY_MAX_S = 600.0  # then the process gives up and its supervisor starts a new one
DATABASE_RETRY_S = 1.0
REPLAY_POLL_S = 1.0
REPLAY_BATCH = 20
DEAD_EVENT = "restow.dead"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Delivery:
    """How events reach a handler: exactly one effect each, or a dead letter with the reason.

    A handler never has two events of one domain at hand, whichever topics they come from.
    """

    database: Database
    clock: Clock
    _turns: WeakValueDictionary[tuple[str, str], asyncio.Lock] = field(default_factory=WeakValueDictionary)
    _looked: dict[str, datetime] = field(default_factory=dict)

    async def deliver(self, handler: Handler, event: Event) -> None:
        """Return when the event has had its effect, had it before, or was set aside.

        Raises DatabaseAwayError when the database stays away for DATABASE_AWAY_MAX_S: the caller must not
        move its offset, so that nothing is lost.
        """
        await self._in_turn(handler, event, None)

    async def replay(self, handler: Handler) -> None:
        """Deliver again the dead letters of this group that a person has ordered to be replayed."""
        now, looked = self.clock.now(), self._looked.get(handler.group)
        if looked is not None and now - looked < timedelta(seconds=REPLAY_POLL_S):
            return
        self._looked[handler.group] = now
        wanted = (
            select(DeadLetterRow)
            .where(DeadLetterRow.consumer == handler.group, DeadLetterRow.state == "replay")
            .order_by(DeadLetterRow.at, DeadLetterRow.id)
            .limit(REPLAY_BATCH)
        )
        async with self.database.reading() as session:
            letters = [letter_of(row) for row in (await session.execute(wanted)).scalars()]
        for letter in letters:
            await self._in_turn(handler, letter.event, letter)

    async def refuse(self, handler: Handler, event: Event, error: PermanentError) -> None:
        """Set an event aside that cannot even be read. Raises DatabaseAwayError as `deliver` does."""
        away_s = 0.0
        while not await self._set_aside(handler, event, error, 1, None):
            if away_s >= DATABASE_AWAY_MAX_S:
                raise DatabaseAwayError("the database stays away: an unreadable event could not be set aside")
            away_s += DATABASE_RETRY_S
            await self.clock.sleep(DATABASE_RETRY_S)

    async def _in_turn(self, handler: Handler, event: Event, letter: Letter | None) -> None:
        turn = self._turns.setdefault((handler.group, event.domain), asyncio.Lock())
        with structlog.contextvars.bound_contextvars(
            event_id=event.id, event_type=event.type, domain=event.domain, correlation=event.correlation
        ):
            async with turn:
                with handling(handler.group, event), HANDLER_SECONDS.labels(handler.group, event.type).time():
                    await self._until_done(handler, event, letter)

    async def _until_done(self, handler: Handler, event: Event, letter: Letter | None) -> None:
        attempts, away_s = 0, 0.0
        while True:
            try:
                await self._once(handler, event, letter)
            except DatabaseAwayError as error:
                if away_s >= DATABASE_AWAY_MAX_S:
                    raise
                if not away_s:
                    log.warning("the database is away: waiting for it", error=str(error))
                away_s += DATABASE_RETRY_S
                await self.clock.sleep(DATABASE_RETRY_S)
            except Exception as error:  # noqa: BLE001  (the bus carries on; the reason is kept)
                attempts += 1
                useless = isinstance(error, PermanentError) or attempts > len(RETRY_DELAYS_S)
                if useless and await self._set_aside(handler, event, error, attempts, letter):
                    return
                if not useless:
                    RETRIES.labels(handler.group).inc()
                    log.warning("event not handled, will be tried again", attempt=attempts, error=repr(error))
                await self.clock.sleep(RETRY_DELAYS_S[min(attempts, len(RETRY_DELAYS_S)) - 1])
            else:
                HANDLED.labels(handler.group, event.type, "done").inc()
                return

    async def _once(self, handler: Handler, event: Event, letter: Letter | None) -> None:
        if letter is None:
            async with self.database.reading() as session:
                if await session.get(InboxRow, (handler.group, event.id)) is not None:
                    return
        effect = await handler.handle(event)
        if effect is None and letter is None:
            return  # nothing to do once: that it comes again is no harm, and most events are for others
        async with self.database.writing() as transaction:
            if letter is not None and not await self._reopen(transaction, letter):
                return
            if await self._first_time(transaction, handler.group, event) and effect is not None:
                await effect(transaction)

    async def _reopen(self, transaction: Transaction, letter: Letter) -> bool:
        """The letter is replayed and its event unseen again; False if another process was faster."""
        ours = update(DeadLetterRow).where(DeadLetterRow.id == letter.id, DeadLetterRow.state == "replay")
        changed = await transaction.session.execute(ours.values(state="replayed").returning(DeadLetterRow.id))
        if changed.first() is None:
            return False
        seen = (InboxRow.consumer == letter.consumer, InboxRow.event == letter.event.id)
        await transaction.session.execute(delete(InboxRow).where(*seen))
        return True

    async def _first_time(self, transaction: Transaction, group: str, event: Event) -> bool:
        seen = select(InboxRow.event).where(InboxRow.consumer == group, InboxRow.event == event.id)
        if (await transaction.session.execute(seen)).first() is not None:
            return False
        transaction.session.add(InboxRow(consumer=group, event=event.id, at=self.clock.now()))
        await transaction.session.flush()  # a rival's insert of the same key ends this transaction here
        return True

    async def _set_aside(
        self, handler: Handler, event: Event, error: Exception, attempts: int, letter: Letter | None
    ) -> bool:
        """Keep the event with its reason and note it as seen; False if the database is away just now."""
        row = DeadLetterRow(
            id=id_of_effect(event.id, f"dead/{handler.group}"), consumer=handler.group,
            event=json.dumps(event_as_json(event)), reason=f"{type(error).__name__}: {error}",
            attempts=attempts + (letter.attempts if letter else 0), at=self.clock.now(), state="dead",
        )  # fmt: skip
        try:
            async with self.database.writing() as transaction:
                if letter is not None or await self._first_time(transaction, handler.group, event):
                    await transaction.session.merge(row)
                    if letter is None and event.type != DEAD_EVENT:  # a dead letter of a dead letter would never end
                        transaction.emit(self._dead_event(row, event))
        except DatabaseAwayError:
            return False
        DEAD_LETTERS.labels(handler.group).inc()
        HANDLED.labels(handler.group, event.type, "dead").inc()
        log.error(
            "event set aside: read the reason, mend the cause, then `restow dead replay`",
            reason=row.reason,
            dead_letter=row.id,
        )
        return True

    def _dead_event(self, row: DeadLetterRow, event: Event) -> Event:
        message = DeadLetter(
            id=row.id, consumer=row.consumer, event=event_as_json(event), reason=row.reason, attempts=row.attempts
        )
        return effect_of(event, DEAD_EVENT, message, source="restow/log", subject=row.id, time=row.at)
