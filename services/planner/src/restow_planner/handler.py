"""What the planner does with each event: reads, decides away from the loop, and returns what is to be written."""

import asyncio
import json
from datetime import timedelta
from typing import Literal

import structlog

from restow.cloud.changes import changed
from restow.cloud.model import Cloud
from restow.cloud.snapshot import dump_cloud
from restow.database.documents import Packed, pack, put_document
from restow.database.engine import Transaction
from restow.errors import BadInputError, NotFoundError, PermanentError, TransientError
from restow.ids import DomainName, digest_of
from restow.log.port import Effect
from restow.messages.base import Message
from restow.messages.events import (
    Event,
    PlanOrder,
    PlanProposed,
    PlanRequest,
    PlanRequested,
    PlanState,
    PolicyPut,
    Refusal,
    StepEvent,
    Topic,
    decode,
    effect_of,
)
from restow.messages.plan import MOVES, Outcome, Plan
from restow.messages.request import AnyRequest, Changes, Mode
from restow.policy import parse_policy
from restow.runtime.service import Context
from restow_planner import store
from restow_planner.guards import Facts, Stop, first_stop
from restow_planner.guards.base import is_optional
from restow_planner.guards.cool_down import GUARD as COOL_DOWN
from restow_planner.guards.cool_down import cooling, longest_s, with_pins
from restow_planner.plan import plan_for
from restow_planner.what_if import plan_if

SOURCE = "restow/planner"
READ_DELAYS_S = (2.0, 5.0)  # then the story ends: the cloud cannot be read
NAMES_SHOWN_MAX = 20

log = structlog.get_logger(__name__)

_AFTERWARDS = {"started": "running", "resumed": "running"}
_FOLLOWED = frozenset({"started", "paused", "resumed", "cancelled", "stale", "finished", "failed"})


class PlannerHandler:
    """Group `planner`. One request, one answer: an answer that is no plan is an answer as well."""

    group = "planner"
    topics = frozenset({Topic.COMMANDS, Topic.HEALING})

    def __init__(self, context: Context) -> None:
        self._context = context

    async def handle(self, event: Event) -> Effect | None:
        family, _, verb = event.type.rpartition(".")
        if event.type == "restow.command.plan.request":
            message = decode(event)
            assert isinstance(message, PlanRequest)
            return await self._request(event, message)
        if family == "restow.command.plan" and verb in ("approve", "reject", "cancel"):
            order = decode(event)
            assert isinstance(order, PlanOrder)
            return self._order(event, order, verb)
        if event.type == "restow.command.policies.put":
            return self._policy(event)
        if event.type == "restow.step.finished":
            return self._moved(event)
        if family == "restow.plan" and verb in _FOLLOWED and event.source != SOURCE:
            return self._follow(event, _AFTERWARDS.get(verb, verb))
        return None

    # --- a request ------------------------------------------------------------------------

    async def _request(self, event: Event, message: PlanRequest) -> Effect | None:
        if await store.known_plan(self._context.database, message.plan) is not None:
            log.info("plan was asked for before: the first request counts", plan_id=message.plan)
            return None
        answer = await self._answer(event, message)
        story = _Story(self._context, event, message)
        match answer:
            case Stop():
                log.warning("nothing is planned", plan_id=message.plan, guard=answer.guard, why=answer.why)
                return story.stopped(answer)
            case (Plan() as plan, Packed() as snapshot, tuple() as pinned):
                log.info(
                    "plan made", plan_id=plan.id, goal=plan.request.goal, outcome=plan.outcome.value,
                    steps=len(plan.steps), blockers=len(plan.blockers), solve_s=plan.solve_s, why=plan.why,
                )  # fmt: skip
                return story.planned(plan, snapshot, pinned)

    async def _answer(self, event: Event, message: PlanRequest) -> Stop | tuple[Plan, Packed, tuple[str, ...]]:
        context = self._context
        cloud = await self._read(event.domain)
        if isinstance(cloud, Stop):
            return cloud
        cool_down_s = await store.cool_down_s(context.database)
        now = context.clock.now()
        since = now - timedelta(seconds=longest_s(cloud, cool_down_s))
        facts = Facts(
            request=message.request,
            cloud=cloud,
            now=now,
            open_optional=await store.open_optional(context.database, event.domain, besides=message.replaces),
            moved_at=await store.moved_at(context.database, event.domain, since=since),
            cool_down_s=cool_down_s,
        )
        stop = first_stop(facts)
        if stop is not None:
            return stop
        pinned = cooling(facts)
        request = with_pins(message.request, pinned)
        if request == message.request:
            pinned = ()
        if message.changes is not None:
            request = request.model_copy(update={"mode": Mode.DRY_RUN})
        try:
            began_s = asyncio.get_running_loop().time()  # not the clock's: on a fast clock solving takes no longer
            plan, snapshot = await context.blocking(lambda: _planned(cloud, message.changes, request, message.plan))
            seconds = asyncio.get_running_loop().time() - began_s
        except BadInputError as error:
            return Stop("request", str(error))
        return plan.model_copy(update={"solve_s": round(seconds, 3)}), snapshot, pinned

    async def _read(self, domain: str) -> Cloud | Stop:
        """The cloud now; a few tries, then the reason: a story that is asked for also ends."""
        why = ""
        for delay_s in (*READ_DELAYS_S, None):
            try:
                return await self._context.clouds.port(DomainName(domain)).read()
            except NotFoundError as error:
                return Stop("known-domain", f"domain {domain} is not looked after here: {error}")
            except PermanentError as error:
                return Stop("readable-cloud", f"the cloud cannot be read: {error}")
            except TransientError as error:
                why = str(error)
            if delay_s is not None:
                await self._context.clock.sleep(delay_s)
        return Stop("readable-cloud", f"the cloud cannot be read: {why}")

    # --- orders, and what came of plans ---------------------------------------------------

    def _order(self, event: Event, order: PlanOrder, verb: str) -> Effect:
        state = {"approve": "approved", "reject": "rejected", "cancel": "cancelled"}[verb]
        now = self._context.clock.now()

        async def effect(transaction: Transaction) -> None:
            row = await store.locked_plan(transaction, order.plan)
            if row is not None and row.state == "proposed":
                row.state, row.decided_by, row.changed_at = state, order.by, now
                message = PlanState(
                    plan=row.id, by=order.by, why=order.why, document=row.document, incident=row.incident,
                    goal=row.goal, mode=row.mode,
                )  # fmt: skip
                transaction.emit(
                    effect_of(event, f"restow.plan.{state}", message, source=SOURCE, subject=row.id, time=now)
                )
                return
            if verb == "cancel" and row is not None and row.state in store.OPEN_STATES:
                return  # it was approved: the executor's business
            why = f"there is no plan {order.plan}" if row is None else f"plan {row.id} is {row.state}, not proposed"
            refusal = Refusal(
                what=f"{verb} by {order.by}", guard="plan-state", why=why, plan=order.plan,
                incident=None if row is None else row.incident,
            )  # fmt: skip
            transaction.emit(effect_of(event, "restow.refusal", refusal, source=SOURCE, subject=order.plan, time=now))

        return effect

    def _policy(self, event: Event) -> Effect | None:
        message = decode(event)
        assert isinstance(message, PolicyPut)
        try:
            policy = parse_policy(message.document)
        except BadInputError:
            return None  # the detector refuses it aloud; the one in force stays
        now = self._context.clock.now()

        async def effect(transaction: Transaction) -> None:
            await store.put_policy(
                transaction, server_cool_down_s=policy.execution.server_cool_down_s, event=event.id, at=now
            )

        return effect

    def _moved(self, event: Event) -> Effect | None:
        step = decode(event)
        assert isinstance(step, StepEvent)
        if step.server is None or step.action not in MOVES:
            return None
        server = step.server

        async def effect(transaction: Transaction) -> None:
            await store.note_move(transaction, domain=event.domain, server=server, plan=step.plan, at=event.time)

        return effect

    def _follow(self, event: Event, state: str) -> Effect:
        message = decode(event)
        assert isinstance(message, PlanState)
        now = self._context.clock.now()

        async def effect(transaction: Transaction) -> None:
            row = await store.locked_plan(transaction, message.plan)
            if row is not None and row.state in store.OPEN_STATES:
                row.state, row.changed_at = state, now
                row.why = (message.why or row.why)[: store.WHY_LENGTH]

        return effect


PlanVerb = Literal["approved", "finished", "failed"]


def _planned(cloud: Cloud, changes: Changes | None, request: AnyRequest, plan_id: str) -> tuple[Plan, Packed]:
    """The plan and, packed, what it was made from; all of it away from the event loop."""
    if changes is None:
        return plan_for(cloud, request, plan_id=plan_id), pack(dump_cloud(cloud))
    plan = plan_if(cloud, changes, request, plan_id=plan_id)
    return plan, pack(dump_cloud(changed(cloud, changes)))


class _Story:
    """What one request writes: its row, its documents, its events; all in one transaction."""

    def __init__(self, context: Context, event: Event, message: PlanRequest) -> None:
        self._event, self._message = event, message
        self._now = context.clock.now()
        self._row = store.PlanRow(
            id=message.plan, domain=event.domain, state="proposed", goal=message.request.goal,
            mode=message.request.mode.value, optional=int(is_optional(message.request)), outcome=None, document=None,
            snapshot=None, incident=message.incident, replaces=message.replaces, requested_by=message.requested_by,
            decided_by=None, why="", created_at=self._now, changed_at=self._now,
        )  # fmt: skip

    def stopped(self, stop: Stop) -> Effect:
        """No plan was made: the request, the refusal, and the end of the story."""

        async def effect(transaction: Transaction) -> None:
            if await store.locked_plan(transaction, self._message.plan) is not None:
                return
            refusal = Refusal(
                what=f"a plan to {self._message.request.goal}", guard=stop.guard, why=stop.why,
                plan=self._message.plan, incident=self._message.incident,
            )  # fmt: skip
            transaction.emit(self._requested(), self._emitted("restow.refusal", refusal))
            self._end(transaction, "failed", stop.why)
            transaction.session.add(self._row)

        return effect

    def planned(self, plan: Plan, snapshot: Packed, pinned: tuple[str, ...]) -> Effect:
        document = json.dumps(plan.dump(), separators=(",", ":"), ensure_ascii=False).encode()

        async def effect(transaction: Transaction) -> None:
            if await store.locked_plan(transaction, plan.id) is not None:
                return
            row = self._row
            row.snapshot = await put_document(transaction, snapshot, kind="restow.cloud/1", at=self._now)
            row.document = await put_document(transaction, document, kind="restow.plan/1", at=self._now)
            row.outcome, row.mode, row.why = plan.outcome.value, plan.request.mode.value, plan.why[: store.WHY_LENGTH]
            assert row.snapshot == plan.snapshot
            transaction.emit(self._requested())
            if pinned:
                transaction.emit(self._emitted("restow.refusal", self._cooling(pinned)))
            transaction.emit(self._emitted("restow.plan.proposed", self._proposed(plan, digest_of(document))))
            ending = _ending(plan, self._message)
            if ending is not None:
                self._end(transaction, *ending)
            transaction.session.add(row)

        return effect

    def _requested(self) -> Event:
        message = self._message
        return self._emitted(
            "restow.plan.requested",
            PlanRequested(
                plan=message.plan, request=message.request, requested_by=message.requested_by,
                incident=message.incident, replaces=message.replaces, attempt=message.attempt,
            ),
        )  # fmt: skip

    def _proposed(self, plan: Plan, digest: str) -> PlanProposed:
        return PlanProposed(
            plan=plan.id, outcome=plan.outcome.value, mode=plan.request.mode.value, document=digest,
            snapshot=plan.snapshot, goal=plan.request.goal, steps=len(plan.steps), moved_mib=plan.moved_mib,
            makespan_s=plan.makespan_s, blockers=len(plan.blockers), why=plan.why, incident=self._message.incident,
        )  # fmt: skip

    def _cooling(self, pinned: tuple[str, ...]) -> Refusal:
        shown = ", ".join(pinned[:NAMES_SHOWN_MAX]) + (" …" if len(pinned) > NAMES_SHOWN_MAX else "")
        return Refusal(
            what=f"moving {len(pinned)} servers", guard=COOL_DOWN, why=f"moved a short while ago: {shown}",
            plan=self._message.plan, incident=self._message.incident,
        )  # fmt: skip

    def _end(self, transaction: Transaction, verb: PlanVerb, why: str, by: str = "planner") -> None:
        row = self._row
        row.state, row.why = verb, why[: store.WHY_LENGTH]
        row.decided_by = by
        message = PlanState(
            plan=row.id, by=by, why=why, document=row.document, incident=row.incident, goal=row.goal, mode=row.mode
        )
        transaction.emit(self._emitted(f"restow.plan.{verb}", message))

    def _emitted(self, event_type: str, message: Message) -> Event:
        return effect_of(self._event, event_type, message, source=SOURCE, subject=self._message.plan, time=self._now)


def _ending(plan: Plan, request: PlanRequest) -> tuple[PlanVerb, str, str] | None:
    """How the planner itself ends or approves the story; None: it waits for a person."""
    if plan.outcome is Outcome.NOTHING_TO_DO:
        return "finished", plan.why or "nothing to do", "planner"
    if not plan.steps:
        why = plan.why or next((one.why for one in plan.blockers), plan.outcome.value)
        return "failed", f"{plan.outcome.value}: {why}", "planner"
    if plan.request.mode is Mode.DRY_RUN:
        kind = "dry run" if request.changes is None else "what if, on a changed cloud"
        return "finished", f"{kind}: {plan.why}", "planner"
    if request.approved_by is not None:
        return "approved", f"approved by {request.approved_by}", request.approved_by
    if plan.request.mode is Mode.AUTO:
        return "approved", "the policy lets it run", "policy"
    return None
