"""API keys from a file, a Secret of Kubernetes for example: lines NAME ROLE KEY. What is taken out of it ends.

A new key and the one it takes over from may stand under one name, so that a rotation cuts nobody off. A key that
has ended, by the file or by a person, never comes back.
"""

import asyncio
from dataclasses import dataclass
from pathlib import Path

import structlog
from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError

from restow.clock import Clock
from restow.database.engine import Database, Transaction
from restow.errors import BadInputError, FieldError, RestowError
from restow_api.keys import Role, checked, digest_of, parts_of_key
from restow_api.store import ApiKeyRow, AuditRow, SessionRow

BY = "keys-file"
LOOK_EVERY_S = 30.0
KEYS_MAX = 1000

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class GivenKey:
    """A line of the file; of the key only what is kept."""

    name: str
    role: Role
    id: str
    digest: str


def parse_keys(text: str) -> tuple[GivenKey, ...]:
    """Raises BadInputError that names the lines and shows no key."""
    found: dict[str, GivenKey] = {}
    wrong: list[FieldError] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        words = line.split()
        parts = parts_of_key(words[-1])
        if len(words) != 3 or parts is None:
            wrong.append(FieldError(f"line {number}", "(hidden)", "NAME ROLE KEY, as `restow keys generate` prints it"))
            continue
        try:
            name, role = checked(words[0], words[1])
        except BadInputError as error:
            wrong += [FieldError(f"line {number}: {one.field}", one.value, one.expected) for one in error.errors]
            continue
        if parts[0] in found:
            wrong.append(FieldError(f"line {number}", parts[0], "each key once"))
        found[parts[0]] = GivenKey(name, role, parts[0], digest_of(parts[1]))
    if len(found) > KEYS_MAX:
        wrong.append(FieldError("keys", str(len(found)), f"at most {KEYS_MAX}"))
    if wrong:
        raise BadInputError("RESTOW_API_KEYS_FILE", tuple(wrong))
    return tuple(found.values())


async def put_keys(transaction: Transaction, clock: Clock, given: tuple[GivenKey, ...]) -> None:
    """Make the keys of the file what they are now; those of people stay as they are."""
    session, now = transaction.session, clock.now()

    def note(action: str, row: ApiKeyRow) -> None:
        session.add(
            AuditRow(at=now, by=BY, role=Role.ADMIN, action=action, subject=row.name, domain="", result="done",
                     why=f"role {row.role}, key id {row.id}", event=None)
        )  # fmt: skip

    wanted = {one.id: one for one in given}
    ours = select(ApiKeyRow).where((ApiKeyRow.created_by == BY) | ApiKeyRow.id.in_(wanted))
    known = {row.id: row for row in (await session.execute(ours)).scalars()}
    for row in known.values():
        if row.id in wanted and row.revoked_at is not None:
            log.warning("a key of the file has been revoked and stays so: make a new one", key=row.id, name=row.name)
        elif row.id not in wanted and row.revoked_at is None:
            row.revoked_at = now
            await session.execute(delete(SessionRow).where(SessionRow.key == row.id))
            note("key.revoke", row)
    for one in given:
        if one.id not in known:
            row = ApiKeyRow(
                id=one.id, name=one.name, role=one.role.value, digest=one.digest, created_at=now, created_by=BY,
                revoked_at=None,
            )  # fmt: skip
            session.add(row)
            note("key.create", row)
    await session.flush()


@dataclass(slots=True)
class KeyFile:
    """The file, looked at every LOOK_EVERY_S: a mounted Secret changes under a running process."""

    file: Path
    database: Database
    clock: Clock
    seen: str | None = None

    def read(self) -> tuple[GivenKey, ...]:
        """Raises BadInputError for a file that cannot be read or is wrong."""
        try:
            text = self.file.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise BadInputError(
                "settings", (FieldError("RESTOW_API_KEYS_FILE", str(self.file), f"a readable text file ({error})"),)
            ) from error
        return parse_keys(text)

    async def look(self) -> None:
        """Bring the keys up to the file if it has changed; raises BadInputError, DatabaseAwayError."""
        given = await asyncio.to_thread(self.read)
        now = repr(given)
        if now == self.seen:
            return
        async with self.database.writing() as transaction:
            await put_keys(transaction, self.clock, given)
        self.seen = now
        log.info("keys read", file=str(self.file), keys=len(given))

    async def follow(self) -> None:
        """Without end. A file that is wrong changes nothing and is told of."""
        while True:
            try:
                await self.look()
            except IntegrityError:
                log.info("another process has put the keys on record at this moment", file=str(self.file))
            except RestowError as error:
                log.warning("the keys stay as they were", file=str(self.file), error=str(error))
            await self.clock.sleep(LOOK_EVERY_S)
