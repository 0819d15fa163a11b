"""What people may ask for, whoever carries it in (HTTP API or console): checked, written, emitted, audited.

A request, its row in the read view, its line in the audit and its command event are one transaction.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial

from sqlalchemy import delete, select

from restow.clock import Clock, SystemClock
from restow.cloud.changes import changed
from restow.cloud.port import FAULTS, FaultInjection
from restow.database.engine import Database, Transaction
from restow.database.tables import EventRow
from restow.errors import BadInputError, FieldError, NotFoundError
from restow.ids import HostName, id_of_effect
from restow.messages.base import Message
from restow.messages.events import (
    Event,
    HostMaintenance,
    IncidentOrder,
    PlanOrder,
    PlanRequest,
    PolicyPut,
    Signal,
    first_event,
)
from restow.messages.request import AnyRequest, Changes, Mode
from restow.policy import Policy
from restow.runtime.service import Context
from restow_api import reading
from restow_api.checking import check_request
from restow_api.clouds import CloudReads
from restow_api.folding import acknowledge, new_plan_view, undo_plan_id, why_not
from restow_api.keys import Principal, Role
from restow_api.maintenance import hosts_in_maintenance
from restow_api.policies import keep_policy, policy_in_force, version_of
from restow_api.present import plan_summary
from restow_api.problems import ProblemError
from restow_api.settings import ApiSettings
from restow_api.store import AuditRow, IdempotencyRow, IncidentViewRow, PlanViewRow, SessionRow

SOURCE = "restow/api"
OPPOSITE = {"approve": "reject", "reject": "approve"}  # of two orders at the same time the first counts
IDS_AT_ONCE = 500  # databases bound the number of parameters


@dataclass(frozen=True, slots=True)
class Asked:
    """How a request came in: who asks, and what ties it to the caller's own story."""

    who: Principal
    traceparent: str | None = None
    idempotency_key: str | None = None


@dataclass(slots=True)
class Front:
    """`wall` ages what browsers and callers hold on to: it must not end sooner where simulated time runs faster."""

    context: Context
    settings: ApiSettings
    wall: Clock = field(default_factory=SystemClock)
    clouds: CloudReads = field(init=False)
    stopping: bool = False
    streams: int = 0

    def __post_init__(self) -> None:
        ordered = partial(hosts_in_maintenance, self.context.database)
        self.clouds = CloudReads(self.context.clouds, self.settings.cloud_cache_s, ordered)

    @property
    def database(self) -> Database:
        return self.context.database

    @property
    def clock(self) -> Clock:
        return self.context.clock

    # --- plans ---------------------------------------------------------------------------------

    async def submit(self, asked: Asked, request: AnyRequest, changes: Changes | None = None) -> dict[str, object]:
        """Ask for a plan; the stored plan in state requested, or what an idempotency key answered before.

        Raises ProblemError (403, 409), BadInputError.
        """
        digest = _digest_of(request, changes)
        before = await self._answered(asked, digest)
        if before is not None:
            return before
        await self._check_mode(asked.who, request)
        domain = self.clouds.domain(request.domain, where="domain" if changes is None else "request.domain")
        cloud = changed(await self.clouds.read(domain), changes)
        failed = await reading.failed_hosts(self.database, domain) if changes is None else frozenset()
        check_request(request, cloud, prefix="" if changes is None else "request.", failed=failed)
        plan = self.context.new_id()
        # whoever may let a plan run by itself has approved it by asking so
        approved_by = asked.who.name if request.mode is Mode.AUTO else None
        message = PlanRequest(
            plan=plan, request=request, requested_by=asked.who.name, approved_by=approved_by, changes=changes
        )
        event = self._event(asked, "restow.command.plan.request", message, domain=domain, subject=plan, story=plan)
        async with self.database.writing() as transaction:
            view = new_plan_view(message, event)
            answer = plan_summary(view)
            if asked.idempotency_key is not None:
                held = await transaction.session.get(IdempotencyRow, (asked.who.key, asked.idempotency_key))
                if held is not None:
                    return _same_answer(held, digest)
                transaction.session.add(
                    IdempotencyRow(caller=asked.who.key, key=asked.idempotency_key, digest=digest, plan=plan,
                                   body=json.dumps(answer), at=self.wall.now())
                )  # fmt: skip
            transaction.session.add(view)
            self._audit(transaction, asked.who, "plan.request", event, why=request.reason)
            transaction.emit(event)
        return answer

    async def order(self, asked: Asked, plan: str, verb: str, *, why: str = "") -> PlanViewRow:
        """Approve, reject, cancel, pause, resume or undo. Raises ProblemError (403, 409), NotFoundError."""
        view = await reading.plan_view(self.database, plan)
        reason = why_not(verb, view)
        if reason is not None:
            await self.audit_refusal(asked.who, action=f"plan.{verb}", subject=plan, why=reason, domain=view.domain)
            raise ProblemError(409, reason)
        if verb == "approve" and self.settings.second_pair_of_eyes and view.created_by == asked.who.name:
            reason = "a second pair of eyes is asked for: whoever asked for a plan does not approve it"
            await self.audit_refusal(asked.who, action="plan.approve", subject=plan, why=reason, domain=view.domain)
            raise ProblemError(403, reason)
        # decided once, whoever clicks twice; what may be done again has a new id each time
        once = verb in ("approve", "reject", "undo")
        event = self._event(
            asked, f"restow.command.plan.{verb}", PlanOrder(plan=plan, by=asked.who.name, why=why),
            domain=view.domain, subject=plan, story=view.correlation,
            id=id_of_effect(plan, f"command/{verb}") if once else None,
        )  # fmt: skip
        async with self.database.writing() as transaction:
            held = await transaction.session.get(PlanViewRow, plan, with_for_update=True)
            other = OPPOSITE.get(verb)
            decided = other is not None and await _is_in_log(transaction, id_of_effect(plan, f"command/{other}"))
            if verb == "undo":
                view.undone_by = undo_plan_id(plan)
                if held is not None:
                    held.undone_by = view.undone_by
            if not decided:
                self._audit(transaction, asked.who, f"plan.{verb}", event, why=why)
                transaction.emit(event)
        if decided:
            reason = f"somebody else asked to {other} this plan at the same time, and was first"
            await self.audit_refusal(asked.who, action=f"plan.{verb}", subject=plan, why=reason, domain=view.domain)
            raise ProblemError(409, reason)
        return view

    async def _check_mode(self, who: Principal, request: AnyRequest) -> None:
        if request.mode is not Mode.AUTO:
            return
        if not who.role.covers(Role.APPROVER):
            why = f"mode auto needs the role approver; {who.name} is {who.role}: use mode propose"
        elif self.settings.second_pair_of_eyes:
            why = "a second pair of eyes is asked for: use mode propose, and have it approved"
        else:
            return
        await self.audit_refusal(who, action="plan.request", subject=request.goal, why=why, domain=request.domain or "")
        raise ProblemError(403, why)

    async def _answered(self, asked: Asked, digest: str) -> dict[str, object] | None:
        if asked.idempotency_key is None:
            return None
        async with self.database.reading() as session:
            held = await session.get(IdempotencyRow, (asked.who.key, asked.idempotency_key))
        oldest = self.wall.now() - timedelta(seconds=self.settings.idempotency_kept_s)
        return None if held is None or held.at < oldest else _same_answer(held, digest)

    # --- incidents, hosts, policy, faults ---------------------------------------------------------

    async def incident_order(self, asked: Asked, incident: str, verb: str, *, why: str = "") -> IncidentViewRow:
        """Acknowledge or close. Raises ProblemError (409), NotFoundError."""
        view = await reading.incident_view(self.database, incident)
        if view.state == "closed":
            reason = f"the incident is closed already: {view.outcome}"
            await self.audit_refusal(asked.who, action=f"incident.{verb}", subject=incident, why=reason)
            raise ProblemError(409, reason)
        event = self._event(
            asked, f"restow.command.incident.{verb}", IncidentOrder(incident=incident, by=asked.who.name, why=why),
            domain=view.domain, subject=incident, story=incident,
        )  # fmt: skip
        async with self.database.writing() as transaction:
            if verb == "acknowledge":
                held = await transaction.session.get(IncidentViewRow, incident, with_for_update=True)
                for one in (view, held):
                    if one is not None:
                        acknowledge(one, by=asked.who.name, at=event.time, event=event.id)
            self._audit(transaction, asked.who, f"incident.{verb}", event, why=why)
            transaction.emit(event)
        return view

    async def maintenance(self, asked: Asked, host: str, *, on: bool, reason: str = "") -> Event:
        """Healing off and the host emptied, or back in service. Raises NotFoundError."""
        cloud, _ = await self.clouds.host(host)
        event = self._event(
            asked, "restow.command.host.maintenance",
            HostMaintenance(host=host, on=on, by=asked.who.name, reason=reason), domain=cloud.domain, subject=host,
        )  # fmt: skip
        async with self.database.writing() as transaction:
            self._audit(transaction, asked.who, f"host.maintenance.{'on' if on else 'off'}", event, why=reason)
            transaction.emit(event)
        return event

    def check_policy(self, policy: Policy) -> None:
        """Whether it fits this installation. Raises BadInputError."""
        domains = set(self.context.clouds.domains())
        wrong = [
            FieldError(f"rules.{index}.scope.domains.{place}", name, "one of " + ", ".join(sorted(domains)))
            for index, rule in enumerate(policy.rules)
            for place, name in enumerate(rule.scope.domains)
            if name not in domains
        ]
        if wrong:
            raise BadInputError("policy", tuple(wrong))

    async def put_policy(self, asked: Asked, policy: Policy, *, if_match: str | None = None) -> Policy:
        """Raises BadInputError, and ProblemError (412) if another policy than `if_match` is in force."""
        self.check_policy(policy)
        in_force = version_of(await policy_in_force(self.database))
        if if_match not in (None, "*", in_force):
            raise ProblemError(412, f"the policy in force is another: its ETag is {in_force}; read it and try again")
        message = PolicyPut(document=policy.written(), by=asked.who.name)
        domains_in_order = self.context.clouds.domains()
        events = [
            self._event(asked, "restow.command.policies.put", message, domain=domain, subject="policy")
            for domain in domains_in_order[:1]
        ]
        async with self.database.writing() as transaction:
            for event in events:
                document = json.dumps(message.document)
                await keep_policy(transaction, event=event.id, document=document, by=asked.who.name, at=event.time)
                self._audit(transaction, asked.who, "policies.put", event, why=f"ETag {version_of(policy)}")
            transaction.emit(*events)
        return policy

    async def fault(self, asked: Asked, kind: str, host: str, *, domain: str | None = None) -> str:
        """Trouble on the simulated cloud; the domain it is in. Raises ProblemError (404), BadInputError."""
        where, port = self._faults(domain, of_host=await self._domain_of(host, domain))
        if kind not in FAULTS:
            raise BadInputError("fault", (FieldError("kind", kind, "one of " + ", ".join(FAULTS)),))
        self.clouds.check_host(host, (await self.clouds.read(self.clouds.domain(where)),), what="fault")
        await port.inject(kind, HostName(host))
        await self._note(asked.who, "fault.inject", subject=host, domain=where, why=kind)
        return where

    async def clear_faults(self, asked: Asked, *, host: str | None = None, domain: str | None = None) -> None:
        """End the faults of a host, or all. Raises ProblemError (404), BadInputError."""
        if host is not None:
            self._faults(domain, of_host=None)
            self.clouds.check_host(host, await self.clouds.read_all(domain), what="fault")
            cloud, _ = await self.clouds.host(host, domain)
            domain = cloud.domain
        wanted = (self.clouds.domain(domain),) if domain is not None else self.context.clouds.domains()
        for one in wanted:
            _, port = self._faults(one, of_host=None)
            await port.clear_faults(None if host is None else HostName(host))
            await self._note(asked.who, "fault.clear", subject=host or "all hosts", domain=one)

    @property
    def has_faults(self) -> bool:
        return any(isinstance(self.clouds.port(one), FaultInjection) for one in self.context.clouds.domains())

    async def _domain_of(self, host: str, domain: str | None) -> str | None:
        if domain is not None or not self.has_faults:
            return domain
        try:
            cloud, _ = await self.clouds.host(host)
        except NotFoundError:
            return None
        return cloud.domain

    def _faults(self, domain: str | None, *, of_host: str | None) -> tuple[str, FaultInjection]:
        if not self.has_faults:
            raise ProblemError(404, "this is a real cloud: trouble on purpose is for the simulated one")
        where = domain or of_host or self.context.clouds.domains()[0]
        port = self.clouds.port(self.clouds.domain(where))
        if not isinstance(port, FaultInjection):
            raise ProblemError(404, f"{where} is a real cloud: trouble on purpose is for the simulated one")
        return where, port

    # --- signals ---------------------------------------------------------------------------------

    async def signals(self, asked: Asked, found: list[tuple[str, str, Signal]]) -> tuple[int, int]:
        """Store (id, domain, signal) in the telemetry; how many are new, how many were known."""
        now, events = self.clock.now(), {}
        for signal_id, domain, signal in found:
            events[signal_id] = first_event(
                "restow.signal", signal, id=signal_id, source=SOURCE, domain=domain,
                subject=signal.host or signal.server or signal.kind[:255], time=now, correlation=signal_id,
                traceparent=asked.traceparent,
            )  # fmt: skip
        seen: set[str] = set()
        wanted = sorted(events)
        async with self.database.writing() as transaction:
            for begin in range(0, len(wanted), IDS_AT_ONCE):
                known = select(EventRow.id).where(EventRow.id.in_(wanted[begin : begin + IDS_AT_ONCE]))
                seen |= set((await transaction.session.execute(known)).scalars())
            transaction.emit(*(event for event in events.values() if event.id not in seen))
        new = len(events) - len(seen)
        return new, len(found) - new

    # --- the audit, and what is put away -----------------------------------------------------------

    async def audit_refusal(self, who: Principal, *, action: str, subject: str, why: str, domain: str = "") -> None:
        """Keep that this was refused; a refusal changes nothing else."""
        await self._note(who, action, subject=subject, domain=domain, why=why, result="refused")

    async def _note(
        self, who: Principal, action: str, *, subject: str, domain: str = "", why: str = "", result: str = "done"
    ) -> None:
        async with self.database.writing() as transaction:
            transaction.session.add(
                AuditRow(at=self.clock.now(), by=who.name, role=who.role, action=action[:128], subject=subject[:255],
                         domain=domain[:255], result=result, why=why, event=None)
            )  # fmt: skip

    def _audit(self, transaction: Transaction, who: Principal, action: str, event: Event, *, why: str) -> None:
        transaction.session.add(
            AuditRow(at=event.time, by=who.name, role=who.role, action=action, subject=event.subject,
                     domain=event.domain, result="accepted", why=why, event=event.id)
        )  # fmt: skip

    def _event(
        self, asked: Asked, event_type: str, message: Message, *, domain: str, subject: str, story: str | None = None,
        id: str | None = None,
    ) -> Event:  # fmt: skip
        event_id = id or self.context.new_id()
        return first_event(
            event_type, message, id=event_id, source=SOURCE, domain=domain, subject=subject, time=self.clock.now(),
            correlation=story or event_id, traceparent=asked.traceparent,
        )  # fmt: skip

    async def put_away(self) -> None:
        """Forget answers and sessions whose time has passed."""
        now = self.wall.now()
        oldest = now - timedelta(seconds=self.settings.idempotency_kept_s)
        async with self.database.writing() as transaction:
            await transaction.session.execute(delete(IdempotencyRow).where(IdempotencyRow.at < oldest))
            await transaction.session.execute(delete(SessionRow).where(SessionRow.expires_at < now))

    def is_stopping(self) -> Callable[[], bool]:
        return lambda: self.stopping


async def _is_in_log(transaction: Transaction, event_id: str) -> bool:
    return (await transaction.session.execute(select(EventRow.seq).where(EventRow.id == event_id))).first() is not None


def _digest_of(request: AnyRequest, changes: Changes | None) -> str:
    document = [request.model_dump(mode="json", by_alias=True), None if changes is None else changes.dump()]
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def _same_answer(held: IdempotencyRow, digest: str) -> dict[str, object]:
    if held.digest != digest:
        expected = "a key of its own for each request"
        raise ProblemError(
            422, f"this Idempotency-Key came before with another body (it made plan {held.plan})",
            errors=(FieldError("Idempotency-Key", held.key, expected),),
        )  # fmt: skip
    answer: dict[str, object] = json.loads(held.body)
    return answer
