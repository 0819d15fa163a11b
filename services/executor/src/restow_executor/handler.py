"""What the executor hears: approved plans become runs, orders change them, maintenance becomes a chore."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from graphlib import CycleError, TopologicalSorter

from sqlalchemy import event as sqlalchemy_event

from restow.database.documents import get_document
from restow.database.engine import Transaction
from restow.errors import BadInputError, NotFoundError, PermanentError
from restow.ids import id_of_effect
from restow.log.port import Effect
from restow.messages.base import read_own
from restow.messages.events import Event, HostMaintenance, PlanOrder, PlanState, PolicyPut, Topic, decode
from restow.messages.plan import Action, Plan, Step
from restow.policy import parse_policy
from restow.runtime.service import Context
from restow_executor.follow_up import way_back
from restow_executor.journal import (
    Order,
    after_others,
    in_place_of,
    locked_run,
    open_run,
    orders_for,
    put_policy,
    remember_order,
    set_state,
    story_of,
)
from restow_executor.progress import RunSignal, RunState, run_after
from restow_executor.records import Cause, RunRecord, event_of, plan_event, refusal_event

ORDERS = {
    "restow.command.plan.cancel": "cancel",
    "restow.command.plan.pause": "pause",
    "restow.command.plan.resume": "resume",
    "restow.command.plan.undo": "undo",
}
SIGNALS = {"cancel": RunSignal.CANCEL, "pause": RunSignal.PAUSE, "resume": RunSignal.RESUME}
TOLD = {"pause": "paused", "resume": "resumed"}  # a cancelled run says so when it has come to rest


@dataclass(frozen=True, slots=True)
class ExecutorHandler:
    """`wake` tells the driver that there is something new in a domain."""

    context: Context
    wake: Callable[[str], None]
    group: str = "executor"
    topics: frozenset[Topic] = frozenset({Topic.HEALING, Topic.COMMANDS})

    async def handle(self, event: Event) -> Effect | None:
        match event.type:
            case "restow.plan.approved":
                return await self._approved(event)
            case "restow.command.host.maintenance":
                return self._maintenance(event)
            case "restow.command.policies.put":
                return self._policy(event)
            case _ if event.type in ORDERS:
                return self._order(event, ORDERS[event.type])
            case _:
                return None

    async def _approved(self, event: Event) -> Effect:
        state = decode(event)
        assert isinstance(state, PlanState)
        if state.document is None:
            raise PermanentError(f"plan {state.plan} was approved without its document")
        try:
            plan = read_own(Plan, await get_document(self.context.database, state.document))
        except ValueError as error:
            raise PermanentError(f"plan {state.plan} cannot be read: {error}") from error
        _checked(plan)
        run = RunRecord(
            id=plan.id, kind="plan", domain=event.domain, state=RunState.WAITING, cause=_cause(event),
            created_at=event.time, subject=plan.id, goal=plan.request.goal, mode=plan.request.mode.value,
            incident=state.incident, document=state.document, request=plan.request, by=state.by,
            planned_at=await self._planned_at(plan),
        )  # fmt: skip

        async def effect(transaction: Transaction) -> None:
            await self._open(transaction, run, plan.steps)

        return effect

    async def _planned_at(self, plan: Plan) -> datetime | None:
        """When the snapshot was taken. A recovery is not held up by this: each of its steps looks for itself."""
        if plan.request.goal == "recover":
            return None
        try:
            body = await get_document(self.context.database, plan.snapshot)
        except NotFoundError:
            return None
        snapshot = await self.context.blocking(lambda: json.loads(body))
        return datetime.fromisoformat(snapshot["taken_at"])

    async def _open(self, transaction: Transaction, run: RunRecord, steps: tuple[Step, ...]) -> None:
        """The run, in the state that orders which came before it have left it."""
        run = await in_place_of(transaction, run)
        opened = await open_run(transaction, run, steps)
        if opened:
            for order in await orders_for(transaction, run.id):
                if order.verb in SIGNALS:
                    run = await self._obey(transaction, run, order)
        self._wake_after_commit(transaction, run.domain)

    async def _obey(self, transaction: Transaction, run: RunRecord, order: Order) -> RunRecord:
        after = run_after(run.state, SIGNALS[order.verb])
        if after is run.state:
            self._refuse(transaction, run, order, f"the plan is {run.state.value}")
            return run
        await set_state(transaction, run.id, after, why=order.why)
        run = replace(run, state=after, why=order.why)
        if order.verb in TOLD:
            effect = f"{order.verb}/{order.event}"
            transaction.emit(
                plan_event(run, TOLD[order.verb], by=order.by, why=order.why, at=order.at, cause=order.event,
                           effect=effect)
            )  # fmt: skip
        return run

    def _order(self, event: Event, verb: str) -> Effect:
        message = decode(event)
        assert isinstance(message, PlanOrder)
        at = self.context.clock.now()
        order = Order(message.plan, verb, message.by, message.why, event.id, at)

        async def effect(transaction: Transaction) -> None:
            run = await locked_run(transaction, order.plan)
            if verb == "undo":
                await self._undo(transaction, event, run, order)
            elif run is None:
                await remember_order(transaction, order)  # the approval comes on another topic, perhaps later
            else:
                if verb == "cancel" and not run.state.ended:
                    await remember_order(transaction, order)  # who and why, for the event at the end
                await self._obey(transaction, run, order)
            self._wake_after_commit(transaction, event.domain)

        return effect

    async def _undo(self, transaction: Transaction, event: Event, run: RunRecord | None, order: Order) -> None:
        if run is None:
            unknown = RunRecord(
                id=order.plan, kind="plan", domain=event.domain, state=RunState.WAITING, cause=_cause(event),
                created_at=order.at, subject=order.plan,
            )  # fmt: skip
            self._refuse(transaction, unknown, order, "it was never carried out")
            return
        if not run.state.ended:  # it is stopped first; its end begins the way back
            await remember_order(transaction, order)
            if run.state is not RunState.CANCELLING:
                await remember_order(transaction, replace(order, verb="cancel", why="to be undone"))
                await self._obey(transaction, run, replace(order, verb="cancel", why="to be undone"))
            return
        await begin_undo(transaction, run, order, at=order.at)

    def _maintenance(self, event: Event) -> Effect:
        message = decode(event)
        assert isinstance(message, HostMaintenance)
        action = Action.DISABLE_HOST if message.on else Action.ENABLE_HOST
        why = message.reason or ("maintenance" if message.on else "maintenance is over")
        step = Step(id="s1", action=action, host=message.host, why=why)
        run = RunRecord(
            id=id_of_effect(event.id, "maintenance"), kind="chore", domain=event.domain, state=RunState.WAITING,
            cause=_cause(event), created_at=event.time, subject=message.host, goal="maintenance", by=message.by,
            why=why,
        )  # fmt: skip

        async def effect(transaction: Transaction) -> None:
            created_at = await after_others(transaction, message.host, self.context.clock.now())
            await open_run(transaction, replace(run, created_at=created_at), (step,))
            self._wake_after_commit(transaction, run.domain)

        return effect

    def _policy(self, event: Event) -> Effect | None:
        message = decode(event)
        assert isinstance(message, PolicyPut)
        try:
            policy = parse_policy(message.document)
        except BadInputError:
            return None  # the detector refuses it aloud; the one in force stays
        at = self.context.clock.now()

        async def effect(transaction: Transaction) -> None:
            await put_policy(transaction, policy, at=at)

        return effect

    def _refuse(self, transaction: Transaction, run: RunRecord, order: Order, why: str) -> None:
        what = f"{order.verb} plan {order.plan}"
        transaction.emit(
            refusal_event(run, what=what, guard="plan-state", why=why, at=order.at, effect=f"order/{order.event}")
        )

    def _wake_after_commit(self, transaction: Transaction, domain: str) -> None:
        """At the commit, not before: the driver must find what it is woken for."""
        session = transaction.session.sync_session

        def wake(_session: object) -> None:
            self.wake(domain)

        sqlalchemy_event.listen(session, "after_commit", wake, once=True)


async def begin_undo(transaction: Transaction, run: RunRecord, order: Order, *, at: datetime) -> None:
    """Hosts that the run switched are switched back as a chore; then the planner is asked for the way back."""
    back = way_back(run, await story_of(transaction, run.id), by=order.by)
    if back.request is None and not back.hosts:
        transaction.emit(
            refusal_event(run, what=f"undo plan {run.id}", guard="plan-state", why="nothing was moved", at=at,
                          effect=f"order/{order.event}")
        )  # fmt: skip
        return
    if not back.hosts and back.request is not None:
        transaction.emit(
            event_of(run, "restow.command.plan.request", back.request, subject=back.request.plan, at=at, effect="undo",
                     cause=order.event)
        )  # fmt: skip
        return
    chore = RunRecord(
        id=id_of_effect(run.id, "undo-chore"), kind="chore", domain=run.domain, state=RunState.WAITING,
        cause=Cause(order.event, run.cause.correlation, run.cause.traceparent), created_at=at, subject=run.id,
        goal="undo", request=None if back.request is None else back.request.request, by=order.by,
        why=f"undo of plan {run.id}",
    )  # fmt: skip
    await open_run(transaction, chore, back.hosts)


def _cause(event: Event) -> Cause:
    return Cause(event.id, event.correlation, event.traceparent)


def _checked(plan: Plan) -> None:
    """A plan that could never end is not begun."""
    known = {step.id for step in plan.steps}
    edges = {step.id: {edge.step for edge in step.waits_for} for step in plan.steps}
    unknown = sorted({waited for waits in edges.values() for waited in waits} - known)
    if unknown or len(known) != len(plan.steps):
        raise PermanentError(f"plan {plan.id}: steps wait for {', '.join(unknown) or 'twice-named steps'}")
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        raise PermanentError(f"plan {plan.id}: steps wait for each other: {error.args[1]}") from error
