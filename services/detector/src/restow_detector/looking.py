"""The loop of one domain: look at the cloud, judge, write down what has changed."""

import structlog

from restow.cloud.model import Cloud
from restow.cloud.port import CloudPort
from restow.database.engine import DatabaseAwayError
from restow.database.leases import Lease, LeaseLostError, Leases
from restow.database.patience import Patience
from restow.policy import Policy
from restow.runtime.service import Context
from restow_detector import metrics, store
from restow_detector.judge import Seen, judge
from restow_detector.memory import Memory, Verdict
from restow_detector.policy_keeper import PolicyKeeper
from restow_detector.settings import Settings
from restow_detector.sources.heartbeats import NoAnswer, heartbeats, whole_cloud

JUDGE_AGAIN_MAX = 5  # others write only when events arrive: more than this at one look is a fault
DATABASE_RETRY_S = 5.0

log = structlog.get_logger(__name__)


class DomainLoop:
    """Looks at one domain for as long as it holds the domain's lease; only one process does."""

    def __init__(self, context: Context, settings: Settings, domain: str, policies: PolicyKeeper) -> None:
        self._context = context
        self._settings = settings
        self._domain = domain
        self._policies = policies
        self._leases = Leases(context.database, context.clock, holder=context.instance, ttl_s=settings.lease_ttl_s)
        self._lease: Lease | None = None
        self._renew_at_s = 0.0
        self._known: store.Stored | None = None
        self._cloud: Cloud | None = None

    async def run(self) -> None:
        patience = Patience("the database", self._context.clock, DATABASE_RETRY_S)
        try:
            while True:
                try:
                    poll_s = await self.look_once()
                except DatabaseAwayError as error:
                    await patience.pause(error, domain=self._domain, so="nothing is judged")
                else:
                    patience.over()
                    await self._context.clock.sleep(poll_s)
        finally:
            self._let_go()

    async def look_once(self) -> float:
        """One look; the seconds until the next. Raises DatabaseAwayError."""
        policy = await self._policies.current()
        if await self._holds_lease():
            try:
                memory = await self._judge(await self._look(policy), policy)
            except LeaseLostError:
                self._let_go()
                log.info("another process looks after this domain now", domain=self._domain)
            else:
                if memory is not None:
                    blind = memory.blind_since is not None
                    metrics.looked(self._domain, at=self._context.clock.now(), blind=blind)
        return policy.evidence.poll_s

    def _let_go(self) -> None:
        self._lease = None
        metrics.let_go(self._domain)

    async def _holds_lease(self) -> bool:
        now_s = self._context.clock.now().timestamp()
        if self._lease is None or now_s >= self._renew_at_s:
            self._lease = await self._leases.acquire(f"detector/{self._domain}")
            if self._lease is None:
                self._let_go()
            self._renew_at_s = now_s + self._settings.lease_ttl_s / 2
        return self._lease is not None

    async def _look(self, policy: Policy) -> Seen | NoAnswer:
        port = self._port()
        words = await heartbeats(port, self._context.clock)
        if isinstance(words, NoAnswer):
            return words
        cloud = self._cloud
        if cloud is None or self._wants_a_new_picture(cloud, policy, quiet=all(word.alive for word in words)):
            answer = await whole_cloud(port, self._context.clock)
            if isinstance(answer, NoAnswer):
                return answer
            cloud = self._cloud = answer
        return Seen(cloud, words)

    def _port(self) -> CloudPort:
        return next(self._context.clouds.port(one) for one in self._context.clouds.domains() if one == self._domain)

    def _wants_a_new_picture(self, cloud: Cloud, policy: Policy, *, quiet: bool) -> bool:
        """While something is wrong every decision rests on a new picture; a quiet cloud is read less often."""
        age_s = (self._context.clock.now() - cloud.taken_at).total_seconds()
        memory = Memory() if self._known is None else self._known.memory
        unwell = bool(memory.health or memory.incidents or memory.signals or memory.blind_since)
        return not quiet or unwell or not 0 <= age_s < policy.evidence.read_s

    async def _judge(self, look: Seen | NoAnswer, policy: Policy) -> Memory | None:
        """What is remembered after this look; None if it was dropped."""
        for _ in range(JUDGE_AGAIN_MAX):
            now = self._context.clock.now()
            before = await store.load(self._context.database, self._domain, known=self._known)
            self._known = before
            verdict = judge(before.memory, look, policy, domain=self._domain, now=now)
            if verdict.memory is before.memory and not verdict.events:
                return verdict.memory
            try:
                await self._save(before, verdict)
            except store.MemoryMovedError:
                continue
            return verdict.memory
        log.warning("memory kept moving: this look is dropped, the next one judges", domain=self._domain)
        return None

    async def _save(self, before: store.Stored, verdict: Verdict) -> None:
        assert self._lease is not None, "only the holder of the lease judges"
        now = self._context.clock.now()
        async with self._context.database.writing() as transaction:
            await self._leases.guard(transaction, self._lease)
            after = await store.save(transaction, self._domain, before, verdict, at=now)
        self._known = after
        metrics.count(self._domain, verdict)
        for event in verdict.events:
            log.info(event.type.removeprefix("restow."), domain=self._domain, subject=event.subject,
                     why=event.data.get("why", ""))  # fmt: skip
