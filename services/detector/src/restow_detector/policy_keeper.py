"""The policy in force: from commands, from a file that is read again when it changes, or the default."""

import asyncio
import hashlib
from collections.abc import Callable
from pathlib import Path

import structlog

from restow.database.engine import Transaction
from restow.errors import BadInputError, FieldError
from restow.ids import id_of_effect
from restow.log.port import Effect
from restow.messages.events import Event, PolicyPut, Refusal, effect_of, first_event
from restow.policy import DEFAULT_POLICY, Policy, parse_policy
from restow.runtime.service import Context
from restow_detector import store
from restow_detector.incidents import SOURCE

FILE = "file"
EVERYWHERE = "*"
FILE_BYTES_MAX = 1_000_000

log = structlog.get_logger(__name__)


class PolicyKeeper:
    """Remembers the newest policy; reads the file at every call of `current`, parses it when it has changed."""

    def __init__(self, context: Context, file: Path | None) -> None:
        self._context = context
        self._file = file
        self._known = store.PolicyInForce(0, DEFAULT_POLICY)
        self._last_content: str | None = None
        self._one_at_a_time = asyncio.Lock()  # the loops of all domains share this keeper

    async def current(self) -> Policy:
        async with self._one_at_a_time:
            if self._file is not None:
                await self._look_at_file(self._file)
            self._known = await store.load_policy(self._context.database, self._known)
            return self._known.policy

    def put(self, event: Event, command: PolicyPut) -> Effect:
        """The effect of a command: in force from the next look on, or refused with the reason."""
        now = self._context.clock.now()
        try:
            policy = parse_policy(command.document)
        except BadInputError as error:
            log.error("policy refused, the one in force stays", by=command.by, error=str(error))  # noqa: TRY400  (the reason says all)
            refusal = effect_of(event, "restow.refusal", _refusal(command.by, str(error)), source=SOURCE,
                                subject=event.subject, time=now)  # fmt: skip

            async def refuse(transaction: Transaction) -> None:
                transaction.emit(refusal)

            return refuse

        async def put(transaction: Transaction) -> None:
            await store.put_policy(transaction, policy, event=event.id, by=command.by, at=now)

        return put

    async def _look_at_file(self, file: Path) -> None:
        content = await self._context.blocking(_reader(file))
        mark = content if isinstance(content, str) else hashlib.sha256(content).hexdigest()
        if mark == self._last_content:
            return
        try:
            if isinstance(content, str):
                raise BadInputError(
                    "policy", (FieldError("RESTOW_POLICY_FILE", str(file), f"a readable file ({content})"),)
                )
            await self._put_from_file(parse_policy(content), mark)
        except BadInputError as error:
            log.error(  # noqa: TRY400  (line, field and what is expected say more than a stack)
                "policy file refused, the policy in force stays", file=str(file), error=str(error)
            )
            await self._refuse_file(f"{file}: {error}", mark)
        self._last_content = mark

    async def _put_from_file(self, policy: Policy, mark: str) -> None:
        if await store.last_digest_from(self._context.database, FILE) == store.policy_digest(policy):
            return  # read before a restart; a policy that people have put since stays in force
        await self._tell("restow.command.policies.put", PolicyPut(document=policy.written(), by=FILE), mark, policy)
        log.info("policy read from file", file=str(self._file))

    async def _refuse_file(self, why: str, mark: str) -> None:
        await self._tell("restow.refusal", _refusal(FILE, why), mark, None)

    async def _tell(self, event_type: str, message: PolicyPut | Refusal, mark: str, policy: Policy | None) -> None:
        """Two processes that read the same file tell of it once: the id derives from content and version."""
        self._known = await store.load_policy(self._context.database, self._known)
        event_id = id_of_effect(f"policy-file/{self._known.version}", mark)
        now = self._context.clock.now()
        event = first_event(
            event_type,
            message,
            id=event_id,
            source=SOURCE,
            domain=EVERYWHERE,
            subject="policy",
            time=now,
            correlation=event_id,
        )
        async with self._context.database.writing() as transaction:
            if policy is not None:
                await store.put_policy(transaction, policy, event=event_id, by=FILE, at=now)
            transaction.emit(event)


def _refusal(by: str, why: str) -> Refusal:
    return Refusal(what=f"put the policy of {by} in force", guard="policy", why=why)


def _reader(file: Path) -> Callable[[], bytes | str]:
    """Reads the file; a string is the reason why it cannot be read."""

    def read() -> bytes | str:
        try:
            with file.open("rb") as stream:
                return stream.read(FILE_BYTES_MAX)
        except OSError as error:
            return error.strerror or type(error).__name__

    return read
