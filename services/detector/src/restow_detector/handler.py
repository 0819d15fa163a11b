"""What the detector takes from the log: signals, commands, and how plans end."""

from dataclasses import dataclass

from restow.database.engine import Transaction
from restow.log.port import Effect
from restow.messages.events import Event, PolicyPut, Topic, decode
from restow.runtime.service import Context
from restow_detector import metrics, store
from restow_detector.policy_keeper import PolicyKeeper
from restow_detector.reactions import concerns_us, react


@dataclass(frozen=True, slots=True)
class DetectorHandler:
    context: Context
    policies: PolicyKeeper
    group: str = "detector"
    topics: frozenset[Topic] = frozenset({Topic.TELEMETRY, Topic.COMMANDS, Topic.HEALING})

    async def handle(self, event: Event) -> Effect | None:
        if event.type == "restow.command.policies.put":
            message = decode(event)
            assert isinstance(message, PolicyPut)
            return self.policies.put(event, message)
        if not concerns_us(event):
            return None
        message, now = decode(event), self.context.clock.now()
        ours = tuple(str(domain) for domain in self.context.clouds.domains())
        # A source that does not know the domain leaves it open; the host is looked for in each.
        domains = (event.domain,) if event.domain in ours else ours

        async def effect(transaction: Transaction) -> None:
            for domain in domains:
                before = await store.load_locked(transaction, domain)
                verdict = react(before.memory, event, message, domain=domain, now=now)
                if verdict.memory is before.memory:
                    transaction.emit(*verdict.events)
                else:
                    await store.save(transaction, domain, before, verdict, at=now)
                metrics.count(domain, verdict)

        return effect
