"""One event to one handler: inbox, effect, bounded retry, dead letter. The only place that catches to carry on."""

import asyncio
import itertools
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeVar
from weakref import WeakValueDictionary

import structlog
from sqlalchemy import delete, select, update

from restow.clock import Clock
from restow.database.engine import Database, DatabaseAwayError, DatabaseRefusesError, Transaction
from restow.database.patience import Patience
from restow.database.tables import DeadLetterRow, InboxRow
from restow.errors import PermanentError
from restow.ids import id_of_effect
from restow.log.dead import Letter, event_as_json, letter_of
from restow.log.port import Handler
from restow.messages.events import DeadLetter, Event, effect_of
from restow.metrics import DEAD_LETTERS, HANDLED, HANDLER_SECONDS, RETRIES
from restow.tracing import handling

RETRY_DELAYS_S = (1.0, 2.0, 5.0, 10.0, 30.0)
DATABASE_RETRY_S = 1.0
REPLAY_POLL_S = 1.0
REPLAY_BATCH = 20
DEAD_EVENT = "restow.dead"

log = structlog.get_logger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Delivery:
    """How events reach a handler: exactly one effect each, or a dead letter with the reason.

    A handler never has two events of one domain at hand, whichever topics they come from. While the database is
    away an event waits, for as long as it takes or until `stopping`.
    """

    database: Database
    clock: Clock
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    _turns: WeakValueDictionary[tuple[str, str], asyncio.Lock] = field(default_factory=WeakValueDictionary)
    _looked: dict[str, datetime] = field(default_factory=dict)

    async def deliver(self, handler: Handler, event: Event) -> None:
        """Return when the event has had its effect, had it before, or was set aside.

        Raises DatabaseAwayError when the database is away and we are `stopping`: the caller must not move its
        offset, so that nothing is lost. Raises DatabaseRefusesError.
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
        await self.patiently(lambda: self._set_aside(handler, event, error, 1, None))

    async def patiently(self, work: Callable[[], Awaitable[T]]) -> T:
        """Try until the database answers. Raises DatabaseAwayError when it is away and we are `stopping`."""
        patience = Patience("the database", self.clock, DATABASE_RETRY_S)
        while True:
            try:
                done = await work()
            except DatabaseAwayError as error:
                if self.stopping.is_set():
                    raise
                await patience.pause(error)
            else:
                patience.over()
                return done

    async def _in_turn(self, handler: Handler, event: Event, letter: Letter | None) -> None:
        turn = self._turns.setdefault((handler.group, event.domain), asyncio.Lock())
        with structlog.contextvars.bound_contextvars(
            event_id=event.id, event_type=event.type, domain=event.domain, correlation=event.correlation
        ):
            async with turn:
                with handling(handler.group, event), HANDLER_SECONDS.labels(handler.group, event.type).time():
                    await self._until_done(handler, event, letter)

    async def _until_done(self, handler: Handler, event: Event, letter: Letter | None) -> None:
        for attempt in itertools.count(1):
            try:
                await self.patiently(lambda: self._once(handler, event, letter))
            except (DatabaseAwayError, DatabaseRefusesError):
                raise  # the event stays where it is: nothing is known of it but that it waits
            except Exception as error:  # noqa: BLE001  (the bus carries on; the reason is kept)
                reason = error
            else:
                HANDLED.labels(handler.group, event.type, "done").inc()
                return
            if isinstance(reason, PermanentError) or attempt > len(RETRY_DELAYS_S):
                break
            RETRIES.labels(handler.group).inc()
            log.warning("event not handled, will be tried again", attempt=attempt, error=repr(reason))
            await self.clock.sleep(RETRY_DELAYS_S[attempt - 1])
        await self.patiently(lambda: self._set_aside(handler, event, reason, attempt, letter))

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
    ) -> None:
        """Keep the event with its reason and note it as seen. Raises DatabaseAwayError."""
        row = DeadLetterRow(
            id=id_of_effect(event.id, f"dead/{handler.group}"), consumer=handler.group,
            event=json.dumps(event_as_json(event)), reason=f"{type(error).__name__}: {error}",
            attempts=attempts + (letter.attempts if letter else 0), at=self.clock.now(), state="dead",
        )  # fmt: skip
        async with self.database.writing() as transaction:
            if letter is not None or await self._first_time(transaction, handler.group, event):
                await transaction.session.merge(row)
                if letter is None and event.type != DEAD_EVENT:  # a dead letter of a dead letter would never end
                    transaction.emit(self._dead_event(row, event))
        DEAD_LETTERS.labels(handler.group).inc()
        HANDLED.labels(handler.group, event.type, "dead").inc()
        log.error(
            "event set aside: read the reason, mend the cause, then `restow dead replay`",
            reason=row.reason,
            dead_letter=row.id,
        )

    def _dead_event(self, row: DeadLetterRow, event: Event) -> Event:
        message = DeadLetter(
            id=row.id, consumer=row.consumer, event=event_as_json(event), reason=row.reason, attempts=row.attempts
        )
        return effect_of(event, DEAD_EVENT, message, source="restow/log", subject=row.id, time=row.at)
